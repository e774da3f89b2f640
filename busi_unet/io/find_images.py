"""The image files in a list of files, folders and zips, and the names of their results."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from busi_unet.errors import BusiUNetError, UnreadableImageError, UsageError
from busi_unet.io.decode import EXTENSIONS
from busi_unet.io.dicom import is_dicom
from busi_unet.io.files import unpack

_RESULT = re.compile(r"_(mask(_\d+)?|overlay)$")
_ENDINGS = f"Images end in {', '.join(sorted(EXTENSIONS))}."


@dataclass(frozen=True)
class ImageFile:
    """One image to predict.

    Attributes:
        path: where it lies.
        shown: how results and errors name it.
        name: of its results, without ending; no two of a run are the same, whatever the case of letters.
        problem: why it cannot be used, where that is known already; else empty.
    """

    path: Path
    shown: str
    name: str
    problem: str = ""


def find_images(
    paths: Iterable[Path],
    scratch: Path,
    *,
    max_images: int | None = None,
    max_bytes: int = 8 * 1024**3,
    max_files: int = 200_000,
    show: Callable[[Path], str] = str,
) -> list[ImageFile]:
    """List the images of files, folders and zips, in their order.

    Folders are searched with all their subfolders, zips are unpacked and then searched like folders. Left
    out there: files that are neither named like an image nor DICOM, hidden ones, and those named like masks
    or overlays (`…_mask`, `…_mask_1`, `…_overlay`). A file that is named itself is always listed. A zip that
    cannot be used, and each damaged entry of one, is listed with its problem.

    Args:
        paths: files, folders and zips.
        scratch: an existing folder to unpack to.
        max_images: in all folders and zips together.
        max_bytes, max_files: unpacked from each zip, images or not.
        show: how a path that was given is called.

    Raises:
        UsageError: a folder without any image, or more images than allowed.
    """
    found: list[ImageFile] = []
    for number, path in enumerate(paths):
        if path.is_dir():
            inside = _inside(path, show(path))
            if not inside:
                raise UsageError(f"{show(path)} holds no image.", _ENDINGS)
            found += inside
        elif path.suffix.lower() == ".zip" and path.is_file():
            limits = {"max_bytes": max_bytes, "max_files": max_files}
            found += _from_zip(path, show(path), scratch / str(number), limits)
        else:
            found.append(ImageFile(path, show(path), path.stem))
    if max_images is not None and len(found) > max_images:
        raise UsageError(
            f"These are {len(found)} images; one run takes at most {max_images}.",
            "Choose fewer, or use busi-unet predict, which has no limit.",
        )
    return _named_apart(found)


def _from_zip(path: Path, shown: str, target: Path, limits: dict[str, int]) -> list[ImageFile]:
    try:
        hint = "Unpack it by hand and give the images themselves."
        damaged = unpack(path, target, name=shown, hint=hint, **limits)
        images = _inside(target, shown)
        if not images and not damaged:
            raise UnreadableImageError(f"{shown} holds no image.", _ENDINGS)
    except BusiUNetError as error:
        # The message of an unsafe archive lists its entries on lines of their own.
        return [ImageFile(path, shown, path.stem, " ".join(str(error).split()))]
    return images + [
        ImageFile(path, f"{shown}/{problem.partition(': ')[0]}", path.stem, f"{shown}/{problem}.")
        for problem in damaged
    ]


def _inside(folder: Path, shown: str) -> list[ImageFile]:
    found = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if any(part.startswith((".", "__MACOSX")) for part in parts) or not _is_image(path):
            continue
        # Two subfolders may hold files of one name. Unknown endings, as a UID's last number, belong to it.
        last = path.stem if path.suffix.lower() in EXTENSIONS else path.name
        found.append(ImageFile(path, str(PurePosixPath(shown, *parts)), "__".join((*parts[:-1], last))))
    return found


def _is_image(path: Path) -> bool:
    if not path.is_file() or _RESULT.search(path.stem):
        return False
    if path.suffix.lower() in EXTENSIONS:
        return True
    # Scanners often name DICOM files without an ending; DICOMDIR is their table of contents.
    try:
        return path.name.upper() != "DICOMDIR" and is_dicom(path)
    except OSError:
        return False


def _named_apart(files: list[ImageFile]) -> list[ImageFile]:
    # Case does not count: some file systems take A.png and a.png for one file.
    taken: set[str] = set()
    unique = []
    for file in files:
        numbered = (file.name if number == 1 else f"{file.name}-{number}" for number in itertools.count(1))
        free = next(candidate for candidate in numbered if candidate.casefold() not in taken)
        taken.add(free.casefold())
        unique.append(replace(file, name=free))
    return unique
