"""A lesion probability map to a mask."""

from __future__ import annotations

import numpy as np

from busi_unet.config import Thresholds
from busi_unet.imaging.regions import bounding_box, fill_holes, label_regions


def mask_from_probability(
    probability: np.ndarray, lesion_probability: float, thresholds: Thresholds
) -> np.ndarray:
    """Return the mask, bool (H, W), of a lesion probability map.

    It is empty where `lesion_probability` is below its threshold: a segmentation network alone draws
    something on most normal images. Connected regions (8-neighbourhood) smaller than `min_area` are
    dropped, and holes are filled.

    Args:
        probability: float (H, W) in [0, 1], at the size of the image.
        lesion_probability: calibrated probability that the image shows any lesion.
        thresholds: from the model's `config.json`.
    """
    mask = np.zeros(probability.shape, dtype=bool)
    if lesion_probability < thresholds.lesion:
        return mask
    found = probability >= thresholds.mask
    # Beyond it there is nothing to fill or to drop, and an image may have 50 million pixels.
    box = bounding_box(found)
    regions, count = label_regions(fill_holes(found[box]))
    areas = np.bincount(regions.ravel(), minlength=count + 1)
    kept = areas >= max(1.0, thresholds.min_area * mask.size)
    kept[0] = False
    mask[box] = kept[regions]
    return mask
