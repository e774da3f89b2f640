"""The connected regions of a mask (8-neighbourhood): labelled, boxed, filled, traced, drawn."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage


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
    hole = np.ones(count + 1, dtype=bool)
    for edge in (background[0], background[-1], background[:, 0], background[:, -1]):
        hole[edge] = False
    hole[0] = False
    return mask | hole[background] if hole.any() else mask


def without_specks(mask: np.ndarray, smallest: float) -> np.ndarray:
    """Return the mask, bool (H, W), without regions of fewer pixels than the smallest."""
    regions, count = label_regions(mask)
    kept = np.bincount(regions.ravel(), minlength=count + 1) >= smallest
    kept[0] = False
    return mask if kept[1:].all() else kept[regions]


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
    top, left = box = bounding_box(mask)
    regions, count = label_regions(mask[box])
    sizes = np.bincount(regions.ravel(), minlength=count + 1)[1:]
    boxes = ndimage.find_objects(regions)
    contours = []
    for index in np.argsort(-sizes, kind="stable"):
        rows, columns = boxes[index]
        ring = _ring(regions[rows, columns] == index + 1)
        corner = np.array([left.start + columns.start, top.start + rows.start])
        contours.append(_simplified(ring, tolerance) + corner)
    return contours


def _ring(region: np.ndarray) -> np.ndarray:
    """Return the corners of a connected region's outer outline, int (N, 2), a step of one pixel each."""
    inside = np.pad(region, 1)
    above, below = (rows[:, 1:] for rows in (inside[:-1], inside[1:]))
    left_above, left_below = (rows[:, :-1] for rows in (inside[:-1], inside[1:]))
    # By way (right, down, left, up), the corners where an edge begins that has the region at its right-hand
    # side alone.
    edges = np.stack([below & ~above, left_below & ~below, left_above & ~left_below, above & ~left_above])
    numbers = np.flatnonzero(edges)
    way, y, x = np.unravel_index(numbers, edges.shape)
    to = (y + np.array([0, 1, 0, -1])[way], x + np.array([1, 0, -1, 0])[way])
    # Where two pixels meet at a corner, the turn to the left leads from one to the other.
    left, right = (way - 1) % 4, (way + 1) % 4
    next_way = np.select([edges[left, *to], edges[way, *to]], [left, way], right)
    following = np.searchsorted(numbers, np.ravel_multi_index((next_way, *to), edges.shape)).tolist()
    # The first edge is the uppermost.
    ring = [0]
    while following[ring[-1]]:
        ring.append(following[ring[-1]])
    return np.stack([x, y], axis=1)[ring]


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
