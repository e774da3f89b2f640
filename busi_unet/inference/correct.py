"""A mask after clicks: what they point to is outlined anew, at once and without the network.

A small one redraws the lesions from image, probability map, mask so far and clicks (Xu et al. 2016,
arXiv:1603.04042; Sofiiuk et al. 2022, arXiv:2102.06583). It needs no features of the U-Net, so that one head
serves every model; research/clicks.py trains it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from busi_unet.config import Preprocess, Thresholds
from busi_unet.errors import UsageError
from busi_unet.imaging.regions import fill_holes, label_regions, without_specks
from busi_unet.inference.preprocess import Preprocessor, resize_map
from busi_unet.inference.runtime import open_session

SIZE, STRIDE = 160, 4
HEAD = Path(__file__).parents[1] / "weights" / "click_head.onnx"
# Of the longer side: the radius of a lesion of median size in BUSI, BUS-BRA and BrEaST.
_MEDIAN_RADIUS = 0.12
# Of the longer side: how near to a click a change is meant by it, and the least that it changes.
_SMALL = 0.02
# Of the largest depth in an outlined region: from here a click on other tissue means all of the region.
_MIDDLE = 0.7

# The lesion probability, float32 (SIZE, SIZE), of float32 (3, SIZE, SIZE) in [0, 1], that is image, lesion
# probability and mask so far, and of what `click_maps` gives.
Head = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Click(NamedTuple):
    """A place that a reader points to: `row` and `column` in pixels, and whether it is lesion."""

    row: float
    column: float
    lesion: bool = True


class ClickBox(NamedTuple):
    """A box that a reader draws around a lesion, pixels; the corners may come in any order."""

    top: float
    left: float
    bottom: float
    right: float


def correct_mask(
    image: np.ndarray,
    probability: np.ndarray,
    mask: np.ndarray,
    clicks: Sequence[Click] = (),
    box: ClickBox | None = None,
    *,
    head: Head | None = None,
) -> np.ndarray:
    """Return the mask, bool (H, W), after the last click, or the box, was added.

    Of what the small network would change, only the regions at the last click, or in the box, are
    changed (progressive merge; Chen et al., arXiv:2204.02574). Where it disagrees with the click, a disc of
    up to median lesion size is drawn, or one is cut out. A click in the middle of an outlined region that it
    is no lesion removes all of the region. Specks that are left go.

    Args:
        image: uint8 (H, W).
        probability: float (H, W) in [0, 1], as `Prediction.probability`.
        mask: bool (H, W), before the last click.
        clicks: all so far, the newest last.
        box: around one lesion.
        head: another than the package's.

    Raises:
        UsageError: neither clicks nor a box, or a click outside the image.
    """
    if not clicks and box is None:
        raise UsageError("There is nothing to correct.", "Give a click or a box.")
    height, width = mask.shape
    for click in clicks:
        if not (0 <= click.row < height and 0 <= click.column < width):
            raise UsageError(f"The click at row {click.row:g}, column {click.column:g} is outside the image.")
    square = Preprocessor(Preprocess(size=SIZE, mirror=False))
    place = square.box(mask.shape)
    rows, columns = place.height / height, place.width / width
    maps = np.zeros((3, SIZE, SIZE), dtype=np.float32)
    maps[0] = square.resize_image(image) / np.float32(255)
    place.crop(maps[1])[:] = resize_map(probability, (place.height, place.width))
    maps[2] = square.resize_mask(mask)
    points = [(place.top + c.row * rows, place.left + c.column * columns, c.lesion) for c in clicks]
    if box is not None:
        (top, bottom), (left, right) = sorted((box.top, box.bottom)), sorted((box.left, box.right))
        box = ClickBox(top, left, bottom, right)
    ends = zip(box or (), 2 * (place.top, place.left), 2 * (rows, columns), strict=False)
    sides = box and tuple(start + end * scale for end, start, scale in ends)
    found = square.restore((head or load_head())(maps, click_maps(points, sides)), mask.shape) >= 0.5
    merged = _merge(fill_holes(found), mask, clicks[-1] if clicks else None, box)
    return without_specks(merged, Thresholds().min_area * mask.size)


def click_maps(
    points: list[tuple[float, float, bool]], box: tuple[float, float, float, float] | None
) -> np.ndarray:
    """Return float32 (3, SIZE / STRIDE, SIZE / STRIDE): closeness to clicks on lesion and on other, the box.

    Args:
        points: (row, column, whether it is lesion), pixels of the square of side SIZE.
        box: (top, left, bottom, right) around a lesion, in the same pixels, or None.
    """
    side = SIZE // STRIDE
    maps = np.zeros((3, side, side), dtype=np.float32)
    centres = (np.arange(side) + 0.5) * STRIDE
    for row, column, lesion in points:
        distance = np.hypot(centres[:, None] - row, centres - column)
        closeness = maps[0 if lesion else 1]
        np.maximum(closeness, np.exp(-distance / 20), out=closeness)
    if box is not None:
        top, left, bottom, right = box
        maps[2] = ((top <= centres) & (centres <= bottom))[:, None] & ((left <= centres) & (centres <= right))
    return maps


@functools.cache
def load_head(path: Path = HEAD) -> Head:
    """Return the trained head, ready to run."""
    session = open_session(path)

    def run(maps: np.ndarray, clicks: np.ndarray) -> np.ndarray:
        return session.run(["probability"], {"maps": maps[None], "clicks": clicks[None]})[0][0, 0]

    return run


def _merge(found: np.ndarray, mask: np.ndarray, click: Click | None, box: ClickBox | None) -> np.ndarray:
    """Return the mask with those of the changes that the click, or the box, touches."""
    if box is None:
        row, column = int(click.row), int(click.column)
        if not click.lesion and mask[row, column]:
            regions, _ = label_regions(mask)
            region = regions == regions[row, column]
            depth = ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
            if depth[row, column] >= _MIDDLE * depth.max():
                return mask & ~region
        if click.lesion and not found[row, column]:
            # Up to what is outlined already, which may have to grow only a little.
            room = ndimage.distance_transform_edt(~mask)[row, column] if mask.any() else np.inf
            found = found | disc(
                mask.shape, row, column, np.clip(room / max(mask.shape), _SMALL, _MEDIAN_RADIUS)
            )
        elif not click.lesion and found[row, column] and not mask[row, column]:
            regions, _ = label_regions(found)
            found = found & (regions != regions[row, column])
        place = disc(mask.shape, row, column, _SMALL)
    else:
        place = np.zeros(mask.shape, dtype=bool)
        place[int(box.top) : int(box.bottom) + 1, int(box.left) : int(box.right) + 1] = True
    changes, _ = label_regions(found != mask)
    merged = mask ^ (np.isin(changes, changes[place]) & (changes > 0))
    if box is None and not click.lesion and merged[row, column] and (merged == mask).all():
        depth = ndimage.distance_transform_edt(mask)[row, column]
        merged &= ~disc(mask.shape, row, column, max(depth / max(mask.shape), _SMALL))
    return merged


def median_area(shape: tuple[int, int]) -> float:
    """Return the area of a lesion of median size in an image of shape (H, W), pixels."""
    return np.pi * (_MEDIAN_RADIUS * max(shape)) ** 2


def disc(shape: tuple[int, int], row: float, column: float, radius: float = _MEDIAN_RADIUS) -> np.ndarray:
    """Return a disc around a click, bool (H, W); `radius` is a share of the longer side."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(rows - row, columns - column) <= radius * max(shape)
