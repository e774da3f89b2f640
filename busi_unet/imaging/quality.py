"""What makes an image hard to trust or to share: burnt-in text and calipers, two in one, no contrast."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image
from scipy import ndimage

from busi_unet.io.decode import DecodedImage

Box = tuple[int, int, int, int]
"""(left, top, right, bottom) in pixels, right and bottom exclusive."""

_STROKE_WIDTH, _STROKE_CONTRAST = 4, 40
_LARGE_SIDE = 800
_LOOKED_OVER = 1500
_CORNER = (0.10, 0.25)
_LETTER_HEIGHT = (5, 40)
_FEWEST_STROKES = 3
# Contrast of letters that make a line of text, and of those that may belong to it: grey levels, and by what
# a tenth of all pixels reach, as fine speckle does too.
_CLEAR, _FAINT = (24, 5), (14, 3)
_SMALL_SIDE = 128
_FLAT_RANGE, _LOW_RANGE = 8, 32
_BLACK = 12
_GAP_RANGE, _GAP_PLACE = 10, (0.3, 0.7)
_ROWS = 1000


def image_warnings(image: DecodedImage) -> tuple[str, ...]:
    """Return one sentence for each thing about an image that a reader of the result should know.

    Very small: a side below 128 pixels. Nearly blank or of very low contrast: 98 % of the pixels lie
    within 8 or 32 of 255 grey levels. Annotations: see `has_annotations`. Two images side by side: see
    `panel_boxes`. Colour: see `DecodedImage.doppler`.
    """
    pixels = image.pixels
    height, width = pixels.shape
    warnings = []
    if min(height, width) < _SMALL_SIDE:
        warnings.append(f"The image is very small ({width} × {height} pixels): outlines will be coarse.")
    low, high = _grey_levels(pixels, [0.01, 0.99])
    if high - low < _FLAT_RANGE:
        warnings.append("The image is nearly blank: almost all of it is one grey level.")
    elif high - low < _LOW_RANGE:
        warnings.append("The image has very low contrast: a lesion may not stand out.")
    if has_annotations(pixels):
        warnings.append("Text or calipers are burnt into the image: they can mislead the model.")
    if panel_boxes(pixels):
        warnings.append("Two images are side by side, and were analysed as one: crop it to one of them.")
    if image.doppler:
        warnings.append("The image shows colour Doppler: the model only sees its grey levels.")
    return tuple(warnings)


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
    # Four, one below the other.
    pairs = strokes[:-1] & strokes[1:]
    return bool((pairs[:-2] & pairs[2:]).any())


def text_boxes(image: np.ndarray) -> tuple[Box, ...]:
    """Return where text is burnt into an image, uint8 (H, W): a box around each line or block, from the top.

    Text is a row of at least 3 upright strokes (see `has_annotations`), 5 to 40 pixels high and no farther
    apart than that, bright on dark or dark on bright; letters of thicker strokes are seen at half and quarter
    size. Images of more than 9 million pixels are first reduced. Recall and false alarms: docs/results.md.
    Turned text and single characters go unseen.
    """
    first = reduction(image.shape)
    reduced = np.asarray(Image.fromarray(image).reduce(first))
    covered = np.zeros(reduced.shape, dtype=bool)
    for scale in (1, 2, 4):
        if min(reduced.shape) // scale < 4 * _LETTER_HEIGHT[0]:
            break
        small = _resized(reduced, 1 / scale)
        for polarity in (small, 255 - small):
            for left, top, right, bottom in _lines(polarity):
                covered[scale * top : scale * bottom, scale * left : scale * right] = True
    if not covered.any():
        return ()
    regions, _ = ndimage.label(covered)
    return tuple(_enlarged(place, first, image.shape) for place in ndimage.find_objects(regions))


def reduction(shape: tuple[int, ...]) -> int:
    """Return by what factor an image of shape (H, W) is reduced to be looked over: 1 up to 9 megapixels."""
    return max(1, math.isqrt(math.prod(shape)) // _LOOKED_OVER)


def _enlarged(place: tuple[slice, slice], scale: int, shape: tuple[int, ...]) -> Box:
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


def panel_boxes(image: np.ndarray) -> tuple[Box, ...]:
    """Return the left and right of two images side by side, uint8 (H, W), or nothing.

    Between them lies a gap in the middle 40 % of the width: two columns or more, each of one grey level. At
    either side most columns are of several.
    """
    height, width = image.shape
    # uint8 is sorted by radix, five times as fast as np.percentile.
    columns = np.sort(np.ascontiguousarray(image[:: max(1, height // _ROWS)].T), kind="stable")
    low, high = (columns[:, round(share * (columns.shape[1] - 1))] for share in (0.02, 0.98))
    plain = high - low <= _GAP_RANGE
    gaps, _ = ndimage.label(plain)
    for (gap,) in ndimage.find_objects(gaps):
        start, stop = gap.start, gap.stop
        central = _GAP_PLACE[0] <= (start + stop) / (2 * width) <= _GAP_PLACE[1]
        filled = [side.size > 2 * side.sum() for side in (plain[:start], plain[stop:])]
        if stop - start >= 2 and central and all(filled):
            return (0, 0, start, height), (stop, 0, width, height)
    return ()


def scan_box(image: np.ndarray) -> Box:
    """Return where in an image, uint8 (H, W), the scan lies, without dark margins and the text in them.

    It is the largest region where most pixels are brighter than black; all of the image where there is none.
    """
    scale = reduction(image.shape)
    small = np.asarray(Image.fromarray(image).reduce(scale))
    bright = ndimage.uniform_filter((small > _BLACK).astype(np.float32), max(3, min(small.shape) // 30)) > 0.5
    regions, count = ndimage.label(bright)
    if not count:
        return (0, 0, image.shape[1], image.shape[0])
    place = ndimage.find_objects(regions)[np.bincount(regions.ravel())[1:].argmax()]
    return _enlarged(place, scale, image.shape)


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
    echoes = _grey_levels(contrast, [0.9])[0]

    def letters_from(least: int, to_echo: int) -> np.ndarray:
        return _letters(contrast >= max(least, to_echo * echoes))

    clear = letters_from(*_CLEAR)
    if len(clear) < _FEWEST_STROKES:
        return
    # The fainter letters of a line are taken along with those that make it one.
    letters = np.concatenate([clear, letters_from(*_FAINT)])
    rows = np.zeros(image.shape, dtype=bool)
    for left, top, right, bottom in letters.tolist():
        reach = bottom - top
        rows[top:bottom, max(0, left - reach) : right + reach] = True
    labels, _ = ndimage.label(rows)
    numbers = labels[letters[:, 1], letters[:, 0]]
    for number in np.flatnonzero(np.bincount(numbers[: len(clear)]) >= _FEWEST_STROKES):
        row = letters[numbers == number]
        height = np.median(row[:, 3] - row[:, 1])
        (left, top), (right, bottom) = row[:, :2].min(axis=0), row[:, 2:].max(axis=0)
        if right - left >= 1.5 * height:
            # Round letters, points and commas reach beyond their upright strokes.
            rim = round(0.5 * height)
            yield max(0, left - 3 * rim), max(0, top - rim), right + 3 * rim, bottom + rim


def _letters(strokes: np.ndarray) -> np.ndarray:
    """Return the boxes, int (N, 4), of those regions of bool (H, W) that have the size of a letter."""
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
    return np.stack([left, top, right, bottom], axis=1)[high & (right - left <= 3 * (bottom - top))]


def _grey_levels(image: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Return the level that each share of the pixels of uint8 (H, W) does not exceed, by a histogram."""
    return np.searchsorted(np.cumsum(Image.fromarray(image).histogram()), np.multiply(shares, image.size))


def _resized(image: np.ndarray, factor: float) -> np.ndarray:
    height, width = (max(1, round(side * factor)) for side in image.shape)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))
