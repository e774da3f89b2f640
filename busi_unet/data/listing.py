"""Files and folders of a data set, listed as a file manager would."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from busi_unet.io.decode import EXTENSIONS

MASK_STEM = re.compile(r"(?P<image>.+)_mask(?:_[0-9]+)?", re.IGNORECASE)
# "normal (1)_mask - Copy", "normal (1)_mask(1)": neither an image nor one more lesion.
COPY_OF_MASK = re.compile(r".+_mask(?![a-z]).*", re.IGNORECASE)
_HIDDEN = (".", "__MACOSX", "Thumbs.db", "desktop.ini")
_SEARCH_DEPTH = 4


def natural_order(text: str) -> list[Any]:
    """Sort key that puts "benign (2)" before "benign (10)"."""
    # Digits and other text alternate, so that numbers only ever meet numbers.
    return [int(part) if index % 2 else part for index, part in enumerate(re.split(r"([0-9]+)", text))]


def children(folder: Path) -> list[Path]:
    """Return what a folder holds, without hidden files and archive leftovers; nothing where it is closed."""
    try:
        found = [child for child in folder.iterdir() if not child.name.startswith(_HIDDEN)]
    except PermissionError:
        return []
    return sorted(found, key=lambda child: natural_order(child.name))


def folders(root: Path, depth: int = _SEARCH_DEPTH) -> Iterator[Path]:
    """Yield the folder and those below it, nearest first, without hidden ones and archive leftovers."""
    level = [root]
    for _ in range(depth + 1):
        yield from level
        level = [child for folder in level for child in children(folder) if child.is_dir()]


def is_image(path: Path) -> bool:
    """Whether a file is named like an image."""
    return path.suffix.lower() in EXTENSIONS and path.is_file()


def images_below(folder: Path) -> list[Path]:
    """Return the images in a folder and those below it."""
    return [path for inner in folders(folder) for path in children(inner) if is_image(path)]


def subfolder(folder: Path, name: str) -> Path | None:
    """Return the folder of this name, whatever the case of its letters."""
    return next((path for path in children(folder) if path.is_dir() and path.name.casefold() == name), None)


def named(names: list[str]) -> str:
    """Return the first three of several names, for a message."""
    return ", ".join(names[:3]) + (", …" if names[3:] else "")
