"""Anybody's own images: a folder of images, one of masks, and a table, any of which may say less.

Without a table, a mask belongs to the image of its name, with or without `_mask` or `_mask_1` at the end.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from busi_unet.config import CLASS_NAMES
from busi_unet.data.folds import N_FOLDS
from busi_unet.data.readers import (
    COPY_OF_MASK,
    MASK_STEM,
    Case,
    Layout,
    Scan,
    children,
    folders,
    images_below,
    is_image,
    key_of,
    masks_by_image,
    named,
    subfolder,
)
from busi_unet.errors import UsageError
from busi_unet.io.decode import EXTENSIONS
from busi_unet.io.tables import read_table

TABLE = "labels.csv"


@dataclass(frozen=True)
class OwnData:
    """Where somebody's own data lie."""

    images: Path | None = None  # folder, searched with its subfolders; None for the table's folder
    masks: Path | None = None  # folder; None where the masks, if any, lie beside the images
    # CSV or Excel, a row per image and the column image; any of mask, label, patient and fold may be there
    # too. Files are named relative to the two folders.
    table: Path | None = None

    @property
    def name(self) -> str:
        """What the source is called: its folder, or the one above where that is only called "images"."""
        folder = (self.images or self.table.parent).resolve() if self.images or self.table else Path("own")
        return folder.parent.name if folder.name.casefold() == "images" else folder.name

    def __str__(self) -> str:
        return " ".join(f"{name}={path}" for name, path in vars(self).items() if path is not None)


def scan_own(own: OwnData) -> Scan:
    """List the images of one's own data.

    Raises:
        UsageError: neither images nor a table, no such folder or file, or the table cannot be read.
    """
    for flag, path in vars(own).items():
        if path is not None and not path.exists():
            raise UsageError(f"--{flag} {path} does not exist.", "Check the path.")
    if own.images is None and own.table is None:
        raise UsageError("--masks alone does not name any image.", "Add --images FOLDER or --table FILE.csv.")
    base = (own.images or own.table.parent).resolve()
    found = Scan(base)
    mask_folder = (own.masks or base).resolve()
    files = [path for path in images_below(base) if not COPY_OF_MASK.fullmatch(path.stem)]
    images, outlines = found.by_key(files, base), images_below(mask_folder)
    if mask_folder == base:
        named_so = [path for path in outlines if COPY_OF_MASK.fullmatch(path.stem)]
        outlines = [path for path in named_so if MASK_STEM.fullmatch(path.stem)]
        if copies := [path.name for path in named_so if not MASK_STEM.fullmatch(path.stem)]:
            found.warnings.append(f"left out as copies of masks: {len(copies)} ({named(copies)})")
    elif mask_folder.is_relative_to(base):
        images = {key: path for key, path in images.items() if not path.is_relative_to(mask_folder)}
    masks = found.by_key(outlines, mask_folder)
    if own.table is not None:
        _scan_table(own, images, masks, found)
    else:
        _scan_names(images, masks, found)
    if not found.cases and not found.problems:
        found.problems.append(f"{base}: holds no image")
    return found


def _scan_names(images: dict[str, Path], masks: dict[str, Path], found: Scan) -> None:
    masks_of, strays = masks_by_image(images, masks)
    found.problems += [f"{path.name}: no image has the name of this mask" for path in strays]
    bare = [key for key in images if key not in masks_of]
    if bare:
        found.warnings.append(
            f"without a mask, so nobody outlined their lesions: {len(bare)} of the images ({named(bare)})"
        )
    found.cases = [
        Case(key, path, masks=tuple(masks_of[key]) if key in masks_of else None)
        for key, path in images.items()
    ]


def _scan_table(own: OwnData, images: dict[str, Path], masks: dict[str, Path], found: Scan) -> None:
    """Read the table; every problem is reported with its line."""
    rows = read_table(own.table, ("image",))
    masks_of, _ = masks_by_image(images, masks)
    names_masks = any(row.get("mask") for row in rows)
    image_of_mask: dict[Path, str] = {}
    used: set[Path] = set()
    for line, row in enumerate(rows, start=2):

        def problem(text: str, line: int = line) -> None:
            found.problems.append(f"{own.table.name}, line {line}: {text}")

        image = _file(row["image"], images, found.base)
        if image is None:
            problem(f"the image {row['image'] or '(empty)'} is not in {found.base}")
            continue
        if image in used:
            problem(f"the image {row['image']} is listed twice")
            continue
        used.add(image)
        label = row.get("label", "").lower() or None
        if label is not None and label not in CLASS_NAMES:
            problem(f"the class {row['label']!r} is not one of {', '.join(CLASS_NAMES)}")
            continue
        key = key_of(image, found.base)
        files = [] if names_masks else masks_of[key]
        for name in filter(None, map(str.strip, row.get("mask", "").split(";"))):
            mask = _file(name, masks, (own.masks or found.base).resolve())
            if mask is None:
                problem(f"the mask {name} does not exist")
            elif image_of_mask.setdefault(mask, row["image"]) != row["image"]:
                problem(f"the mask {name} of {row['image']} is also the mask of {image_of_mask[mask]}")
            else:
                files.append(mask)
        fold = row.get("fold", "")
        if fold and fold not in map(str, range(N_FOLDS)):
            problem(f"the fold {fold!r} is not one of 0 to {N_FOLDS - 1}")
            fold = ""
        none = () if label == "normal" else None
        known = {"patient": row.get("patient") or None, "fold": int(fold) if fold else None}
        found.cases.append(Case(key, image, label, tuple(files) or none, **known))
    folded = sum(case.fold is not None for case in found.cases)
    if 0 < folded < len(found.cases):
        found.problems.append(f"{own.table.name}: {len(found.cases) - folded} images have no fold, others do")
    left = [path.name for path in images.values() if path not in used]
    if left:
        found.warnings.append(
            f"left out, since not in {own.table.name}: {len(left)} of the images ({named(left)})"
        )


def _file(name: str, known: dict[str, Path], base: Path) -> Path | None:
    """Return the file of a name in a table, which may lack the ending."""
    path = base / name
    with suppress(OSError):  # the name is too long
        if name and path.is_file():
            return path
    # Its accents may be written otherwise on the disk.
    return known.get(name) or (known.get(key_of(path, base)) if path.suffix.lower() in EXTENSIONS else None)


def _own_at(folder: Path) -> OwnData | None:
    images, masks = subfolder(folder, "images"), subfolder(folder, "masks")
    table = folder / TABLE if (folder / TABLE).is_file() else None
    if images and masks:
        return OwnData(images, masks, table)
    if table or any(MASK_STEM.fullmatch(path.stem) for path in children(folder) if is_image(path)):
        return OwnData(folder, None, table)
    return None


def _find(root: Path) -> Path | None:
    return next((folder for folder in folders(root) if _own_at(folder)), None)


def _scan(base: Path) -> Scan:
    return scan_own(_own_at(base))


LAYOUT = Layout(
    "Images and masks",
    f"folders images/ and masks/, masks 'NAME_mask.png' beside the images, or a table {TABLE} beside them",
    _find,
    _scan,
    general=True,
)
