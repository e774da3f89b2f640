"""What is chosen on the validation images once the weights are trained: temperature and thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np
from tqdm import tqdm

from busi_unet.config import Calibration, Thresholds
from busi_unet.imaging.postprocess import mask_from_probability
from busi_unet.learning.metrics import dice
from busi_unet.predictor import Predictor, RawOutput
from busi_unet.trust.calibration import calibrated_probabilities, fit_temperature

_MASK_GRID = np.arange(0.2, 0.81, 0.05)
_AREA_GRID = (0.0, 0.001, 0.002, 0.003, 0.005)
_AREA_TOLERANCE = 0.001
_PRESENCE_GRID = np.arange(0.05, 0.96, 0.05)


def tune(
    predictor: Predictor,
    frames: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    labels: Sequence[int],
    *,
    progress: bool = True,
) -> tuple[Calibration, Thresholds]:
    """Fits the temperature, then the thresholds one after the other, at native resolution.

    The mask threshold maximises the mean Dice of the lesion images. The smallest area is the largest
    that costs them at most 0.001: specks hardly move the Dice, but each one is shown as a lesion. The
    presence threshold maximises the mean score over all images, where a lesion image scores its
    Dice and an image without a lesion 1 if its mask is empty and 0 if it is not.

    Args:
        predictor: the trained network; its own temperature and thresholds are not used.
        frames: uint8 (H, W) each, none of them trained on.
        targets: bool (H, W) each.
        labels: indices into `CLASS_NAMES`.
        progress: shows a bar on stderr.

    Returns:
        The blocks for `config.json`. Where the images do not tell (no lesion at all, or none
        without), the defaults stay.
    """
    raw: list[RawOutput] = []
    for frame in tqdm(frames, desc="calibrate", unit="image", disable=not progress):
        raw += predictor.run([frame])
    logits = np.stack([output.class_logits for output in raw])
    calibration = Calibration(fit_temperature(logits, np.asarray(labels)))
    presence = 1 - calibrated_probabilities(logits, calibration.temperature)[:, 0]

    maps = [predictor.restore(output, frame.shape) for output, frame in zip(raw, frames, strict=True)]
    has_lesion = np.array([target.any() for target in targets])
    thresholds = Thresholds()
    if has_lesion.any():
        lesions = np.flatnonzero(has_lesion)

        def mean_dice(candidate: Thresholds) -> float:
            masks = (mask_from_probability(maps[i], 1.0, candidate) for i in lesions)
            return float(np.mean([dice(mask, targets[i]) for mask, i in zip(masks, lesions, strict=True)]))

        thresholds = max((replace(thresholds, mask=float(value)) for value in _MASK_GRID), key=mean_dice)
        by_area = [replace(thresholds, min_area=value) for value in _AREA_GRID]
        scores = [mean_dice(candidate) for candidate in by_area]
        good = [c for c, score in zip(by_area, scores, strict=True) if score >= max(scores) - _AREA_TOLERANCE]
        thresholds = good[-1]
    if has_lesion.any() and not has_lesion.all():
        masks = [mask_from_probability(map_, 1.0, thresholds) for map_ in maps]
        shown = np.array(
            [
                dice(mask, target) if target.any() else float(not mask.any())
                for mask, target in zip(masks, targets, strict=True)
            ]
        )
        scores = [np.where(presence >= value, shown, ~has_lesion).mean() for value in _PRESENCE_GRID]
        thresholds = replace(thresholds, presence=float(_PRESENCE_GRID[int(np.argmax(scores))]))
    return calibration, _rounded(thresholds)


def _rounded(thresholds: Thresholds) -> Thresholds:
    return Thresholds(**{name: round(value, 4) for name, value in asdict(thresholds).items()})
