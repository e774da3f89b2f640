"""What is chosen on the validation images once the weights are trained: calibration and thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from datasets import Dataset, DatasetDict
from tqdm import tqdm

from busi_unet.config import BundleConfig, Calibration, EdgeBand, PredictionSets, Thresholds
from busi_unet.errors import UsageError
from busi_unet.evaluation.leakage import split_for
from busi_unet.evaluation.metrics import MISSED_DICE, dice
from busi_unet.inference.calibration import calibrated_probabilities, fit_temperature
from busi_unet.inference.conformal import edge_distances, fit_class_cut, fit_edge_band
from busi_unet.inference.postprocess import mask_from_probability
from busi_unet.inference.predictor import Predictor, RawOutput
from busi_unet.io.decode import decode_image, decode_mask
from busi_unet.models.ood import Guard, fit_guard
from busi_unet.models.pretrained import load_config, save_bundle

COVERAGE = 0.9

_MASK_GRID = np.arange(0.2, 0.81, 0.05)
_AREA_GRID = (0.0, 0.001, 0.002, 0.003, 0.005)
# What some hundred pictures cannot tell from chance: a small change of every Dice, one picture in a hundred.
_DICE_TOLERANCE, _SCORE_TOLERANCE = 0.001, 0.01
_PRESENCE_GRID = np.arange(0.05, 0.96, 0.05)


def tune(
    predictor: Predictor,
    frames: Sequence[np.ndarray],
    targets: Sequence[np.ndarray],
    labels: Sequence[int],
    groups: Sequence[str],
    *,
    progress: bool = True,
) -> tuple[Calibration, Thresholds]:
    """Fits the temperature, then the thresholds one after the other, at native resolution.

    The mask threshold maximises the mean Dice of the lesion images. The smallest area is the largest that
    costs them at most 0.001 and leaves none of them without a mask: specks hardly move the Dice, but each one
    is shown as a lesion, while a small lesion that is dropped is missed. The presence threshold maximises the
    mean score over all images, where a lesion image scores its Dice and an image without a lesion 1 if its
    mask is empty and 0 if it is not. Mask and presence threshold are the nearest to a half of those that are
    as good but for chance: the very best on one fold is not on another. The malignant threshold keeps its
    default. The prediction sets are fitted on all images, the edge band on the lesions that are found (Dice
    of `MISSED_DICE` or more). Temperature and mask thresholds serve figures that are means over images, and
    count each image; sets and band are statements about new cases, for which copies share one vote.

    Args:
        predictor: the trained network; its own temperature and thresholds are not used.
        frames: uint8 (H, W) each, none of them trained on.
        targets: bool (H, W) each.
        labels: indices into `CLASS_NAMES`.
        groups: names; images of one group are copies.
        progress: shows a bar on stderr.

    Returns:
        The blocks for `config.json`. Where the images do not tell (no lesion at all, or none
        without), the defaults stay.
    """
    raw: list[RawOutput] = []
    for frame in tqdm(frames, desc="calibrate", unit="image", disable=not progress):
        raw += predictor.run([frame])
    logits = np.stack([output.class_logits for output in raw])
    temperature = fit_temperature(logits, np.asarray(labels))
    probabilities = calibrated_probabilities(logits, temperature)
    presence = 1 - probabilities[:, 0]

    maps = [predictor.restore(output, frame.shape) for output, frame in zip(raw, frames, strict=True)]
    has_lesion = np.array([target.any() for target in targets])
    thresholds = Thresholds()
    if has_lesion.any():
        lesions = np.flatnonzero(has_lesion)

        def outcome(candidate: Thresholds) -> tuple[float, int]:
            """Mean Dice, and how many lesion images get no mask at all."""
            masks = [mask_from_probability(maps[i], 1.0, candidate) for i in lesions]
            scores = [dice(mask, targets[i]) for mask, i in zip(masks, lesions, strict=True)]
            return float(np.mean(scores)), sum(not mask.any() for mask in masks)

        scores = [outcome(replace(thresholds, mask=float(value)))[0] for value in _MASK_GRID]
        thresholds = replace(thresholds, mask=nearest_half(_MASK_GRID, scores, _DICE_TOLERANCE))
        by_area = {value: outcome(replace(thresholds, min_area=value)) for value in _AREA_GRID}
        fewest = min(empty for _, empty in by_area.values())
        kept = {value: score for value, (score, empty) in by_area.items() if empty == fewest}
        good = [value for value, score in kept.items() if score >= max(kept.values()) - _DICE_TOLERANCE]
        thresholds = replace(thresholds, min_area=max(good))
    if has_lesion.any() and not has_lesion.all():
        masks = [mask_from_probability(map_, 1.0, thresholds) for map_ in maps]
        shown = np.array(
            [
                dice(mask, target) if target.any() else float(not mask.any())
                for mask, target in zip(masks, targets, strict=True)
            ]
        )
        scores = [np.where(presence >= value, shown, ~has_lesion).mean() for value in _PRESENCE_GRID]
        thresholds = replace(thresholds, presence=nearest_half(_PRESENCE_GRID, scores, _SCORE_TOLERANCE))
    thresholds = _rounded(thresholds)
    cut = fit_class_cut(probabilities, np.asarray(labels), groups, COVERAGE)
    masks = [
        mask_from_probability(map_, share, thresholds) for map_, share in zip(maps, presence, strict=True)
    ]
    found = [i for i in np.flatnonzero(has_lesion) if dice(masks[i], targets[i]) >= MISSED_DICE]
    band = fit_edge_band(
        [edge_distances(masks[i], targets[i]) for i in found], [groups[i] for i in found], COVERAGE
    )
    calibration = Calibration(
        temperature,
        prediction_sets=PredictionSets(COVERAGE, cut),
        edge_band=band and EdgeBand(COVERAGE, *band),
    )
    return calibration, thresholds


def tune_on(predictor: Predictor, split: Dataset, *, progress: bool = True) -> tuple[Calibration, Thresholds]:
    """`tune` on a split of the prepared data set."""
    return tune(
        predictor,
        [decode_image(image) for image in split["image"]],
        [decode_mask(mask) for mask in split["mask"]],
        split["label"],
        split["group"],
        progress=progress,
    )


def fit_guard_on(
    predictor: Predictor, data: DatasetDict, *, progress: bool = True
) -> tuple[Guard, float] | None:
    """`fit_guard` on all pictures but those for testing; None where they are too few."""
    features, groups = [], []
    for name in ("train", "validation"):
        for row in tqdm(data[name], desc=f"guard, {name}", unit="image", disable=not progress):
            features.append(predictor.run([decode_image(row["image"])])[0].features)
            groups.append(row["group"])
    return fit_guard(np.stack(features), groups)


def recalibrate(folder: Path, data: DatasetDict, *, other: Path | None = None) -> BundleConfig:
    """Fits calibration, thresholds and guard of a model folder again, and replaces them in it.

    Args:
        folder: written by `busi_unet.training.loop.train`.
        data: the prepared data set that it was made on, whatever fold it was prepared for.
        other: a model folder to take calibration and thresholds from; only the guard is fitted then.

    Returns:
        The new config.

    Raises:
        UsageError: the model was made on other data or does not tell on which, was trained on the images to
            calibrate on, or the other model is not calibrated, or another network or made on another split.
        IncompatibleBundleError: a folder holds no model of this package.
    """
    predictor = Predictor.from_pretrained(folder)
    config = predictor.config
    data, own, trained_on = split_for(config, data)
    if own is None:
        raise UsageError(
            f"{folder} does not tell which data it was made on.",
            "Name the folder model/ of a finished run; train.py --resume finishes one.",
        )
    if not own:
        raise UsageError(
            f"{folder} was made on another split or on other data.", "Name the data set that it was made on."
        )
    if other is not None:
        source = load_config(other)
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
        calibration, thresholds = source.calibration, source.thresholds
    elif "validation" in trained_on:
        raise UsageError(
            f"{folder} was trained on its validation images too: nothing unseen is left to fit to.",
            "Take what was fitted to the model it came from: --from OTHER.",
        )
    else:
        calibration, thresholds = tune_on(predictor, data["validation"])
    guard, limit = fit_guard_on(predictor, data) or (None, None)
    calibration = replace(calibration, refuse_beyond=limit)
    config = replace(config, calibration=calibration, thresholds=thresholds)
    save_bundle(folder, predictor.model, config, guard)
    return config


def nearest_half(grid: np.ndarray, scores: Sequence[float], tolerance: float) -> float:
    """The value of the grid nearest to 0.5 whose score is at most the tolerance below the best."""
    good = grid[np.asarray(scores) >= max(scores) - tolerance]
    return float(good[np.argmin(np.abs(good - 0.5))])


def _rounded(thresholds: Thresholds) -> Thresholds:
    return Thresholds(**{name: round(value, 4) for name, value in asdict(thresholds).items()})
