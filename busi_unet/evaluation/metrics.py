"""The registry of metrics: what each is called, how it is computed, which way is better, where it is shown.

To add a metric, add a `Metric` to `_METRICS`, and what it needs of each image to `score_image`, if that is
not there yet. Nothing else has to change: reports, README, model card and app read this file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from busi_unet.config import Thresholds
from busi_unet.evaluation.rows import MISSED_DICE, Table
from busi_unet.evaluation.statistics import (
    ECE_BINS,
    Estimate,
    Statistic,
    auc,
    expected_calibration_error,
    macro_f1,
    mean,
    median,
)
from busi_unet.imaging.agreement import compare_masks, dice
from busi_unet.inference.calibration import boundary_distances, group_votes
from busi_unet.inference.preprocess import mask_from_probability

Place = Literal["readme", "card", "report", "sources", "robustness"]
"""README.md; the model card and the app's page; the report of an evaluation; its tables by subgroup; the
report of robustness."""


def score_image(
    prediction: Any, target: np.ndarray | None, thresholds: Thresholds | None = None
) -> dict[str, float | None]:
    """Return the scores of one image, at native resolution, by their column in per_image.csv.

    Args:
        prediction: a `Prediction`.
        target: bool (H, W), the reference; None where nobody outlined the lesions.
        thresholds: of the model; without them, the `ungated` scores are None.

    Returns:
        None where a score is undefined or not known.

        - height_px, width_px, predicted_area_px;
        - lesion_probability: that there is any lesion, in [0, 1];
        - ungated_area_px, ungated_dice: of the mask that would be drawn whatever the lesion probability;
        - target_area_px, dice, iou, hd95_px, precision, recall: see `busi_unet.imaging.agreement`;
        - boundary_within: share of the true boundary in the stated band; None where the lesion is missed.

    Raises:
        UsageError: mask and reference differ in size.
    """
    mask, chances = prediction.mask, prediction.probabilities
    found = None if target is None else compare_masks(mask, target)
    ungated = None
    if thresholds is not None and prediction.probability is not None:
        ungated = mask_from_probability(prediction.probability, 1.0, thresholds)
    scores = {
        "height_px": mask.shape[0],
        "width_px": mask.shape[1],
        "predicted_area_px": int(np.count_nonzero(mask)),
        "lesion_probability": 1 - chances["normal"] if chances else None,
        "ungated_area_px": None if ungated is None else int(np.count_nonzero(ungated)),
        "ungated_dice": None if ungated is None or target is None else dice(ungated, target),
        "boundary_within": None,
    }
    scores["target_area_px"] = found and found.reference_area_px
    for name in ("dice", "iou", "hd95_px", "precision", "recall"):
        scores[name] = found and getattr(found, name)
    band = prediction.boundary_band
    if band is not None and found is not None and found.dice is not None and found.dice >= MISSED_DICE:
        distances = boundary_distances(mask, target)
        scores["boundary_within"] = float(np.mean((distances >= -band.inner) & (distances <= band.outer)))
    return scores


class Measure(NamedTuple):
    """A metric of some images: a statistic, on how many of them it rests and, of a share, how many count."""

    statistic: Statistic
    n: int
    count: int | None = None


How = Callable[[Table], Measure]


def measure_over(used: np.ndarray, statistic: Callable, *columns: np.ndarray) -> Measure:
    """Return a statistic of columns (N, …) over the images that are used, bool (N,)."""
    chosen = [column[used] for column in columns]
    return Measure(lambda weights: statistic(*chosen, weights[..., used]), int(np.count_nonzero(used)))


def mean_of(column: str, among: str, statistic: Callable = mean) -> How:
    """Measure the mean, or another statistic, of a column over the images where it is defined."""

    def measure(table: Table) -> Measure:
        values = table.column(column)
        return measure_over(table.among(among) & ~np.isnan(values), statistic, values)

    return measure


def share_of(column: str, among: str) -> How:
    """Measure the share of images whose column is 1, with their count."""

    def measure(table: Table) -> Measure:
        hits = np.nansum(table.column(column)[table.among(among)])
        return mean_of(column, among)(table)._replace(count=int(hits))

    return measure


def mean_per_group(column: str, among: str) -> How:
    """Measure a mean with one vote per group, as statements about new cases are fitted."""

    def measure(table: Table) -> Measure:
        values = table.column(column)
        stated = table.among(among) & ~np.isnan(values)
        votes = group_votes(table.groups[stated])
        return measure_over(stated, lambda values, weights: mean(values, weights * votes), values)

    return measure


def auc_of(column: str, positive: str, negative: str) -> How:
    """Measure how well a column tells one kind of images from another."""

    def measure(table: Table) -> Measure:
        scores, is_positive = table.column(column), table.among(positive)
        used = (is_positive | table.among(negative)) & ~np.isnan(scores)
        return measure_over(used, auc, scores, is_positive)

    return measure


def _macro_f1(table: Table) -> Measure:
    return measure_over(table.among("labelled"), macro_f1, table.truth, table.predicted)


def _calibration_error(table: Table) -> Measure:
    used = table.among("labelled") & ~np.isnan(table.probabilities).any(axis=1)
    return measure_over(used, expected_calibration_error, table.probabilities, table.truth)


@dataclass(frozen=True)
class Metric:
    """One metric."""

    name: str  # its key in metrics.json
    title: str  # as people read it
    measure: How  # what computes it; of images that lack what it needs, its `n` is 0
    better: Literal["higher", "lower"] | None  # None where a stated value is to be met
    shown: tuple[Place, ...] = ("report",)
    hub: str = ""  # its name on the Hugging Face Hub, where it is known there
    unit: str = ""  # "" for a number between 0 and 1

    @property
    def heading(self) -> str:
        """Return the title with an arrow that tells which way is better."""
        return self.title + {"higher": " ↑", "lower": " ↓", None: ""}[self.better]

    @property
    def digits(self) -> int:
        """Return the number of decimals that are shown."""
        return 1 if self.unit == "px" else 3

    def text(self, value: float | None) -> str:
        """Return a value as it is written."""
        return "undefined" if value is None else f"{value:.{self.digits}f}"

    def value(self, estimate: Estimate) -> str:
        """Return the value and, behind a share, how many of how many."""
        share = "" if None in (estimate.value, estimate.count) else f" ({estimate.count} of {estimate.n})"
        return self.text(estimate.value) + share

    def interval(self, estimate: Estimate) -> str:
        """Return the ends of the interval, or a dash."""
        if estimate.ci_low is None:
            return "–"
        return f"{self.text(estimate.ci_low)} to {self.text(estimate.ci_high)}"


_CARD: tuple[Place, ...] = ("card", "report")
_SOURCES: tuple[Place, ...] = ("card", "report", "sources")
_ALL: tuple[Place, ...] = ("readme", "card", "report", "sources", "robustness")
_UP, _DOWN = "higher", "lower"

_METRICS = (
    Metric("lesion_dice", "Lesion Dice, mean", mean_of("dice", "lesion"), _UP, _ALL, "dice"),
    Metric(
        "lesion_dice_median", "Lesion Dice, median", mean_of("dice", "lesion", median), _UP, _CARD, "dice"
    ),
    Metric("benign_dice", "Lesion Dice, mean, benign", mean_of("dice", "benign"), _UP, _CARD, "dice"),
    Metric(
        "malignant_dice", "Lesion Dice, mean, malignant", mean_of("dice", "malignant"), _UP, _SOURCES, "dice"
    ),
    Metric("lesion_iou", "Lesion IoU, mean", mean_of("iou", "lesion"), _UP, _CARD, "iou"),
    Metric(
        "lesion_hd95_px",
        "HD95 of lesions, mean (px)",
        mean_of("hd95_px", "lesion"),
        _DOWN,
        _SOURCES,
        "hd95",
        "px",
    ),
    Metric("lesion_precision", "Pixel precision, mean", mean_of("precision", "lesion"), _UP),
    Metric("lesion_recall", "Pixel recall, mean", mean_of("recall", "lesion"), _UP),
    Metric(
        "lesion_missed_share",
        f"Missed lesions (Dice < {MISSED_DICE})",
        share_of("missed", "lesion"),
        _DOWN,
        _ALL,
        "miss_rate",
    ),
    Metric(
        "malignant_missed_share",
        f"Missed malignant lesions (Dice < {MISSED_DICE})",
        share_of("missed", "malignant"),
        _DOWN,
        _SOURCES,
    ),
    Metric(
        "lesion_called_normal_share",
        "Lesions called normal",
        share_of("called normal", "lesion"),
        _DOWN,
        _SOURCES,
    ),
    Metric(
        "normal_false_mask_share",
        "False-positive rate (normal images)",
        share_of("outlined", "no lesion"),
        _DOWN,
        _ALL,
        "false_positive_rate",
    ),
    Metric(
        "accuracy",
        "Three-class accuracy",
        share_of("right", "labelled"),
        _UP,
        (*_SOURCES, "robustness"),
        "accuracy",
    ),
    Metric("macro_f1", "Macro-F1", _macro_f1, _UP, _CARD, "f1"),
    Metric(
        "auc_malignant",
        "AUC, malignant vs benign",
        auc_of("malignancy", "malignant", "benign"),
        _UP,
        _ALL,
        "roc_auc",
    ),
    Metric(
        "auc_lesion", "AUC, lesion vs no lesion", auc_of("lesion_probability", "lesion", "no lesion"), _UP
    ),
    Metric(
        "malignant_sensitivity",
        "Sensitivity (malignant images flagged)",
        share_of("flagged", "malignant"),
        _UP,
        _ALL,
    ),
    Metric(
        "malignant_specificity",
        "Specificity (benign and normal images not flagged)",
        share_of("not flagged", "not malignant"),
        _UP,
        ("readme", "card", "report"),
    ),
    Metric(
        "benign_specificity",
        "Specificity among lesions (benign images not flagged)",
        share_of("not flagged", "benign"),
        _UP,
        _SOURCES,
    ),
    Metric("ece", f"Expected calibration error, {ECE_BINS} bins", _calibration_error, _DOWN, _SOURCES, "ece"),
    Metric("set_coverage", "Prediction-set coverage", share_of("in set", "labelled"), None, _SOURCES),
    Metric(
        "set_coverage_by_group",
        "Prediction-set coverage, per group",
        mean_per_group("in set", "labelled"),
        None,
        _CARD,
    ),
    Metric("set_size", "Prediction-set size, mean", mean_of("set size", "all"), _DOWN, _CARD, unit="classes"),
    Metric(
        "boundary_coverage", "Boundary-band coverage, mean", mean_of("boundary_within", "all"), None, _CARD
    ),
    Metric(
        "boundary_coverage_by_group",
        "Boundary-band coverage, per group",
        mean_per_group("boundary_within", "all"),
        None,
        _CARD,
    ),
    Metric(
        "refused_share",
        "Refused images",
        share_of("refused", "all"),
        _DOWN,
        ("report", "sources", "robustness"),
    ),
)

METRICS = {metric.name: metric for metric in _METRICS}
"""By name, in the order in which they are shown."""


def shown_in(place: Place) -> list[Metric]:
    """Return the metrics that are shown in one place, in order."""
    return [metric for metric in METRICS.values() if place in metric.shown]
