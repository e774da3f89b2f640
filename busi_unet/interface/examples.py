"""Synthetic pictures to try the app with, drawn when they are first asked for."""

from __future__ import annotations

import functools

import numpy as np

from busi_unet.config import CLASS_NAMES
from busi_unet.data.phantom import make_phantom

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
