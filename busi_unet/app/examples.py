"""Images to try the app with: three of BrEaST, which no training of the embedded weights used."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

from busi_unet.app.thumbnails import thumbnail
from busi_unet.config import CLASS_NAMES
from busi_unet.io.decode import read_image

FOLDER = Path(__file__).with_name("examples")


@dataclass(frozen=True)
class Example:
    """An image that ships with the app, its case and label as BrEaST names them."""

    path: Path
    case: str
    label: str


@functools.cache
def examples() -> tuple[Example, ...]:
    """Return the examples in the order of `CLASS_NAMES`."""
    # Named breast_CASE_CLASS.
    found = [Example(path, *path.stem.split("_")[1:]) for path in FOLDER.glob("breast_*")]
    return tuple(sorted(found, key=lambda example: CLASS_NAMES.index(example.label)))


@functools.cache
def thumbnails() -> list[dict[str, str]]:
    """Return the examples for a strip, each with its place as key and its class as name."""
    return [
        thumbnail(place, example.label, read_image(example.path).pixels)
        for place, example in enumerate(examples())
    ]
