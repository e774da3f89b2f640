"""Text and calipers that are burnt into an image: whether they are there, where, and how to blacken them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image
from scipy import ndimage

Box = tuple[int, int, int, int]
"""(left, top, right, bottom) in pixels, right and bottom exclusive."""

_STROKE_WIDTH, _STROKE_LENGTH, _STROKE_CONTRAST = 4, 4, 40
_LARGE_SIDE = 800
_LOOKED_OVER = 1500
_CORNER = (0.10, 0.25)
_LETTER_HEIGHT = (5, 40)
_FEWEST_STROKES = 3
# Contrast of letters that make a line of text, and of those that may belong to it: grey levels, and by what
# a tenth of all pixels reach, as fine speckle does too.
_CLEAR, _FAINT = (24, 5), (14, 3)


def has_annotations(image: np.ndarray) -> bool:
    """Return whether text, calipers or other thin bright lines are burnt into an image, uint8 (H, W).

    Looks for upright strokes: a run of 4 pixels or more down a column, each at least 40 grey levels
    brighter than what remains of its row when everything up to 4 pixels wide is taken away (a white
    top-hat). A beam is wider than that across, so echoes leave no such stroke, while letters, crosses
    and dotted lines do. Larger images are first brought to 800 pixels. The upper left corner, 10 % of
    the height and 25 % of the width, is left out: there scanners print their maker's logo.

    Sensitivity and specificity at three hospitals: docs/results.md. Dark annotations, faint ones, and those
    in that corner go unseen.
    """
    longest = max(image.shape)
    if longest > _LARGE_SIDE:
        image = _resized(image, _LARGE_SIDE / longest)
    strokes = _contrast(image) >= _STROKE_CONTRAST
    down, across = (round(share * side) for share, side in zip(_CORNER, image.shape, strict=True))
    strokes[:down, :across] = False
    # _STROKE_LENGTH of them one below the other.
    pairs = strokes[:-1] & strokes[1:]
    return bool((pairs[:-2] & pairs[2:]).any())


def text_boxes(image: np.ndarray) -> tuple[Box, ...]:
    """Return where text is burnt into an image, uint8 (H, W): a box around each line or block, from the top.

    Text is a row of at least 3 upright strokes (see `has_annotations`), 5 to 40 pixels high and no farther
    apart than that, bright on dark or dark on bright; letters of thicker strokes are seen at half and quarter
    size. Images of more than 9 million pixels are first reduced. Recall and false alarms: docs/results.md.
    Turned text and single characters go unseen.
    """
    first, shape = reduction(image.shape), image.shape
    image = image if first == 1 else np.asarray(Image.fromarray(image).reduce(first))
    covered = np.zeros(image.shape, dtype=bool)
    scale = 1
    while min(image.shape) // scale >= 4 * _LETTER_HEIGHT[0] and scale <= 4:
        small = image if scale == 1 else _resized(image, 1 / scale)
        for polarity in (small, 255 - small):
            for left, top, right, bottom in _lines(polarity):
                covered[scale * top : scale * bottom, scale * left : scale * right] = True
        scale *= 2
    if not covered.any():
        return ()
    regions, _ = ndimage.label(covered)
    return tuple(enlarged(place, first, shape) for place in ndimage.find_objects(regions))


def reduction(shape: tuple[int, ...]) -> int:
    """Return by what factor an image of shape (H, W) is reduced to be looked over: 1 up to 9 megapixels."""
    return max(1, math.isqrt(math.prod(shape)) // _LOOKED_OVER)


def enlarged(place: tuple[slice, slice], scale: int, shape: tuple[int, ...]) -> Box:
    """Return the box of a place in a reduced image, in one of shape (H, W)."""
    (down, across), (height, width) = place, shape
    left, top, right, bottom = (scale * end for end in (across.start, down.start, across.stop, down.stop))
    return (left, top, min(right, width), min(bottom, height))


def text_remark(boxes: Sequence[Box], shape: tuple[int, int]) -> str:
    """Return where in an image of a shape (H, W) the text is that `text_boxes` found; empty without any."""
    places = []
    for left, top, right, bottom in boxes:
        down = ("top", "", "bottom")[min(2, 3 * (top + bottom) // (2 * shape[0]))]
        across = ("left", "", "right")[min(2, 3 * (left + right) // (2 * shape[1]))]
        places.append(f"{down} {across}".strip() or "middle")
    if not places:
        return ""
    listed = ", ".join(dict.fromkeys(places))
    return f"Text at the {listed} may identify the patient: blacken it before you share the image."


def blacken(image: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
    """Return a copy of an image, uint8 (H, W), black within the boxes, such as those of `text_boxes`."""
    image = image.copy()
    for left, top, right, bottom in boxes:
        image[max(0, top) : bottom, max(0, left) : right] = 0
    return image


def _contrast(image: np.ndarray) -> np.ndarray:
    """Return how much brighter than its row each pixel of what is narrow across is, uint8 (H, W)."""
    padded = np.pad(image, ((0, 0), (_STROKE_WIDTH, _STROKE_WIDTH)), mode="edge")
    # A white top-hat, in a hundredth of the time of ndimage's.
    opened = _spread(_spread(padded, np.minimum), np.maximum)
    return image - opened


def _spread(image: np.ndarray, most: np.ufunc) -> np.ndarray:
    """Return the minimum or maximum of each 5 neighbours of a row, uint8 (H, W - 4)."""
    pairs = most(image[:, :-1], image[:, 1:])
    fours = most(pairs[:, :-2], pairs[:, 2:])
    return most(fours[:, :-1], image[:, _STROKE_WIDTH:])


def _lines(image: np.ndarray) -> Iterator[Box]:
    """Yield a box, with a rim, around each row of upright strokes."""
    contrast = _contrast(image)
    echoes = grey_levels(contrast, [0.9])[0]
    letters: list[tuple[bool, list[int]]] = []
    rows = np.zeros(image.shape, dtype=bool)
    # The fainter letters of a line are taken along with those that make it one.
    for clear, (least, to_echo) in ((True, _CLEAR), (False, _FAINT)):
        if not clear and len(letters) < _FEWEST_STROKES:
            return
        for box in _letters(contrast >= max(least, to_echo * echoes)):
            left, top, right, bottom = box
            letters.append((clear, box))
            rows[top:bottom, max(0, left - (bottom - top)) : right + (bottom - top)] = True
    labels, count = ndimage.label(rows)
    members: list[list[tuple[bool, list[int]]]] = [[] for _ in range(count + 1)]
    for letter in letters:
        left, top, _, _ = letter[1]
        members[labels[top, left]].append(letter)
    for row in members:
        if sum(clear for clear, _ in row) < _FEWEST_STROKES:
            continue
        ends = np.array([box for _, box in row])
        height = np.median(ends[:, 3] - ends[:, 1])
        (left, top), (right, bottom) = ends[:, :2].min(axis=0), ends[:, 2:].max(axis=0)
        if right - left >= 1.5 * height:
            # Round letters, points and commas reach beyond their upright strokes.
            rim = round(0.5 * height)
            yield max(0, left - 3 * rim), max(0, top - rim), right + 3 * rim, bottom + rim


def _letters(strokes: np.ndarray) -> list[list[int]]:
    """Return the boxes of those regions of bool (H, W) that have the size of a letter."""
    filled = strokes.any(axis=1)
    # Most rows hold none; one between those that do keeps regions apart.
    used = np.flatnonzero(filled | np.roll(filled, 1))
    strokes = strokes[used]
    regions, count = ndimage.label(strokes, structure=np.ones((3, 3)))
    # Of thousands of regions few are so high; ndimage.find_objects looks at each pixel of the image.
    rows, columns = np.nonzero(strokes)
    numbers, rows = regions[rows, columns] - 1, used[rows]
    # The last of several values counts, and rows go down.
    top, bottom = np.zeros((2, count), dtype=int)
    bottom[numbers], top[numbers[::-1]] = rows + 1, rows[::-1]
    high = (bottom - top >= _LETTER_HEIGHT[0]) & (bottom - top <= _LETTER_HEIGHT[1])
    kept = high[numbers]
    left, right = np.full(count, strokes.shape[1]), np.zeros(count, dtype=int)
    np.minimum.at(left, numbers[kept], columns[kept])
    np.maximum.at(right, numbers[kept], columns[kept] + 1)
    boxes = np.stack([left, top, right, bottom], axis=1)[high & (right - left <= 3 * (bottom - top))]
    return boxes.tolist()


def grey_levels(image: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Return the level that each share of the pixels of uint8 (H, W) does not exceed, by a histogram."""
    return np.searchsorted(np.cumsum(Image.fromarray(image).histogram()), np.multiply(shares, image.size))


def _resized(image: np.ndarray, factor: float) -> np.ndarray:
    height, width = (max(1, round(side * factor)) for side in image.shape)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))
