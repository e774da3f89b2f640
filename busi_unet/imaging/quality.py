"""What may make an image hard to trust: small, flat, with annotations burnt in, or two images in one."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

from busi_unet.imaging.burnt_in import Box, enlarged, grey_levels, has_annotations, reduction
from busi_unet.io.decode import DecodedImage

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
    low, high = grey_levels(pixels, [0.01, 0.99])
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
    return enlarged(place, scale, image.shape)
