"""What a mask says about its lesions, in pixels of the picture."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist


@dataclass(frozen=True)
class Lesion:
    """One connected region of a mask.

    Attributes:
        area_px: pixels covered.
        area_share: of the picture, from 0 to 1.
        box: (left, top, right, bottom), pixels, right and bottom exclusive.
        width_px, height_px: of the box.
        longest_diameter_px: largest distance between two points of the outline.
        taller_than_wide: box higher than wide, a sign that counts toward malignancy (BI-RADS).
    """

    area_px: int
    area_share: float
    box: tuple[int, int, int, int]
    width_px: int
    height_px: int
    longest_diameter_px: float
    taller_than_wide: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "box": list(self.box)}


def measure_lesions(mask: np.ndarray) -> tuple[Lesion, ...]:
    """The connected regions (8-neighbourhood) of a bool (H, W) mask, largest first."""
    regions, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    lesions = []
    for index, (rows, columns) in enumerate(ndimage.find_objects(regions), start=1):
        region = regions[rows, columns] == index
        height, width = region.shape
        area = int(region.sum())
        lesions.append(
            Lesion(
                area_px=area,
                area_share=area / mask.size,
                box=(columns.start, rows.start, columns.stop, rows.stop),
                width_px=width,
                height_px=height,
                longest_diameter_px=_longest_diameter(region),
                taller_than_wide=height > width,
            )
        )
    return tuple(sorted(lesions, key=lambda lesion: -lesion.area_px))


def _longest_diameter(region: np.ndarray) -> float:
    # The two farthest points lie on the convex hull, so the ends of each row are enough. Pixel
    # corners count: one pixel has length √2.
    rows = np.flatnonzero(region.any(axis=1))
    left = region[rows].argmax(axis=1)
    right = region.shape[1] - region[rows, ::-1].argmax(axis=1)
    corners = np.concatenate(
        [np.stack([rows + down, ends], axis=1) for down in (0, 1) for ends in (left, right)]
    )
    hull = corners[ConvexHull(corners).vertices]
    return round(float(pdist(hull.astype(float)).max()), 1)
