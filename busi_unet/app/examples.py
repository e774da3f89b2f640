"""Pictures to try the app with: synthetic ones, drawn when first asked for, and those a model brings."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from busi_unet.config import CLASS_NAMES
from busi_unet.data.phantom import make_phantom
from busi_unet.errors import UnreadableImageError
from busi_unet.io.decode import read_image

SEED = 3
SIZE = (360, 480)
THUMBNAIL_SIZE = (120, 160)


@functools.cache
def example_frame(label: str) -> np.ndarray:
    """A phantom of the class as uint8 (H, W), the same one each time."""
    return make_phantom(label, seed=SEED, size=SIZE).image


@functools.cache
def thumbnails() -> list[tuple[np.ndarray, str]]:
    """Small uint8 (H, W) versions of the examples with captions, in the order of `CLASS_NAMES`."""
    # A seed draws the same anatomy at every size, and a small picture takes a tenth of the time.
    return [(make_phantom(label, seed=SEED, size=THUMBNAIL_SIZE).image, label) for label in CLASS_NAMES]


def usable(paths: Iterable[Path]) -> list[tuple[Path, Image.Image]]:
    """The files that are pictures, each with a small version to show."""
    found = []
    for path in paths:
        try:
            small = Image.fromarray(read_image(path).pixels)
        except UnreadableImageError:
            continue
        small.thumbnail(THUMBNAIL_SIZE[::-1])
        found.append((path, small))
    return found
