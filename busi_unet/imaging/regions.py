"""The connected regions of a mask (8-neighbourhood): labelled, boxed, filled, traced, drawn."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from PIL import Image
from scipy import ndimage

Corner = tuple[int, int]


def label_regions(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the number of each pixel's region, int (H, W), 0 outside of them, and how many there are."""
    return ndimage.label(mask, structure=np.ones((3, 3)))


def bounding_box(mask: np.ndarray) -> tuple[slice, slice]:
    """Return rows and columns of the smallest box that holds a mask, bool (H, W), or one pixel."""
    sides = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return tuple(slice(int(side[0]), int(side[-1]) + 1) if side.size else slice(0, 1) for side in sides)


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """Return the mask without its holes, bool (H, W)."""
    # One labelling of the background, where ndimage.binary_fill_holes dilates step by step.
    background, count = ndimage.label(~mask)
    reaches_edge = np.zeros(count + 1, dtype=bool)
    for edge in (background[0], background[-1], background[:, 0], background[:, -1]):
        reaches_edge[edge] = True
    reaches_edge[0] = False
    return ~reaches_edge[background]


def mask_image(mask: np.ndarray) -> Image.Image:
    """Return a mask, bool (H, W), as a grey image: 255 in its regions, else 0."""
    return Image.fromarray(mask.astype(np.uint8) * 255)


def trace_contours(mask: np.ndarray, tolerance: float = 1.0) -> list[np.ndarray]:
    """Return the outer outline of each region of a mask, the largest first.

    That is the order of `measure_lesions`. The points run clockwise along the outer edges of the pixels,
    without those that the line misses by no more than the tolerance (Douglas and Peucker 1973).

    Args:
        mask: bool (H, W).
        tolerance: pixels; 0 keeps every corner.

    Returns:
        Per region its corners (x, y), int (N, 2), where the image's upper left corner is (0, 0) and each
        pixel covers a square of side 1; the last is joined to the first. Holes are not told.
    """
    regions, count = label_regions(mask)
    sizes = np.bincount(regions.ravel(), minlength=count + 1)[1:]
    boxes = ndimage.find_objects(regions)
    contours = []
    for index in np.argsort(-sizes, kind="stable"):
        rows, columns = boxes[index]
        ring = _ring(regions[rows, columns] == index + 1)
        contours.append(_simplified(ring, tolerance) + np.array([columns.start, rows.start]))
    return contours


def _ring(region: np.ndarray) -> np.ndarray:
    """Return the corners of a connected region's outer outline, int (N, 2), a step of one pixel each."""
    inside = np.pad(region, 1)
    ways: dict[Corner, dict[Corner, None]] = defaultdict(dict)
    # The edge of a pixel towards each neighbour that lies outside, the pixel at its right-hand side.
    for (row, column), start, way in (
        ((-1, 0), (0, 0), (1, 0)),
        ((0, 1), (1, 0), (0, 1)),
        ((1, 0), (1, 1), (-1, 0)),
        ((0, -1), (0, 1), (0, -1)),
    ):
        outside = ~np.roll(inside, (-row, -column), axis=(0, 1))
        for y, x in np.argwhere(inside & outside) - 1:
            ways[(int(x) + start[0], int(y) + start[1])][way] = None
    begin = at = (int(region[0].argmax()), 0)
    way, ring = (1, 0), []
    while True:
        ring.append(at)
        at = (at[0] + way[0], at[1] + way[1])
        if at == begin:
            return np.array(ring)
        # Where two pixels meet at a corner, the turn to the left leads from one to the other.
        left, right = (way[1], -way[0]), (-way[1], way[0])
        way = next(turn for turn in (left, way, right) if turn in ways[at])


def _simplified(ring: np.ndarray, tolerance: float) -> np.ndarray:
    """Return the points of a ring that are needed."""
    ends = [0, int(np.linalg.norm(ring - ring[0], axis=1).argmax())]
    closed = np.concatenate([ring, ring[:1]])
    kept, spans = set(ends), [(ends[0], ends[1]), (ends[1], len(ring))]
    while spans:
        first, last = spans.pop()
        (x, y), (dx, dy) = closed[first], closed[last] - closed[first]
        offsets = closed[first:last] - (x, y)
        misses = np.abs(offsets[:, 0] * dy - offsets[:, 1] * dx) / np.hypot(dx, dy)
        farthest = int(misses.argmax())
        if misses[farthest] > tolerance:
            kept.add(first + farthest)
            spans += [(first, first + farthest), (first + farthest, last)]
    return ring[sorted(kept)]
