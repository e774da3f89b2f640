"""The size of an image's pixels, as a file states it or as someone types it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

Spacing = tuple[float, float]

MIN_PIXEL_MM, MAX_PIXEL_MM = 0.001, 10
_HELD = 0.9  # share of a mask


@dataclass(frozen=True)
class Region:
    """A part of an image with a scale of its own.

    Attributes:
        box: (left, top, right, bottom) in pixels, right and bottom exclusive.
        spacing_mm: (between rows, between columns); None where it has no scale in lengths.
    """

    box: tuple[int, int, int, int]
    spacing_mm: Spacing | None

    @property
    def area(self) -> int:
        """Pixels covered."""
        left, top, right, bottom = self.box
        return max(0, right - left) * max(0, bottom - top)


def is_plausible(spacing: Any) -> bool:
    """Return whether (between rows, between columns) are numbers from 0.001 to 10 mm."""
    try:
        down, across = map(float, spacing)
    except (TypeError, ValueError):
        return False
    return all(math.isfinite(side) and MIN_PIXEL_MM <= side <= MAX_PIXEL_MM for side in (down, across))


def spacing_in_regions(regions: tuple[Region, ...], mask: np.ndarray) -> tuple[Spacing | None, str]:
    """Return the scale of the regions that hold a mask, or None and a sentence that says why.

    Where regions lie over one another the smaller counts; 90 % of the mask, bool (H, W), have to lie in
    regions of one scale.
    """
    owner = np.full(mask.shape, -1)
    for index, region in sorted(enumerate(regions), key=lambda each: -each[1].area):
        left, top, right, bottom = region.box
        owner[max(0, top) : max(0, bottom), max(0, left) : max(0, right)] = index
    pixels = owner[mask]
    held: dict[Spacing, int] = {}
    for index, region in enumerate(regions):
        if region.spacing_mm is not None:
            # Scales that differ by rounding alone are one.
            key = next((s for s in held if np.allclose(s, region.spacing_mm, rtol=0.01)), region.spacing_mm)
            held[key] = held.get(key, 0) + int((pixels == index).sum())
    best = max(held, key=held.__getitem__, default=None)
    if best is not None and held[best] >= _HELD * pixels.size:
        return best, ""
    return None, (
        "No millimetres: what is outlined does not lie in one ultrasound region with a scale in the file."
    )
