"""What a mask says about its lesions: in pixels, and in millimetres where the size of a pixel is known."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull

from busi_unet.errors import UsageError
from busi_unet.imaging.regions import bounding_box, label_regions
from busi_unet.io.decode import DecodedImage
from busi_unet.io.scale import MAX_PIXEL_MM, MIN_PIXEL_MM, is_plausible

Point = tuple[float, float]
Line = tuple[Point, Point]

_BLACK = 12
_SKIN_ROWS = 0.01


def percent(share: float, digits: int = 0) -> str:
    """Return a share from 0 to 1 as "14 %", with a space that does not break."""
    return f"{100 * share:.{digits}f}\u00a0%"


def quantity(*values: float, unit: str) -> str:
    """Return lengths or an area as people read them: to a tenth of mm and mm², in whole px and px²."""
    digits = 1 if unit.startswith("mm") else 0
    return f"{' × '.join(f'{value:,.{digits}f}' for value in values)} {unit}"


@dataclass(frozen=True)
class Lesion:
    """One connected region of a mask.

    Rows are depth and columns are across, as ultrasound shows them. Points are (x, y) in pixels, where
    the image's upper left corner is (0, 0) and each pixel covers a square of side 1. All `_mm`
    and `_mm2` values are None where the size of a pixel is unknown.

    Attributes:
        unit: "mm" where the size of a pixel is known, else "px": the unit to quote lengths in.
        spacing_mm: (between rows, between columns), or None.
        area_px, area_mm2: pixels covered, and the same in mm²; area_share: of the image, from 0 to 1.
        box: (left, top, right, bottom), pixels, right and bottom exclusive.
        width_px, height_px, width_mm, height_mm: of the box: the extents across and along depth.
        longest_diameter_px, longest_diameter_mm: largest distance between two points of the outline.
        perpendicular_px, perpendicular_mm: the longest line at right angles to the longest diameter that
            the lesion's convex hull holds, as the second pair of calipers is set.
        calipers: ends of the longest diameter, then of its perpendicular, as measured in `unit`.
        equivalent_diameter_px, equivalent_diameter_mm: of a circle of the same area.
        depth_to_width: height over width, in `unit`, or by the pixels' aspect where that alone is known.
        taller_than_wide: higher than wide, a sign that counts toward malignancy (BI-RADS).
        centroid: mean point.
        deepest: middle of a pixel as far from the outline as any, to a 64th of the lesion's size; unlike the
            centroid always in the lesion.
        skin_distance_px, skin_distance_mm: from the skin line down to the lesion's uppermost pixel; None
            where no skin line can be told. See `skin_row`.
        skin_at_edge: the skin line is the image's upper edge, so a cropped image gives too short a
            distance; None where there is no distance.
    """

    unit: str
    spacing_mm: tuple[float, float] | None
    area_px: int
    area_mm2: float | None
    area_share: float
    box: tuple[int, int, int, int]
    width_px: int
    height_px: int
    width_mm: float | None
    height_mm: float | None
    longest_diameter_px: float
    longest_diameter_mm: float | None
    perpendicular_px: float
    perpendicular_mm: float | None
    calipers: tuple[Line, Line]
    equivalent_diameter_px: float
    equivalent_diameter_mm: float | None
    depth_to_width: float
    taller_than_wide: bool
    centroid: Point
    deepest: Point
    skin_distance_px: int | None
    skin_distance_mm: float | None
    skin_at_edge: bool | None

    def to_dict(self) -> dict[str, Any]:
        """Return the measurements, JSON-ready."""
        return asdict(self)

    def lengths(self, *names: str) -> str:
        """Return lengths, named without their unit, as people read them: "12.3 × 4.5 mm"."""
        return quantity(*(getattr(self, f"{name}_{self.unit}") for name in names), unit=self.unit)

    @property
    def area_text(self) -> str:
        """The area with its unit."""
        return quantity(self.area_mm2 if self.unit == "mm" else self.area_px, unit=f"{self.unit}²")

    @property
    def shape_text(self) -> str:
        """Whether it is taller than wide, and its depth over its width: "yes (1.20)"."""
        return f"{'yes' if self.taller_than_wide else 'no'} ({self.depth_to_width:.2f})"

    @property
    def skin_text(self) -> str:
        """The distance below the skin line; "≥" where that is the image's edge."""
        if self.skin_distance_px is None:
            return "not known"
        return f"{'≥ ' if self.skin_at_edge else ''}{self.lengths('skin_distance')}"


def measure_lesions(
    mask: np.ndarray,
    image: np.ndarray | None = None,
    *,
    spacing_mm: tuple[float, float] | None = None,
    aspect: float = 1.0,
) -> tuple[Lesion, ...]:
    """Return the connected regions (8-neighbourhood) of a mask, largest first.

    Args:
        mask: bool (H, W).
        image: uint8 (H, W), the image under the mask; without it there are no skin distances.
        spacing_mm: size of a pixel (between rows, between columns), where it is known.
        aspect: height of a pixel by its width, for the shape where there is no spacing.

    Raises:
        UsageError: a spacing that is not two numbers from 0.001 to 10 mm.
    """
    if spacing_mm is not None:
        if not is_plausible(spacing_mm):
            raise UsageError(
                f"The pixel spacing is {spacing_mm}.",
                f"Give two lengths from {MIN_PIXEL_MM} to {MAX_PIXEL_MM} mm: between rows, between columns.",
            )
        spacing_mm = tuple(map(float, spacing_mm))
    rows, columns = box = bounding_box(mask)
    regions, _ = label_regions(mask[box])
    lesions = []
    for index, (down, across) in enumerate(ndimage.find_objects(regions), start=1):
        corner = (rows.start + down.start, columns.start + across.start)
        region = regions[down, across] == index
        lesions.append(_measure(region, corner, mask.shape, image, spacing_mm, aspect))
    return tuple(sorted(lesions, key=lambda lesion: -lesion.area_px))


def measure_image(
    mask: np.ndarray, image: DecodedImage, spacing_mm: tuple[float, float] | None = None
) -> tuple[tuple[Lesion, ...], tuple[str, ...]]:
    """Return the lesions of a mask, bool (H, W), in the scale of its place in the image, and remarks on that.

    Args:
        mask: of the lesions.
        image: under the mask.
        spacing_mm: counts instead of what the image's file says.

    Raises:
        UsageError: as for `measure_lesions`.
    """
    spacing, remarks = (spacing_mm, ()) if spacing_mm is not None else image.spacing_of(mask)
    return measure_lesions(mask, image.pixels, spacing_mm=spacing, aspect=image.aspect), remarks


def skin_row(image: np.ndarray, box: tuple[int, int, int, int]) -> int | None:
    """Return the row where tissue begins above a lesion: the first from which the image stays non-black.

    Non-black is a row of which at least half, over the lesion's columns, is brighter than 12 of 255, and
    it has to stay so for 1 % of the image's height, at least 3 rows: a line of text in a black
    margin does not last as long. In most images tissue reaches the upper edge, and the answer is 0: the
    face of the probe if the image is whole, a cut through the tissue if it was cropped. None where no such
    row lies above the lesion: it begins at the edge, or only black is over it.

    Args:
        image: uint8 (H, W).
        box: (left, top, right, bottom) of the lesion.
    """
    left, top, right, _ = box
    bright = (image[:top, left:right] > _BLACK).mean(axis=1) >= 0.5
    lasting = max(3, round(_SKIN_ROWS * image.shape[0]))
    if top < lasting:
        return 0 if top and bright.all() else None
    runs = np.lib.stride_tricks.sliding_window_view(bright, lasting).all(axis=1)
    return int(runs.argmax()) if runs.any() else None


def _measure(
    region: np.ndarray,
    corner: tuple[int, int],
    shape: tuple[int, ...],
    image: np.ndarray | None,
    spacing: tuple[float, float] | None,
    aspect: float,
) -> Lesion:
    (top, left), (height, width) = corner, region.shape
    box = (left, top, left + width, top + height)
    area = int(region.sum())
    corners = _corners(region) + np.array([left, top])
    in_px, diameters_px = _calipers(corners, (1.0, 1.0))
    down, across = spacing or (aspect, 1.0)
    # Where pixels are not square the longest line in millimetres can be another one than in pixels.
    calipers, diameters = _calipers(corners, (across, down)) if spacing else (in_px, diameters_px)
    skin = skin_row(image, box) if image is not None else None
    distance = None if skin is None else top - skin
    y, x = (
        start + 0.5 + region.sum(axis=axis) @ np.arange(region.shape[1 - axis]) / area
        for start, axis in ((top, 1), (left, 0))
    )

    def millimetres(value: float | None) -> float | None:
        return round(float(value), 2) if spacing and value is not None else None

    return Lesion(
        unit="mm" if spacing else "px",
        spacing_mm=spacing,
        area_px=area,
        area_mm2=millimetres(area * down * across),
        area_share=area / math.prod(shape),
        box=box,
        width_px=width,
        height_px=height,
        width_mm=millimetres(width * across),
        height_mm=millimetres(height * down),
        longest_diameter_px=round(diameters_px[0], 1),
        longest_diameter_mm=millimetres(diameters[0]),
        perpendicular_px=round(diameters_px[1], 1),
        perpendicular_mm=millimetres(diameters[1]),
        calipers=calipers,
        equivalent_diameter_px=round(math.sqrt(4 * area / math.pi), 1),
        equivalent_diameter_mm=millimetres(math.sqrt(4 * area * down * across / math.pi)),
        depth_to_width=round(height * down / (width * across), 2),
        taller_than_wide=height * down > width * across,
        centroid=(round(float(x), 1), round(float(y), 1)),
        deepest=_deepest(region, box),
        skin_distance_px=distance,
        skin_distance_mm=millimetres(None if distance is None else distance * down),
        skin_at_edge=None if skin is None else skin == 0,
    )


def _deepest(region: np.ndarray, box: tuple[int, int, int, int]) -> Point:
    step = math.ceil(max(region.shape) / 64)
    if not region[::step, ::step].any():
        step = 1
    # The rim of zeros makes the image's own edge count as an outline.
    depth = ndimage.distance_transform_cdt(np.pad(region[::step, ::step], 1))[1:-1, 1:-1]
    ridge = np.argwhere(depth == depth.max())
    # The middle of a long ridge, not its end.
    row, column = step * ridge[np.abs(ridge - ridge.mean(axis=0)).sum(axis=1).argmin()]
    return (box[0] + int(column) + 0.5, box[1] + int(row) + 0.5)


def _corners(region: np.ndarray) -> np.ndarray:
    # The farthest points lie on the convex hull, so the ends of each row are enough. Pixel corners
    # count: one pixel has length √2.
    rows = np.flatnonzero(region.any(axis=1))
    left = region[rows].argmax(axis=1)
    right = region.shape[1] - region[rows, ::-1].argmax(axis=1)
    return np.concatenate(
        [np.stack([ends, rows + down], axis=1) for down in (0, 1) for ends in (left, right)]
    )


def _calipers(corners: np.ndarray, scale: tuple[float, float]) -> tuple[tuple[Line, Line], Point]:
    """Return the two lines in pixels and their lengths in the unit of `scale` (x, y)."""
    scaled = corners * np.array(scale)
    # Its vertices go round the hull, which the two sides below rely on.
    hull = scaled[ConvexHull(scaled).vertices]
    distances = np.sqrt(((hull[:, None] - hull) ** 2).sum(axis=2))
    first, second = np.unravel_index(distances.argmax(), distances.shape)
    start, longest = hull[first], distances[first, second]
    along = (hull[second] - start) / longest
    normal = np.array([-along[1], along[0]])
    position, offset = (hull - start) @ along, (hull - start) @ normal
    low, high = sorted((first, second))
    sides = (np.arange(low, high + 1), np.r_[high : len(hull), 0 : low + 1])
    # Both sides run from one end of the longest diameter to the other, so each is a function of the
    # position along it, linear between vertices: the widest place is at a vertex.
    places = np.unique(np.clip(position, 0, longest))
    across = []
    for side in sides:
        order = np.argsort(position[side], kind="stable")
        across.append(np.interp(places, position[side][order], offset[side][order]))
    widest = int(np.abs(across[0] - across[1]).argmax())
    ends = [start + places[widest] * along + line[widest] * normal for line in across]

    def line(a: np.ndarray, b: np.ndarray) -> Line:
        return tuple((round(float(x), 1), round(float(y), 1)) for x, y in (a / scale, b / scale))

    return (line(start, hull[second]), line(*ends)), (
        float(longest),
        float(abs(across[0] - across[1])[widest]),
    )
