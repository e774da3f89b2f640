"""What every reader of image files gives, and the limits that all of them keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from busi_unet.errors import UnreadableImageError, UsageError
from busi_unet.io.scale import Region, Spacing

MAX_PIXELS = 50_000_000
SMALLER = f"Use an image of at most {MAX_PIXELS // 1_000_000} million pixels."


@dataclass(frozen=True)
class Loaded:
    """What a file holds before it becomes grey, and what it says of it.

    Attributes:
        pixels: a PIL image, or an array (H, W) or (H, W, channels).
        spacing_mm: (between rows, between columns) of most of the image, or None: only DICOM files tell it.
        frames: how many the file holds: a DICOM clip, pages of one size, an animation.
        regions: parts of the image with scales of their own; empty where the file names none.
        aspect: height of a pixel by its width, where there is no spacing.
        remarks: one sentence for each thing about how the file was read that a reader should know.
    """

    pixels: Image.Image | np.ndarray
    spacing_mm: Spacing | None = None
    frames: int = 1
    regions: tuple[Region, ...] = ()
    aspect: float = 1.0
    remarks: tuple[str, ...] = ()


def check_size(width: int, height: int, name: str) -> None:
    """Raise UnreadableImageError where an image has more than 50 million pixels."""
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(f"{name} is far too large ({width}×{height} pixels).", SMALLER)


def check_index(index: int, frames: int, name: str) -> None:
    """Raise UsageError unless a file of so many frames has one of this index."""
    if not 0 <= index < frames:
        raise UsageError(
            f"{name} has no frame {index + 1}.",
            f"Choose one of 1 to {frames}." if frames > 1 else "It has one.",
        )
