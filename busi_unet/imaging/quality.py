"""What may make an image hard to trust: small, flat, or with annotations burnt in."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from busi_unet.io.decode import DecodedImage

_SMALL_SIDE = 128
_FLAT_RANGE, _LOW_RANGE = 8, 32
_LARGE_SIDE = 800
_STROKE_WIDTH, _STROKE_CONTRAST = 4, 80
_CORNER = (0.10, 0.25)


def image_warnings(image: DecodedImage) -> tuple[str, ...]:
    """Return one sentence for each thing about an image that a reader of the result should know.

    Very small: a side below 128 pixels. Nearly blank or of very low contrast: 98 % of the pixels lie
    within 8 or 32 of 255 grey levels. Annotations: see `has_annotations`. Colour: see
    `DecodedImage.coloured`.
    """
    pixels = image.pixels
    height, width = pixels.shape
    warnings = []
    if min(height, width) < _SMALL_SIDE:
        warnings.append(f"The image is very small ({width} × {height} pixels): outlines will be coarse.")
    low, high = np.percentile(pixels, [1, 99])
    if high - low < _FLAT_RANGE:
        warnings.append("The image is nearly blank: almost all of it is one grey level.")
    elif high - low < _LOW_RANGE:
        warnings.append("The image has very low contrast: a lesion may not stand out.")
    if has_annotations(pixels):
        warnings.append("Text or calipers are burnt into the image: they can mislead the model.")
    if image.coloured:
        warnings.append("The image shows colour, such as Doppler: the model only sees its grey levels.")
    return tuple(warnings)


def has_annotations(image: np.ndarray) -> bool:
    """Return whether text, calipers or other thin bright lines are burnt into an image, uint8 (H, W).

    Looks for upright strokes: a run of 4 pixels or more down a column, each at least 80 grey levels
    brighter than what remains of its row when everything up to 4 pixels wide is taken away (a white
    top-hat). A beam is wider than that across, so echoes leave no such stroke, while letters, crosses
    and dotted lines do. Larger images are first brought to 800 pixels. The upper left corner, 10 % of
    the height and 25 % of the width, is left out: there scanners print their maker's logo.

    On BUSI, against the annotations listed by Pawłowska et al. (Data in Brief 48:109247, 2023):
    sensitivity 0.987 (232 of 235 images), specificity 0.987 (538 of 545; the alarms looked at were
    letters cut by the image's edge, which the list leaves out). The threshold was chosen on the same
    images, all from one make of scanner, so expect less on others; dark or hair-thin annotations, and
    those in that corner, go unseen.
    """
    longest = max(image.shape)
    if longest > _LARGE_SIDE:
        height, width = (max(1, round(side * _LARGE_SIDE / longest)) for side in image.shape)
        image = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BOX))
    corner = tuple(slice(0, round(share * side)) for share, side in zip(_CORNER, image.shape, strict=True))
    padded = np.pad(image, ((0, 0), (_STROKE_WIDTH, _STROKE_WIDTH)), mode="edge")
    opened = ndimage.grey_opening(padded, size=(1, _STROKE_WIDTH + 1))[:, _STROKE_WIDTH:-_STROKE_WIDTH]
    strokes = image - opened >= _STROKE_CONTRAST
    strokes[corner] = False
    return bool((strokes[:-3] & strokes[1:-2] & strokes[2:-1] & strokes[3:]).any())
