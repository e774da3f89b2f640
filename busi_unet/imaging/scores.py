"""One predicted mask against its reference: Dice, IoU, Hausdorff distance, at native resolution."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from busi_unet.errors import UsageError


@dataclass(frozen=True)
class SegmentationScores:
    """What one predicted mask scores against its reference; None where a score is undefined.

    | target   | prediction | dice, iou | recall  | precision | hd95_px            |
    |----------|------------|-----------|---------|-----------|--------------------|
    | lesion   | a mask     | counted   | counted | counted   | counted            |
    | lesion   | empty      | 0         | 0       | None      | the image diagonal |
    | empty    | a mask     | None      | None    | 0         | None               |
    | empty    | empty      | None      | None    | None      | None               |

    The diagonal sqrt(H² + W²) is longer than any distance inside the image, so missing a lesion can
    never improve the mean HD95. An image without a lesion has no Dice: see `false_mask`.
    """

    dice: float | None
    iou: float | None
    hd95_px: float | None
    precision: float | None
    recall: float | None
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int

    @property
    def target_area_px(self) -> int:
        return self.true_positives + self.false_negatives

    @property
    def predicted_area_px(self) -> int:
        return self.true_positives + self.false_positives

    @property
    def false_mask(self) -> bool:
        """Whether a mask was drawn on an image that has no lesion."""
        return self.target_area_px == 0 and self.predicted_area_px > 0


def dice(prediction: np.ndarray, target: np.ndarray) -> float | None:
    """Return the Dice of two bool (H, W) masks of one size; None for an empty target."""
    foreground = int(np.count_nonzero(target))
    overlap = int(np.count_nonzero(prediction & target))
    return _ratio(2 * overlap, int(np.count_nonzero(prediction)) + foreground) if foreground else None


def segmentation_scores(prediction: np.ndarray, target: np.ndarray) -> SegmentationScores:
    """Score one predicted mask; empty masks are treated as in `SegmentationScores`.

    Args:
        prediction: bool (H, W).
        target: bool (H, W), the reference.

    Raises:
        UsageError: the masks differ in size, are not (H, W), are not boolean or have no pixels.
    """
    _check_masks(prediction, target)
    true_positives = int(np.count_nonzero(prediction & target))
    false_positives = int(np.count_nonzero(prediction)) - true_positives
    false_negatives = int(np.count_nonzero(target)) - true_positives
    errors = false_positives + false_negatives
    has_lesion = true_positives + false_negatives > 0

    distance = hd95(prediction, target)
    if distance is None and has_lesion:
        distance = float(np.hypot(*target.shape))
    return SegmentationScores(
        dice=dice(prediction, target),
        iou=_ratio(true_positives, true_positives + errors) if has_lesion else None,
        hd95_px=distance,
        precision=_ratio(true_positives, true_positives + false_positives),
        recall=_ratio(true_positives, true_positives + false_negatives),
        true_positives=true_positives,
        false_positives=false_positives,
        false_negatives=false_negatives,
        true_negatives=target.size - true_positives - errors,
    )


def hd95(
    prediction: np.ndarray, target: np.ndarray, *, spacing: tuple[float, float] = (1.0, 1.0)
) -> float | None:
    """Return the 95th percentile Hausdorff distance, in pixels by default; None if a mask is empty.

    The larger of the two directed 95th percentiles (linear interpolation) of the Euclidean distance
    from each surface pixel of one mask to the nearest surface pixel of the other: the robust
    Hausdorff distance of Huttenlocher et al. (IEEE TPAMI 15(9), 1993) as recommended in Metrics
    Reloaded (Maier-Hein et al., Nature Methods 21, 2024) and computed by MONAI. MedPy differs:
    it pools both directions before it takes the percentile, which gives lower values. A surface pixel
    is one with a 4-neighbour outside the mask; beyond the image border counts as outside.

    Args:
        prediction: bool (H, W).
        target: bool (H, W).
        spacing: (between rows, between columns); the distance comes in the same unit.

    Raises:
        UsageError: as for `segmentation_scores`.
    """
    _check_masks(prediction, target)
    if not prediction.any() or not target.any():
        return None
    # Both surfaces lie in the box around the union, so distances within the box are exact.
    (box,) = ndimage.find_objects((prediction | target).astype(np.uint8))
    first, second = _surface(prediction[box]), _surface(target[box])
    to_second = ndimage.distance_transform_edt(~second, sampling=spacing)[first]
    to_first = ndimage.distance_transform_edt(~first, sampling=spacing)[second]
    return float(max(np.percentile(to_second, 95), np.percentile(to_first, 95)))


def _surface(mask: np.ndarray) -> np.ndarray:
    return mask & ~ndimage.binary_erosion(mask)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _check_masks(prediction: np.ndarray, target: np.ndarray) -> None:
    for name, mask in (("predicted", prediction), ("reference", target)):
        if mask.dtype != bool or mask.ndim != 2 or mask.size == 0:
            raise UsageError(
                f"The {name} mask is {mask.dtype} of shape {mask.shape}.",
                "Use a boolean mask of shape (H, W).",
            )
    if prediction.shape != target.shape:
        raise UsageError(
            f"The predicted mask is {prediction.shape}, the reference {target.shape} (height, width).",
            "Score at the native size of the image: bring the prediction to the reference's size first.",
        )
