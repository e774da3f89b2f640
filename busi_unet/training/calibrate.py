"""What is fitted once the weights are trained.

Temperature, thresholds, prediction sets and boundary band on the validation images; the out-of-distribution
limit on the training images, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from busi_unet.config import BoundaryBand, Calibration, ModelConfig, PredictionSets, Thresholds
from busi_unet.errors import UsageError
from busi_unet.evaluation.leakage import split_for
from busi_unet.evaluation.metrics import MISSED_DICE, dice
from busi_unet.inference.calibration import calibrated_probabilities, fit_temperature
from busi_unet.inference.conformal import boundary_distances, fit_boundary_band, fit_set_threshold
from busi_unet.inference.postprocess import mask_from_probability
from busi_unet.inference.predictor import Predictor
from busi_unet.io.decode import decode_image
from busi_unet.io.masks import decode_mask
from busi_unet.models.ood import OodDetector, fit_ood
from busi_unet.models.pretrained import load_config, save_model

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

COVERAGE = 0.9

_MASK_GRID = np.arange(0.2, 0.81, 0.05)
_AREA_GRID = (0.0, 0.001, 0.002, 0.003, 0.005)
_LESION_GRID = np.arange(0.05, 0.96, 0.05)
# What some hundred images cannot tell from chance: a small change of every Dice, one image in a hundred.
_DICE_TOLERANCE, _SCORE_TOLERANCE = 0.001, 0.01


def calibrate_model(
    predictor: Predictor, data: DatasetDict, *, kept: ModelConfig | None = None, progress: bool = True
) -> tuple[ModelConfig, OodDetector | None]:
    """Fit all that is fitted after training.

    Args:
        predictor: the trained network.
        data: prepared, split as for the training.
        kept: config to take calibration and thresholds from, for a network that was trained on the validation
            images; only the out-of-distribution limit is fitted then.
        progress: shows bars on stderr.

    Returns:
        The predictor's config with calibration and thresholds, and what detects images out of distribution;
        None where the images are too few to fit it.
    """
    if kept is not None:
        calibration, thresholds = kept.calibration, kept.thresholds
    else:
        calibration, thresholds = calibrate_on(predictor, data["validation"], progress=progress)
    ood, limit = _fit_guard(predictor, data, progress) or (None, None)
    calibration = replace(calibration, ood_threshold=limit)
    return replace(predictor.config, calibration=calibration, thresholds=thresholds), ood


def calibrate_on(
    predictor: Predictor, split: Dataset, *, progress: bool = True
) -> tuple[Calibration, Thresholds]:
    """Return `calibrate` on a split of the prepared data set."""
    return calibrate(
        predictor,
        [decode_image(image) for image in split["image"]],
        [decode_mask(mask) for mask in split["mask"]],
        split["label"],
        split["group"],
        progress=progress,
    )


def calibrate(
    predictor: Predictor,
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    labels: Sequence[int],
    groups: Sequence[str],
    *,
    progress: bool = True,
) -> tuple[Calibration, Thresholds]:
    """Fit the temperature, then the thresholds one after the other, at native resolution, then sets and band.

    The malignant threshold keeps its default. The prediction sets are fitted on all images, the boundary band
    on the lesions that are found (Dice of `MISSED_DICE` or more). Temperature and thresholds serve metrics
    that are means over images, and count each image; sets and band are statements about new cases, for which
    copies share one vote.

    Args:
        predictor: the trained network; its own temperature and thresholds are not used.
        images: uint8 (H, W) each, none of them trained on.
        masks: bool (H, W) each, the references.
        labels: indices into `CLASS_NAMES`.
        groups: names; images of one group are copies.
        progress: shows a bar on stderr.

    Returns:
        The blocks for `config.json`. Where the images do not tell (no lesion at all, or none without), the
        defaults stay.
    """
    outputs = [
        predictor.run([image])[0] for image in tqdm(images, "calibrate", unit="image", disable=not progress)
    ]
    logits = np.stack([output.class_logits for output in outputs])
    temperature = fit_temperature(logits, np.asarray(labels))
    probabilities = calibrated_probabilities(logits, temperature)
    lesion_probability = 1 - probabilities[:, 0]
    maps = [predictor.restore(output, image.shape) for output, image in zip(outputs, images, strict=True)]

    lesions = [i for i, mask in enumerate(masks) if mask.any()]
    thresholds = Thresholds()
    if lesions:
        of_lesions = [maps[i] for i in lesions], [masks[i] for i in lesions]
        thresholds = fit_mask_threshold(*of_lesions, thresholds)
        thresholds = fit_min_area(*of_lesions, thresholds)
        if len(lesions) < len(masks):
            thresholds = fit_presence_threshold(maps, masks, lesion_probability, thresholds)
    thresholds = Thresholds(**{name: round(value, 4) for name, value in asdict(thresholds).items()})

    predicted = [mask_from_probability(maps[i], lesion_probability[i], thresholds) for i in lesions]
    found = [
        (i, mask) for i, mask in zip(lesions, predicted, strict=True) if dice(mask, masks[i]) >= MISSED_DICE
    ]
    band = fit_boundary_band(
        [boundary_distances(mask, masks[i]) for i, mask in found], [groups[i] for i, _ in found], COVERAGE
    )
    threshold = fit_set_threshold(probabilities, np.asarray(labels), groups, COVERAGE)
    calibration = Calibration(
        temperature,
        prediction_sets=PredictionSets(COVERAGE, threshold),
        boundary_band=band and BoundaryBand(COVERAGE, *band),
    )
    return calibration, thresholds


def fit_mask_threshold(
    maps: Sequence[np.ndarray], masks: Sequence[np.ndarray], thresholds: Thresholds
) -> Thresholds:
    """Return the thresholds with the mask threshold that maximises the mean Dice of the lesion images.

    It is the nearest to a half of those that are as good but for chance: the very best on one fold is not on
    another.
    """
    scores = [_lesion_dice(maps, masks, replace(thresholds, mask=float(value)))[0] for value in _MASK_GRID]
    return replace(thresholds, mask=nearest_half(_MASK_GRID, scores, _DICE_TOLERANCE))


def fit_min_area(
    maps: Sequence[np.ndarray], masks: Sequence[np.ndarray], thresholds: Thresholds
) -> Thresholds:
    """Return the thresholds with the largest smallest area that leaves no more lesion images without a mask.

    It costs their mean Dice at most 0.001: specks hardly move the Dice, but each one is shown as a lesion,
    while a small lesion that is dropped is missed.
    """
    by_area = {value: _lesion_dice(maps, masks, replace(thresholds, min_area=value)) for value in _AREA_GRID}
    fewest = min(empty for _, empty in by_area.values())
    scores = {value: score for value, (score, empty) in by_area.items() if empty == fewest}
    good = [value for value, score in scores.items() if score >= max(scores.values()) - _DICE_TOLERANCE]
    return replace(thresholds, min_area=max(good))


def fit_presence_threshold(
    maps: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    lesion_probability: np.ndarray,
    thresholds: Thresholds,
) -> Thresholds:
    """Return the thresholds with the lesion probability below which the mask is best left empty.

    A lesion image scores its Dice, an image without a lesion 1 if its mask is empty and 0 if it is not. Of
    the values that are as good but for chance the nearest to a half is taken.
    """
    predicted = [mask_from_probability(map_, 1.0, thresholds) for map_ in maps]
    has_lesion = np.array([mask.any() for mask in masks])
    shown = np.array(
        [
            dice(own, mask) if mask.any() else float(not own.any())
            for own, mask in zip(predicted, masks, strict=True)
        ]
    )
    scores = [np.where(lesion_probability >= value, shown, ~has_lesion).mean() for value in _LESION_GRID]
    return replace(thresholds, lesion=nearest_half(_LESION_GRID, scores, _SCORE_TOLERANCE))


def nearest_half(grid: np.ndarray, scores: Sequence[float], tolerance: float) -> float:
    """Return the value of the grid nearest to 0.5 whose score is at most the tolerance below the best."""
    good = grid[np.asarray(scores) >= max(scores) - tolerance]
    return float(good[np.argmin(np.abs(good - 0.5))])


def recalibrate(folder: Path, data: DatasetDict, *, other: Path | None = None) -> ModelConfig:
    """Fit all that is fitted after training again, and replace it in a model folder.

    Args:
        folder: written by `busi_unet.training.loop.train`.
        data: the prepared data set that it was made on, whatever fold it was prepared for.
        other: a model folder to take calibration and thresholds from; only the out-of-distribution limit is
            fitted then.

    Returns:
        The new config.

    Raises:
        UsageError: the model was made on other data or does not tell on which, was trained on the images to
            calibrate on, or the other model is not calibrated, or another network or made on another split.
        IncompatibleModelError: a folder holds no model of this package.
    """
    predictor = Predictor.from_pretrained(folder)
    data, own, trained_on = split_for(predictor.config, data)
    if own is None:
        raise UsageError(
            f"{folder} does not tell which data it was made on.",
            "Name the folder model/ of a finished run; train with --resume finishes one.",
        )
    if not own:
        raise UsageError(
            f"{folder} was made on another split or on other data.", "Name the data set that it was made on."
        )
    kept = None
    if other is not None:
        kept = load_config(other)
        _require_same_origin(folder, predictor.config, other, kept)
    elif "validation" in trained_on:
        raise UsageError(
            f"{folder} was trained on its validation images too: nothing unseen is left to fit to.",
            "Take what was fitted to the model it came from: --from OTHER.",
        )
    config, ood = calibrate_model(predictor, data, kept=kept)
    save_model(folder, predictor.model, config, ood)
    return config


def _require_same_origin(folder: Path, config: ModelConfig, other: Path, source: ModelConfig) -> None:
    if not source.calibration.fitted:
        raise UsageError(f"{other} is not calibrated itself.", "Name a model that is.")
    for name, values in {
        "network": (config.architecture, source.architecture),
        "preprocessing": (config.preprocess, source.preprocess),
        "split": tuple(each.training.get("data", {}).get("split_sha256") for each in (config, source)),
    }.items():
        if values[0] != values[1]:
            raise UsageError(
                f"{other} has another {name} than {folder}.", "Name the model that it came from."
            )


def _fit_guard(predictor: Predictor, data: DatasetDict, progress: bool) -> tuple[OodDetector, float] | None:
    """Return `fit_ood` on all images but those for testing; None where they are too few."""
    features, groups = [], []
    for name in ("train", "validation"):
        for row in tqdm(data[name], f"out of distribution, {name}", unit="image", disable=not progress):
            features.append(predictor.run([decode_image(row["image"])])[0].features)
            groups.append(row["group"])
    return fit_ood(np.stack(features), groups)


def _lesion_dice(
    maps: Sequence[np.ndarray], masks: Sequence[np.ndarray], thresholds: Thresholds
) -> tuple[float, int]:
    """Return the mean Dice of lesion images, and how many of them get no mask at all."""
    predicted = [mask_from_probability(map_, 1.0, thresholds) for map_ in maps]
    scores = [dice(own, mask) for own, mask in zip(predicted, masks, strict=True)]
    return float(np.mean(scores)), sum(not own.any() for own in predicted)
