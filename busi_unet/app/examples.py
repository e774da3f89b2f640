"""Images to try the app with: three of BrEaST, which no training of the embedded weights used."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from busi_unet.config import CLASS_NAMES
from busi_unet.errors import UnreadableImageError
from busi_unet.io.decode import read_image

FOLDER = Path(__file__).with_name("examples")
_THUMBNAIL_SIZE = (160, 120)


@dataclass(frozen=True)
class Example:
    """An image that ships with the app.

    Attributes:
        path: `breast_CASE_CLASS`, PNG or JPEG.
        case: as BrEaST names it.
        label: one of `CLASS_NAMES`, as BrEaST labels it.
    """

    path: Path
    case: str
    label: str


@functools.cache
def examples() -> tuple[Example, ...]:
    """Return the examples in the order of `CLASS_NAMES`."""
    found = [Example(path, *path.stem.split("_")[1:]) for path in FOLDER.glob("breast_*")]
    return tuple(sorted(found, key=lambda example: CLASS_NAMES.index(example.label)))


@functools.cache
def thumbnails() -> list[tuple[Image.Image, str]]:
    """Return a small version of each example with its class as caption."""
    return [(small, example.label) for example in examples() for _, small in usable([example.path])]


def usable(paths: Iterable[Path]) -> list[tuple[Path, Image.Image]]:
    """Return the files that are images, each with a small version to show."""
    found = []
    for path in paths:
        try:
            small = Image.fromarray(read_image(path).pixels)
        except UnreadableImageError:
            continue
        small.thumbnail(_THUMBNAIL_SIZE)
        found.append((path, small))
    return found
