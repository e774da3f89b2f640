"""What is fitted once the weights are trained.

Class probabilities, thresholds, prediction sets and boundary band on images that were not trained on; the
out-of-distribution limit on the training images, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from busi_unet.config import CLASS_NAMES, BoundaryBand, Calibration, ModelConfig, PredictionSets, Thresholds
from busi_unet.data.prepared import UNKNOWN
from busi_unet.errors import UsageError
from busi_unet.evaluation.leakage import Split, split_for
from busi_unet.evaluation.metrics import MISSED_DICE, dice
from busi_unet.inference.calibration import calibrated_probabilities, fit_calibration
from busi_unet.inference.conformal import (
    boundary_distances,
    fit_boundary_band,
    fit_set_threshold,
    group_votes,
)
from busi_unet.inference.postprocess import mask_from_probability
from busi_unet.inference.predictor import Predictor
from busi_unet.io.decode import decode_image
from busi_unet.io.masks import decode_mask
from busi_unet.models.ood import OodDetector, fit_ood
from busi_unet.models.pretrained import save_model

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

COVERAGE = 0.9

_MASK_GRID = np.arange(0.2, 0.81, 0.05)
_AREA_GRID = (0.0, 0.001, 0.002, 0.003, 0.005)
# What some hundred images cannot tell from chance.
_DICE_TOLERANCE = 0.001
# Share of the lesions found that may lose their outline for the sake of normal images.
_EMPTIED = 0.01


@dataclass(frozen=True)
class Answers:
    """What a network, or several, say of images that they were not trained on.

    Attributes:
        class_logits: (N, 3).
        peaks: (N,), `map_peak`.
        maps: lesion probability of each image, float32 (H, W).
        masks: bool (H, W) each, the references; None where not known.
        labels: int (N,), indices into `CLASS_NAMES`; `UNKNOWN` where not known.
        groups, sources: (N,), names; images of one group are copies, or of one patient.
    """

    class_logits: np.ndarray
    peaks: np.ndarray
    maps: list[np.ndarray]
    masks: list[np.ndarray | None]
    labels: np.ndarray
    groups: np.ndarray
    sources: np.ndarray


def collect_answers(pairs: Sequence[tuple[Predictor, Dataset]], *, progress: bool = True) -> Answers:
    """Ask each predictor about its images of the prepared data set."""
    rows: dict[str, list] = {item.name: [] for item in fields(Answers)}
    for predictor, images in pairs:
        for row in tqdm(images, "calibrate", unit="image", disable=not progress):
            image = decode_image(row["image"])
            (raw,) = predictor.run([image])
            rows["class_logits"].append(raw.class_logits)
            rows["peaks"].append(predictor.map_peak(raw, image.shape))
            rows["maps"].append(predictor.restore(raw, image.shape))
            rows["masks"].append(None if row["mask"] is None else decode_mask(row["mask"]))
            rows["labels"].append(row["label"])
            rows["groups"].append(row["group"])
            rows["sources"].append(row["source"])
    lists = ("maps", "masks")
    return Answers(**{name: each if name in lists else np.asarray(each) for name, each in rows.items()})


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
        calibration, thresholds = calibrate(
            collect_answers([(predictor, data["validation"])], progress=progress)
        )
    ood, limit = _fit_ood(predictor, data, progress) or (None, None)
    calibration = replace(calibration, ood_threshold=limit)
    return replace(predictor.config, calibration=calibration, thresholds=thresholds), ood


def calibrate(answers: Answers) -> tuple[Calibration, Thresholds]:
    """Fit the class probabilities, then the thresholds at native resolution, then sets and band.

    The malignant threshold keeps its default. The boundary band is fitted on the lesions that are found (Dice
    of `MISSED_DICE` or more). Probabilities and mask thresholds count each image; the lesion threshold, sets
    and band are statements about new cases, for which copies share one vote.

    Returns:
        The blocks for `config.json`. Where the images do not tell (no lesion at all, or none without), the
        defaults stay.
    """
    labelled = answers.labels != UNKNOWN
    classes = fit_calibration(
        *(part[labelled] for part in (answers.class_logits, answers.peaks, answers.labels, answers.sources))
    )
    probabilities = calibrated_probabilities(answers.class_logits, answers.peaks, classes)
    lesion_probability = 1 - probabilities[:, CLASS_NAMES.index("normal")]

    masked = [i for i, mask in enumerate(answers.masks) if mask is not None]
    lesions = [i for i in masked if answers.masks[i].any()]
    thresholds = Thresholds()
    if lesions:
        maps, masks = [answers.maps[i] for i in lesions], [answers.masks[i] for i in lesions]
        thresholds = fit_mask_threshold(maps, masks, thresholds)
        thresholds = fit_min_area(maps, masks, thresholds)
        if len(lesions) < len(masked):
            thresholds = fit_lesion_threshold(
                maps,
                masks,
                lesion_probability[lesions],
                answers.groups[lesions],
                answers.sources[lesions],
                thresholds,
            )
    thresholds = Thresholds(**{name: round(value, 4) for name, value in asdict(thresholds).items()})

    distances, groups = [], []
    for i in lesions:
        mask = mask_from_probability(answers.maps[i], lesion_probability[i], thresholds)
        if dice(mask, answers.masks[i]) >= MISSED_DICE:
            distances.append(boundary_distances(mask, answers.masks[i]))
            groups.append(answers.groups[i])
    band = fit_boundary_band(distances, groups, COVERAGE)
    calibration = Calibration(
        classes,
        prediction_sets=fit_prediction_sets(probabilities, answers),
        boundary_band=band and BoundaryBand(COVERAGE, *band),
    )
    return calibration, thresholds


def fit_prediction_sets(probabilities: np.ndarray, answers: Answers) -> PredictionSets | None:
    """Return sets with the stated coverage in each source; None without any class.

    Each source asks for a threshold of its own, and the lowest is taken.
    """
    thresholds = []
    for source in sorted(set(answers.sources)):
        own = (answers.sources == source) & (answers.labels != UNKNOWN)
        if own.any():
            thresholds.append(
                fit_set_threshold(probabilities[own], answers.labels[own], answers.groups[own], COVERAGE)
            )
    return PredictionSets(COVERAGE, min(thresholds)) if thresholds else None


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


def fit_lesion_threshold(
    maps: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    lesion_probability: np.ndarray,
    groups: np.ndarray,
    sources: np.ndarray,
    thresholds: Thresholds,
) -> Thresholds:
    """Return the thresholds with the lesion probability below which the mask is left empty.

    Of the lesions that are found, at most `_EMPTIED` fall short of it in each source, each group with one
    vote: a cancer missed costs more than a needless outline.
    """
    predicted = [mask_from_probability(map_, 1.0, thresholds) for map_ in maps]
    found = np.array([dice(own, mask) >= MISSED_DICE for own, mask in zip(predicted, masks, strict=True)])
    fitted = []
    for source in sorted(set(sources[found])):
        own = found & (sources == source)
        order = np.argsort(lesion_probability[own])
        votes = np.cumsum(group_votes(groups[own])[order])
        emptied = int(np.searchsorted(votes, _EMPTIED * votes[-1], side="right"))
        fitted.append(float(lesion_probability[own][order][emptied]))
    return replace(thresholds, lesion=min(fitted)) if fitted else thresholds


def nearest_half(grid: np.ndarray, scores: Sequence[float], tolerance: float) -> float:
    """Return the value of the grid nearest to 0.5 whose score is at most the tolerance below the best."""
    good = grid[np.asarray(scores) >= max(scores) - tolerance]
    return float(good[np.argmin(np.abs(good - 0.5))])


def recalibrate(folder: Path, data: DatasetDict, *, left_out: Sequence[Path] = ()) -> ModelConfig:
    """Fit all that is fitted after training again, and replace it in a model folder.

    Args:
        folder: written by `busi_unet.training.loop.train`.
        data: the prepared data set that it was made on, whatever fold it was prepared for.
        left_out: model folders of sibling networks, trained by the same recipe on other parts of the data:
            what they say of the images that each has not seen is what is fitted to. None: the model's own
            validation images.

    Returns:
        The new config.

    Raises:
        UsageError: a model was made on other data or does not tell on which, was trained on the images to
            calibrate on, or a sibling has another network or preprocessing.
        IncompatibleModelError: a folder holds no model of this package.
    """
    predictor = Predictor.from_pretrained(folder)
    split = _own_split(folder, predictor.config, data)
    kept = None
    if left_out:
        # The model's own test images stay out of everything that is fitted for it.
        kept_back = list(split.data["test"]["image_id"])
        pairs = []
        for other in left_out:
            sibling = Predictor.from_pretrained(other)
            for name in ("architecture", "preprocess"):
                if getattr(sibling.config, name) != getattr(predictor.config, name):
                    raise UsageError(f"{other} has another {name} than {folder}.", "Name its siblings.")
            unseen = _own_split(other, sibling.config, data).data["test"]
            usable = np.flatnonzero(~np.isin(unseen["image_id"], kept_back))
            if not len(usable):
                raise UsageError(
                    f"{other} has seen all images but the test images of {folder}.",
                    "Name siblings that were trained without other images.",
                )
            pairs.append((sibling, unseen.select(usable)))
        calibration, thresholds = calibrate(collect_answers(pairs))
        kept = replace(predictor.config, calibration=calibration, thresholds=thresholds)
    elif "validation" in split.trained_on:
        raise UsageError(
            f"{folder} was trained on its validation images too: nothing unseen is left to fit to.",
            "Name siblings that have not seen some of the images: --left-out RUN/model …",
        )
    config, ood = calibrate_model(predictor, split.data, kept=kept)
    save_model(folder, predictor.runtime.model, config, ood)
    return config


def _own_split(folder: Path, config: ModelConfig, data: DatasetDict) -> Split:
    split = split_for(config, data)
    if split.own is None:
        raise UsageError(
            f"{folder} does not tell which data it was made on.",
            "Name the folder model/ of a finished run; train with --resume finishes one.",
        )
    if not split.own:
        raise UsageError(
            f"{folder} was made on another split or on other data.", "Name the data set that it was made on."
        )
    return split


def _fit_ood(predictor: Predictor, data: DatasetDict, progress: bool) -> tuple[OodDetector, float] | None:
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
