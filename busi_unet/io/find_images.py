"""The image files in a list of files, folders, zips and shards, and the names of their results.

Shards, tar (as of `webdataset`) or Parquet, are read where they lie: nothing is unpacked.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import tarfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from busi_unet.errors import (
    BusiUNetError,
    DataLayoutError,
    MissingDependencyError,
    UnreadableImageError,
    UsageError,
    first_line,
)
from busi_unet.io.decode import EXTENSIONS
from busi_unet.io.dicom import is_dicom
from busi_unet.io.files import readable, shortened, unpack

SHARDS = frozenset({".tar", ".parquet"})
MAX_MEMBER_BYTES = 2**30
# Columns of `prepare` and of the Hub's image folders.
_IMAGE, _NAME = "image", "image_id"
# As results are called, copies of them too ("a_mask - Copy"); the page needs them in the browser.
RESULT_NAMES = re.compile(r"_(mask(_\d+)?([ (-].*)?|overlay)$", re.IGNORECASE)
DICOM_RESULTS = ("_seg.dcm", "_sr.dcm")
# What Windows does not allow, backslashes among it.
_NOT_IN_NAMES = re.compile(r'[\\/:*?"<>|]')
_HIDDEN = (".", "__MACOSX")
# Leaves room for "-2" and "_overlay.png".
_NAME_BYTES = 200
_ENDINGS = f"Images end in {', '.join(sorted(EXTENSIONS))}."


@dataclass(frozen=True, slots=True)
class ImageFile:
    """One image to predict.

    Attributes:
        path: where it lies, itself or the shard that it is in.
        shown: how results and errors name it, each of a run by a name of its own.
        name: of its results, without ending: at most 200 bytes that any file system takes, and no two of a
            run are the same, whatever the case of letters.
        problem: why it cannot be used, where that is known already; else empty.
        place: where in a shard: start and size in a tar, row group and row in Parquet; else None.
        unpacked_from: the zip that it was in.
    """

    path: Path
    shown: str
    name: str
    problem: str = ""
    place: tuple[int, int] | None = None
    unpacked_from: Path | None = None

    def content(self) -> Path | bytes:
        """Return its path, or what it holds where it is in a shard.

        Raises:
            UnreadableImageError: the shard was cut short since it was listed, or the row holds no file.
            OSError: the disk refuses.
        """
        if self.place is None:
            return self.path
        if self.path.suffix.lower() == ".tar":
            start, size = self.place
            with self.path.open("rb") as shard:
                shard.seek(start)
                content = shard.read(size)
            if len(content) == size:
                return content
        else:
            group, row = self.place
            content = _row_group(self.path, group)[row].as_py()
            if content is not None:
                return content
        raise UnreadableImageError(f"{self.shown} is not in its shard any more, or was never in it.")

    def stamp(self) -> tuple[int, int] | None:
        """Return size and time of the last change of the file, zip or shard; None where there is none."""
        try:
            found = os.stat(self.unpacked_from or self.path)  # noqa: PTH116
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns


def find_images(
    paths: Iterable[Path],
    scratch: Path,
    *,
    max_images: int | None = None,
    max_bytes: int = 8 * 1024**3,
    max_files: int = 200_000,
    shards: bool = False,
    show: Callable[[Path], str] = str,
) -> list[ImageFile]:
    """List the images of files, folders, zips and shards, in their order.

    Folders are searched with all their subfolders, zips, also those in folders, are unpacked and then
    searched like folders. Left out there: files that are neither named like an image nor DICOM, hidden
    folders, macOS's `._…`, and what is named like results (`…_mask`, `…_mask_1`, `…_overlay`, `…_seg.dcm`,
    `…_sr.dcm`). A file that is named itself is always listed. Folders and zips that cannot be used, and each
    entry of a zip that cannot be unpacked, are listed with their problem.

    Args:
        paths: files, folders and zips.
        scratch: an existing folder to unpack to.
        max_images: in all folders and zips together.
        max_bytes, max_files: unpacked from each zip, images or not; of a shard, so many files.
        shards: list what is in tar and Parquet files, too, those in folders as well.
        show: how a path that was given is called.

    Raises:
        UsageError: more images than allowed.
    """
    limits = {"max_bytes": max_bytes, "max_files": max_files}
    targets = (scratch / str(number) for number in itertools.count())

    def opened(path: Path, shown: str) -> list[ImageFile] | None:
        """Return what is in a folder, a zip or a shard, None of any other file."""
        suffix = path.suffix.lower()
        # Not Path.is_dir, which raises where a name is too long.
        if os.path.isdir(path):  # noqa: PTH112
            found = _inside(path, shown, opened)
        elif suffix == ".zip":
            found = _from_zip(path, shown, next(targets), limits)
        elif shards and suffix in SHARDS:
            found = _from_shard(path, shown, max_files)
        else:
            return None
        return found or [ImageFile(path, shown, path.stem, f"{shown} holds no image. {_ENDINGS}")]

    found: list[ImageFile] = []
    for path in paths:
        shown = readable(show(path))
        held = opened(path, shown)
        found += [ImageFile(path, shown, _stem(path))] if held is None else held
    if max_images is not None and len(found) > max_images:
        raise UsageError(
            f"These are {len(found)} images; one run takes at most {max_images}.",
            "Choose fewer, or use busi-unet predict, which has no limit.",
        )
    return _named_apart(found)


def _from_zip(path: Path, shown: str, target: Path, limits: dict[str, int]) -> list[ImageFile]:
    try:
        hint = "Unpack it by hand and give the images themselves."
        problems = unpack(path, target, name=shown, hint=hint, **limits)
    except BusiUNetError as error:
        return [ImageFile(path, shown, path.stem, str(error).replace("\n", " "))]
    found = [replace(file, unpacked_from=path) for file in _inside(target, shown, _nested)]
    found += [
        ImageFile(path, f"{shown}/{entry}", path.stem, f"{shown}/{entry}: {problem}.")
        for entry, problem in problems.items()
    ]
    return found


def _nested(path: Path, shown: str) -> list[ImageFile] | None:
    if path.suffix.lower() != ".zip":
        return None
    return [ImageFile(path, shown, path.stem, f"{shown} is a zip inside a zip. Unpack it by hand.")]


def _inside(
    folder: Path, shown: str, opened: Callable[[Path, str], list[ImageFile] | None]
) -> list[ImageFile]:
    closed: list[Path] = []
    paths: list[Path] = []
    for inner, folders, names in os.walk(folder, onerror=lambda error: closed.append(Path(error.filename))):
        folders[:] = [name for name in folders if not name.startswith(_HIDDEN)]
        paths += [Path(inner, name) for name in names if not name.startswith("._")]
    found = []
    for path in sorted(paths + closed):
        parts = path.relative_to(folder).parts
        called = readable(str(PurePosixPath(shown, *parts)))
        # Two subfolders may hold files of one name.
        name = "__".join((*parts[:-1], _stem(path)))
        if path in closed:
            found.append(ImageFile(path, called, name, f"{called} cannot be searched."))
        elif (held := opened(path, called)) is not None:
            found += held
        elif _is_image(path):
            found.append(ImageFile(path, called, name))
    return found


def _stem(path: PurePath) -> str:
    # Unknown endings, as a UID's last number, belong to the name.
    return path.stem if path.suffix.lower() in EXTENSIONS else path.name


def _is_result(path: PurePath) -> bool:
    return bool(RESULT_NAMES.search(_stem(path))) or path.name.lower().endswith(DICOM_RESULTS)


def _is_image(path: Path) -> bool:
    if _is_result(path):
        return False
    if path.suffix.lower() in EXTENSIONS:
        return True
    # Scanners often name DICOM files without an ending; DICOMDIR is their table of contents.
    try:
        return path.is_file() and path.name.upper() != "DICOMDIR" and is_dicom(path)
    except OSError:
        return False


def _named_apart(files: list[ImageFile]) -> list[ImageFile]:
    # Case and composition of letters do not count: some file systems take A.png and a.png for one file.
    taken: set[str] = set()
    # Two uploads may be called the same, too.
    told: set[str] = set()
    unique = []
    for file in files:
        name = _NOT_IN_NAMES.sub("_", readable(unicodedata.normalize("NFC", file.name)))
        name = shortened(name.lstrip(".") or "image", _NAME_BYTES)
        name = next(free for free in _numbered(name) if free.casefold() not in taken)
        taken.add(name.casefold())
        shown = next(free for free in _numbered(file.shown) if free not in told)
        told.add(shown)
        unique.append(replace(file, name=name, shown=shown))
    return unique


def _numbered(name: str) -> Iterator[str]:
    """Yield a name, and then with 2, 3, ... before its ending."""
    yield name
    suffix = PurePath(name).suffix
    ending = suffix if suffix.lower() in (*EXTENSIONS, ".zip") else ""
    yield from (f"{name.removesuffix(ending)}-{number}{ending}" for number in itertools.count(2))


# --- Shards --------------------------------------------------------------------------------------


def _from_shard(path: Path, shown: str, max_files: int) -> list[ImageFile]:
    """List what can be read of a shard, and last why no more of it can."""
    found = []
    is_tar = path.suffix.lower() == ".tar"
    listed = _in_tar(path) if is_tar else _in_parquet(path, shown)
    try:
        for number, (member, place, problem) in enumerate(listed):
            if number == max_files:
                raise DataLayoutError(f"{shown} holds more than {max_files:,} files.", hint="Divide it.")
            inside = PurePosixPath(member)
            if is_tar and not _is_image_in_tar(inside):
                continue
            # Shards often number their images from 0 each.
            name = "__".join((path.stem, *inside.parts[:-1], _stem(inside)))
            called = f"{shown}/{readable(member)}"
            found.append(ImageFile(path, called, name, f"{called} {problem}." if problem else "", place))
    except Exception as error:
        said = f"{shown} is not a readable shard, or is cut short ({first_line(error)}). Copy it again."
        problem = str(error).replace("\n", " ") if isinstance(error, BusiUNetError) else said
        found.append(ImageFile(path, shown, path.stem, problem))
    return found


def _is_image_in_tar(path: PurePosixPath) -> bool:
    hidden = path.name.startswith("._") or any(part.startswith(_HIDDEN) for part in path.parts[:-1])
    return path.suffix.lower() in EXTENSIONS and not hidden and not _is_result(path)


def _in_tar(path: Path) -> Iterator[tuple[str, tuple[int, int], str]]:
    """Yield name, place and problem of each file."""
    end = path.stat().st_size
    with tarfile.open(path, "r:") as tar:
        while member := tar.next():
            # It keeps a list of all.
            tar.members.clear()
            if not member.isreg():
                continue
            problem = ""
            if member.issparse():
                problem = "is stored as a sparse file; write the shard again"
            elif member.size > MAX_MEMBER_BYTES:
                problem = f"is larger than {MAX_MEMBER_BYTES // 2**20:,} MiB"
            elif member.offset_data + member.size > end:
                problem = "is cut short"
            yield member.name, (member.offset_data, member.size), problem
        # tarfile takes a damaged header for the end.
        tar.fileobj.seek(tar.offset)
        if tar.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
            raise tarfile.ReadError(f"damaged at byte {tar.offset:,}")


def _in_parquet(path: Path, shown: str) -> Iterator[tuple[str, tuple[int, int], str]]:
    """Yield name, place and no problem of each row."""
    with _parquet(path) as file:
        columns = file.schema_arrow.names
        if _IMAGE not in columns or f"{_IMAGE}.bytes" not in {each.path for each in file.schema}:
            raise DataLayoutError(f"{shown} has no column {_IMAGE} with the content of image files.")
        named = _NAME if _NAME in columns else f"{_IMAGE}.path"
        total = 0
        for group in range(file.num_row_groups):
            column = file.read_row_group(group, columns=[named]).flatten().column(0)
            for row, told in enumerate(column.to_pylist()):
                yield str(total + row if told is None else told), (group, row), ""
            total += len(column)


@functools.lru_cache(maxsize=2)
def _row_group(path: Path, group: int) -> Any:
    """Return the images of a row group; those of a run are asked for in their order."""
    with _parquet(path) as file:
        return file.read_row_group(group, columns=[f"{_IMAGE}.bytes"]).flatten().column(0)


def _parquet(path: Path) -> Any:
    try:
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "Parquet files need the package pyarrow.", "Run: pip install pyarrow"
        ) from error
    return ParquetFile(path)
