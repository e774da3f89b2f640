"""The size of an image's pixels, as the header of a DICOM file states it or as someone types it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Spacing = tuple[float, float]

MIN_PIXEL_MM, MAX_PIXEL_MM = 0.001, 10
_HELD = 0.9  # share of a mask
_CENTIMETRE = 3
_MAX_ASPECT = 10


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


def spacing_in_regions(
    regions: tuple[Region, ...], mask: np.ndarray
) -> tuple[Spacing | None, tuple[str, ...]]:
    """Return the scale of the regions that hold a mask, or None and a remark that says why.

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
        return best, ()
    remark = (
        "No millimetres: what is outlined does not lie in one ultrasound region with a scale in the file."
    )
    return None, (remark,)


def read_scale(header: Dataset, remarks: list[str]) -> tuple[Spacing | None, tuple[Region, ...], float]:
    """Return the spacing of the whole image, its ultrasound regions, and the height of a pixel by its width.

    The spacing is that of the largest region, else as radiographs give it; None where another region at
    least half as large has a scale of its own (a split screen). Regions are empty where none has a scale.
    What is malformed or not plausible counts as unknown, with a remark.
    """
    try:
        if header.get("SequenceOfUltrasoundRegions"):
            return *_from_regions(header, remarks), 1.0
        for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
            if values := header.get(keyword):
                down, across = map(float, values)
                return _plausible((down, across), remarks), (), 1.0
        if values := header.get("PixelAspectRatio"):
            down, across = map(float, values)
            if not 1 / _MAX_ASPECT <= down / across <= _MAX_ASPECT:
                raise ValueError
            if down != across:
                remarks.append(
                    f"Pixels are not square: {down:g} high to {across:g} wide, according to the file."
                )
            return None, (), down / across
    except Exception:
        # The image is there all the same.
        remarks.append("No millimetres: the pixel size in the file is malformed.")
    return None, (), 1.0


def _from_regions(header: Dataset, remarks: list[str]) -> tuple[Spacing | None, tuple[Region, ...]]:
    regions = tuple(_region(item, header, remarks) for item in header.SequenceOfUltrasoundRegions)
    if all(region.spacing_mm is None for region in regions):
        if not remarks:
            remarks.append("No millimetres: no ultrasound region in the file has a scale in centimetres.")
        return None, ()
    ranked = sorted(regions, key=lambda region: -region.area)
    rivals = [region.spacing_mm for region in ranked if 2 * region.area >= ranked[0].area]
    known = None not in rivals and np.allclose(rivals, rivals[0], rtol=0.01)
    return rivals[0] if known else None, regions


def _region(item: Dataset, header: Dataset, remarks: list[str]) -> Region:
    left, top = item.RegionLocationMinX0, item.RegionLocationMinY0
    right, bottom = item.RegionLocationMaxX1 + 1, item.RegionLocationMaxY1 + 1
    if right - left <= 1 or bottom - top <= 1:
        left, top, right, bottom = 0, 0, header.Columns, header.Rows
    spacing = None
    if (item.get("PhysicalUnitsXDirection"), item.get("PhysicalUnitsYDirection")) == (_CENTIMETRE,) * 2:
        # The sign only says which way an axis points.
        down, across = abs(item.get("PhysicalDeltaY") or 0), abs(item.get("PhysicalDeltaX") or 0)
        spacing = _plausible((down * 10, across * 10), remarks)
    return Region((left, top, right, bottom), spacing)


def _plausible(spacing: Spacing, remarks: list[str]) -> Spacing | None:
    if is_plausible(spacing):
        return spacing
    down, across = spacing
    remark = f"No millimetres: the pixel size in the file, {across:g} × {down:g} mm, is not plausible."
    if remark not in remarks:
        remarks.append(remark)
    return None
