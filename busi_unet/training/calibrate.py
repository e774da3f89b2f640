"""What is fitted once the weights are trained, on images that they were not trained on.

Only the out-of-distribution threshold is fitted on the training images, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tqdm import tqdm

from busi_unet.config import (
    CLASS_NAMES,
    BoundaryBand,
    Calibration,
    ClassCalibration,
    ModelConfig,
    PredictionSets,
    Thresholds,
)
from busi_unet.data.prepared import UNKNOWN, decode_row
from busi_unet.errors import UsageError
from busi_unet.evaluation.leakage import require_unseen, split_for, trained_on
from busi_unet.evaluation.metrics import MISSED_DICE, dice
from busi_unet.evaluation.rows import by_source
from busi_unet.evaluation.statistics import LEVEL, Bootstrap
from busi_unet.inference.calibration import (
    boundary_distances,
    calibrated_probabilities,
    fit_boundary_band,
    fit_calibration,
    fit_set_threshold,
    group_votes,
    prediction_set,
)
from busi_unet.inference.predictor import Predictor
from busi_unet.inference.preprocess import mask_from_probability
from busi_unet.io.decode import ImageSource, decode_image
from busi_unet.models.ood import OodDetector, fit_ood

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

COVERAGE = 0.9
# Images of a kind that a threshold of one's own needs.
FEWEST = 5

_MASK_GRID = np.arange(0.2, 0.81, 0.05)
_AREA_GRID = (Thresholds.min_area, 0.001, 0.002, 0.003, 0.005)
_DICE_TOLERANCE = 0.001  # what some hundred images cannot tell from chance
_EMPTIED = 0.01  # share of the lesions found that may lose their outline for the sake of normal images
_RESAMPLES = 1000


class HeldOut(NamedTuple):
    """What a network says of an image that it was not trained on, and what is known of the image."""

    class_logits: np.ndarray  # (3,)
    peak: float  # `map_peak`
    map: np.ndarray  # lesion probability, float32 (H, W)
    mask: np.ndarray | None  # bool (H, W), the reference; None where not known
    label: int  # index into `CLASS_NAMES`; `UNKNOWN` where not known
    group: str  # images of one group are copies, or of one patient
    source: str


def collect_held_out(pairs: Sequence[tuple[Predictor, Dataset]]) -> list[HeldOut]:
    """Ask each predictor about its images of the prepared data set, with a bar on stderr."""
    held_out = []
    for predictor, images in pairs:
        for row in tqdm(images, "calibrate", unit="image"):
            image, mask = decode_row(row)
            (raw,) = predictor.run([image])
            peak, map_ = predictor.map_peak(raw, image.shape), predictor.restore(raw, image.shape)
            known = row["label"], row["group"], row["source"]
            held_out.append(HeldOut(raw.class_logits, peak, map_, mask, *known))
    return held_out


def calibrate_model(
    predictor: Predictor,
    data: DatasetDict,
    held_out: Sequence[HeldOut] | None,
    others: Mapping[str, Sequence[Path]] | None = None,
) -> tuple[ModelConfig, OodDetector | None]:
    """Return the config of a trained network with all that is fitted after training, and the detector.

    The detector of images out of distribution is None where the images are too few to fit it.

    Args:
        data: split as for the training.
        held_out: to fit calibration and thresholds to; None keeps those of the predictor.
        others: image files to refuse, by the name of their kind.
    """
    config = predictor.config
    fitted = (config.calibration, config.thresholds) if held_out is None else calibrate(held_out)
    ood, limit = _fit_ood(predictor, data, others or {}) or (None, None)
    return replace(config, calibration=replace(fitted[0], ood_threshold=limit), thresholds=fitted[1]), ood


def calibrate(held_out: Sequence[HeldOut]) -> tuple[Calibration, Thresholds]:
    """Fit the class probabilities, then the thresholds at native resolution, then sets and band.

    The malignant threshold keeps its default. The boundary band is fitted on the lesions that are found (Dice
    of `MISSED_DICE` or more). Probabilities and mask thresholds count each image; the lesion threshold, sets
    and band are statements about new cases, for which copies share one vote. Where the images do not tell (no
    lesion at all, or none without), the defaults stay.
    """
    labelled = [each for each in held_out if each.label != UNKNOWN]
    classes = _fit_classes(labelled)
    masked = [each for each in held_out if each.mask is not None]
    lesions = [each for each in masked if each.mask.any()]
    lesion_probability = 1 - _probabilities(lesions, classes)[:, CLASS_NAMES.index("normal")]
    thresholds = Thresholds()
    if lesions:
        thresholds = _fit_mask_threshold(lesions, thresholds)
        thresholds = _fit_min_area(lesions, thresholds)
        if len(lesions) < len(masked):
            thresholds = _fit_lesion_threshold(lesions, lesion_probability, thresholds)
    thresholds = Thresholds(**{name: round(value, 4) for name, value in asdict(thresholds).items()})

    distances, groups = [], []
    for lesion, probability in zip(lesions, lesion_probability, strict=True):
        mask = mask_from_probability(lesion.map, probability, thresholds)
        if dice(mask, lesion.mask) >= MISSED_DICE:
            distances.append(boundary_distances(mask, lesion.mask))
            groups.append(lesion.group)
    band = fit_boundary_band(distances, groups, COVERAGE)
    sets = _fit_prediction_sets(labelled, classes)
    calibration = Calibration(
        classes,
        prediction_sets=sets and replace(sets, elsewhere=_coverage_elsewhere(labelled)),
        boundary_band=band and BoundaryBand(COVERAGE, *band),
    )
    return calibration, thresholds


def _said(held_out: Sequence[HeldOut]) -> tuple[np.ndarray, list[float]]:
    """Return class logits (N, 3) and peaks, which the probabilities follow from."""
    logits = np.array([each.class_logits for each in held_out]).reshape(-1, len(CLASS_NAMES))
    return logits, [each.peak for each in held_out]


def _fit_classes(labelled: Sequence[HeldOut]) -> ClassCalibration:
    logits, peaks = _said(labelled)
    labels = [each.label for each in labelled]
    sources = [each.source for each in labelled]
    return fit_calibration(logits, peaks, labels, sources)


def _probabilities(held_out: Sequence[HeldOut], classes: ClassCalibration) -> np.ndarray:
    return calibrated_probabilities(*_said(held_out), classes)


def _fit_prediction_sets(labelled: Sequence[HeldOut], classes: ClassCalibration) -> PredictionSets | None:
    """Return sets with the stated coverage in each source; None without any class.

    Each source asks for a threshold of its own, and the lowest is taken.
    """
    thresholds = []
    for own in by_source(labelled).values():
        labels, groups = [each.label for each in own], [each.group for each in own]
        thresholds.append(fit_set_threshold(_probabilities(own, classes), labels, groups, COVERAGE))
    return PredictionSets(COVERAGE, min(thresholds)) if thresholds else None


def _coverage_elsewhere(labelled: Sequence[HeldOut]) -> dict[str, float]:
    """Return by source how many of its images, copies sharing one vote, sets fitted to the others cover."""
    shares, parts = {}, by_source(labelled)
    for source in sorted(parts) if len(parts) > 1 else ():
        own, rest = parts[source], [each for each in labelled if each.source != source]
        classes = _fit_classes(rest)
        sets = _fit_prediction_sets(rest, classes)
        rows = zip(_probabilities(own, classes), own, strict=True)
        covered = [each.label in prediction_set(row, sets.threshold) for row, each in rows]
        votes = group_votes([each.group for each in own])
        shares[source] = round(float(np.average(covered, weights=votes)), 4)
    return shares


def _fit_mask_threshold(lesions: Sequence[HeldOut], thresholds: Thresholds) -> Thresholds:
    """Maximise the mean Dice of the lesion images.

    The threshold is the nearest to a half of those that are as good but for chance: the very best on one fold
    is not on another.
    """
    scores = [_score(lesions, replace(thresholds, mask=float(value)))[0].mean() for value in _MASK_GRID]
    good = _MASK_GRID[np.asarray(scores) >= max(scores) - _DICE_TOLERANCE]
    return replace(thresholds, mask=float(good[np.argmin(np.abs(good - 0.5))]))


def _fit_min_area(lesions: Sequence[HeldOut], thresholds: Thresholds) -> Thresholds:
    """Take the largest smallest area that leaves no more lesion images without a mask.

    It costs their mean Dice at most 0.001: specks hardly move the Dice, but each is shown as a lesion, while
    a small lesion that is dropped is missed.
    """
    by_area = {value: _score(lesions, replace(thresholds, min_area=value)) for value in _AREA_GRID}
    fewest = min(empty for _, empty in by_area.values())
    scores = {value: dices.mean() for value, (dices, empty) in by_area.items() if empty == fewest}
    good = [value for value, score in scores.items() if score >= max(scores.values()) - _DICE_TOLERANCE]
    return replace(thresholds, min_area=max(good))


def _fit_lesion_threshold(
    lesions: Sequence[HeldOut], lesion_probability: np.ndarray, thresholds: Thresholds
) -> Thresholds:
    """Leave the mask empty where that costs at most `_EMPTIED` of the lesions found, in each source.

    Each group has one vote: a cancer missed costs more than a needless outline.
    """
    found = _score(lesions, thresholds)[0] >= MISSED_DICE
    sources, groups = (np.array([getattr(each, name) for each in lesions]) for name in ("source", "group"))
    fitted = []
    for source in set(sources[found]):
        own = found & (sources == source)
        order = np.argsort(lesion_probability[own])
        votes = np.cumsum(group_votes(groups[own])[order])
        emptied = int(np.searchsorted(votes, _EMPTIED * votes[-1], side="right"))
        fitted.append(float(lesion_probability[own][order][emptied]))
    return replace(thresholds, lesion=min(fitted)) if fitted else thresholds


def _score(lesions: Sequence[HeldOut], thresholds: Thresholds) -> tuple[np.ndarray, int]:
    """Return the Dice of each lesion image, and how many of them get no mask at all."""
    masks = [mask_from_probability(lesion.map, 1.0, thresholds) for lesion in lesions]
    dices = [dice(mask, lesion.mask) for mask, lesion in zip(masks, lesions, strict=True)]
    return np.array(dices), sum(not mask.any() for mask in masks)


def _fit_ood(
    predictor: Predictor, data: DatasetDict, others: Mapping[str, Sequence[Path]]
) -> tuple[OodDetector, float] | None:
    """Return `fit_ood` on all images but those for testing; None where they are too few."""

    def features(image: ImageSource) -> np.ndarray:
        return predictor.run([decode_image(image)])[0].features

    usual, groups = [], []
    for name in ("train", "validation"):
        for row in tqdm(data[name], f"out of distribution, {name}", unit="image"):
            usual.append(features(row["image"]))
            groups.append(row["group"])
    refused = {
        kind: np.stack([features(file) for file in tqdm(files, f"out of distribution, {kind}", unit="image")])
        for kind, files in others.items()
    }
    return fit_ood(np.stack(usual), groups, refused)


def recalibrate(
    predictor: Predictor,
    data: DatasetDict,
    *,
    left_out: Sequence[Path] = (),
    others: Mapping[str, Sequence[Path]] | None = None,
) -> tuple[ModelConfig, OodDetector | None]:
    """Fit all that is fitted after training again, as `calibrate_model` returns it.

    Args:
        predictor: of a model folder that `busi_unet.training.loop.train` wrote.
        data: the prepared data set that it was made on, whatever fold it was prepared for.
        left_out: model folders of sibling networks, trained by the same recipe on other parts of the data:
            what they say of the images that each has not seen is what is fitted to. None: the model's own
            validation images.
        others: image files that are no breast ultrasound, by the name of their kind: to be refused.

    Raises:
        UsageError: a model was made on other data or does not tell on which, was trained on the images to
            calibrate on, or a sibling has another network or preprocessing.
    """
    name, own = predictor.source, _own_split(predictor, data)
    if not left_out:
        if "validation" in trained_on(predictor.config.training):
            raise UsageError(
                f"{name} was trained on its validation images too: nothing unseen is left to fit to.",
                "Name siblings that have not seen some of the images: --left-out RUN/model …",
            )
        pairs = [(predictor, own["validation"])]
    else:
        pairs = []
        for other in left_out:
            sibling = Predictor.from_pretrained(other)
            for part in ("architecture", "preprocess"):
                if getattr(sibling.config, part) != getattr(predictor.config, part):
                    raise UsageError(f"{other} has another {part} than {name}.", "Name its siblings.")
            unseen = _own_split(sibling, data)["test"]
            # The model's own test images stay out of everything that is fitted for it.
            usable = np.flatnonzero(~np.isin(unseen["image_id"], list(own["test"]["image_id"])))
            if not len(usable):
                raise UsageError(
                    f"{other} has seen all images but the test images of {name}.",
                    "Name siblings that were trained without other images.",
                )
            pairs.append((sibling, unseen.select(usable)))
    return calibrate_model(predictor, own, collect_held_out(pairs), others)


def _own_split(predictor: Predictor, data: DatasetDict) -> DatasetDict:
    own = split_for(predictor.config, data).data
    require_unseen(predictor.source, predictor.config, own, validates=False)
    return own


# --- One's own hospital --------------------------------------------------------------------------


class LocalThreshold(NamedTuple):
    """A threshold of the malignant probability, fitted to one hospital."""

    threshold: float  # images at and above it are flagged
    threshold_range: tuple[float, float]  # where the thresholds of 95 % of the resamples lie
    sensitivity: tuple[float, float, float]  # mean, low, high on the images that a resample leaves out
    specificity: tuple[float, float, float]
    malignant: int  # how many images it rests on
    other: int


def calibrate_to_hospital(
    predictor: Predictor, images: Sequence[Mapping[str, Any]], *, sensitivity: float = 0.95
) -> tuple[ModelConfig, LocalThreshold]:
    """Return the model's config with a threshold of one's own, and how reliable that is.

    Of the images, rows of a prepared data set that the model has not seen, those without a class do not
    count. `sensitivity` is the share of the malignant ones to be flagged.
    """
    rows = [row for row in images if row["label"] != UNKNOWN]
    malignant = np.array([row["label"] == CLASS_NAMES.index("malignant") for row in rows], dtype=bool)
    if min(malignant.sum(), (~malignant).sum()) < FEWEST:
        raise UsageError(
            f"There are {malignant.sum()} malignant and {(~malignant).sum()} other images; a threshold needs "
            f"{FEWEST} of each or more.",
            "Add labelled images.",
        )
    probability = np.array(
        [
            predictor.predict(decode_image(row["image"]), anyway=True).probabilities["malignant"]
            for row in tqdm(rows, "calibrate", unit="image")
        ]
    )
    found = fit_local_threshold(probability, malignant, [row["group"] for row in rows], sensitivity)
    config = predictor.config
    return replace(config, thresholds=replace(config.thresholds, malignant=found.threshold)), found


def fit_local_threshold(
    probability: np.ndarray, malignant: np.ndarray, groups: list[str], sensitivity: float
) -> LocalThreshold:
    """Return the highest threshold with the sensitivity, and what it does on images left out of the fit.

    Groups (patients, or copies) are drawn with replacement, a threshold is fitted to each draw, and its
    sensitivity and specificity are measured on the groups not drawn (out-of-bag bootstrap; Efron, JASA 78,
    1983). `probability` is (N,), of malignant; `malignant` bool (N,); `sensitivity` in (0, 1].
    """
    chosen, sensitivities, specificities = [], [], []
    for weights in Bootstrap(groups, resamples=_RESAMPLES).weights:
        drawn, out = weights * malignant, weights == 0
        if not drawn.any():
            continue
        chosen.append(threshold_for(probability, drawn, sensitivity))
        flagged = probability >= chosen[-1]
        if (out & malignant).any():
            sensitivities.append(flagged[out & malignant].mean())
        if (out & ~malignant).any():
            specificities.append(1 - flagged[out & ~malignant].mean())

    def ends(values: list[float]) -> tuple[float, ...]:
        return tuple(np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist())

    return LocalThreshold(
        round(threshold_for(probability, malignant.astype(float), sensitivity), 4),
        ends(chosen),
        *((float(np.mean(shares)), *ends(shares)) for shares in (sensitivities, specificities)),
        malignant=int(malignant.sum()),
        other=int((~malignant).sum()),
    )


def threshold_for(probability: np.ndarray, weights: np.ndarray, sensitivity: float) -> float:
    """Return the highest threshold that the weighted share of images reaches."""
    order = np.argsort(-probability)
    reached = np.cumsum(weights[order]) >= sensitivity * weights.sum() - 1e-9
    return float(probability[order][np.argmax(reached)])
