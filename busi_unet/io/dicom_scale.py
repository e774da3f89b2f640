"""The size of a pixel in the header of a DICOM file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from busi_unet.io.scale import Region, Spacing, is_plausible

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_CENTIMETRE = 3
_MAX_ASPECT = 10


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
                    f"Pixels are not square: {down:g} high to {across:g} wide, as the file has it."
                )
            return None, (), down / across
    except Exception:
        # The image is there all the same.
        remarks.append("No millimetres: what the file says of the size of a pixel is malformed.")
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
    remark = f"No millimetres: a pixel of {across:g} × {down:g} mm, as the file has it, is not plausible."
    if remark not in remarks:
        remarks.append(remark)
    return None
