"""From a row per image to figures with intervals, and to what two such tables differ by."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from busi_unet.config import CLASS_NAMES
from busi_unet.errors import UsageError
from busi_unet.evaluation import metrics
from busi_unet.inference.conformal import group_votes
from busi_unet.io.files import reading

LEVEL = 0.95

TITLES = {
    "lesion_dice": "Lesion Dice, mean",
    "lesion_dice_median": "Lesion Dice, median",
    "benign_dice": "Lesion Dice, mean, benign",
    "malignant_dice": "Lesion Dice, mean, malignant",
    "lesion_iou": "Lesion IoU, mean",
    "lesion_hd95_px": "HD95 on lesion images, px",
    "lesion_missed_share": f"Lesions missed (Dice < {metrics.MISSED_DICE})",
    "normal_false_mask_share": "Normals with any false mask",
    "accuracy": "Three-class accuracy",
    "macro_f1": "Macro-F1",
    "auc_malignant": "AUC, benign against malignant",
    "malignant_sensitivity": "Malignant images suspected (sensitivity)",
    "malignant_specificity": "Other images not suspected (specificity)",
    "ece": f"Expected calibration error, {metrics.ECE_BINS} bins",
    "set_coverage": "Class within the 90 % prediction set",
    "set_coverage_by_group": "Class within the set, copies sharing one vote",
    "set_size": "Classes in a set, mean",
    "boundary_coverage": "Share of the edge within its 90 % band, mean",
    "boundary_coverage_by_group": "Share of the edge within, copies sharing one vote",
}
"""Of the figures of `summarise` that are shown one by one."""

# Weights (..., N), how often each of N images counts, to a figure (...), NaN where it is undefined.
Statistic = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class ImageResult:
    """One image's row.

    `probabilities` are in the order of CLASS_NAMES; `scores` are None where undefined
    (see `metrics.SegmentationScores`). `prediction_set` is None where none is stated. `boundary_within` is
    the share of the true edge within the stated band; None without a band or where the lesion is missed.
    """

    image_id: str
    label: str
    group: str
    fold: int
    height_px: int
    width_px: int
    predicted_label: str
    probabilities: tuple[float, ...]
    flagged: bool
    refused: bool
    scores: metrics.SegmentationScores
    prediction_set: tuple[str, ...] | None = None
    boundary_within: float | None = None

    def to_row(self) -> dict[str, Any]:
        """The flat columns of per_image.csv."""
        row = asdict(self) | {
            f"p_{name}": value for name, value in zip(CLASS_NAMES, self.probabilities, strict=True)
        }
        del row["probabilities"]
        return (
            row
            | row.pop("scores")
            | {
                "target_area_px": self.scores.target_area_px,
                "predicted_area_px": self.scores.predicted_area_px,
                "false_mask": self.scores.false_mask,
                "prediction_set": None if self.prediction_set is None else " ".join(self.prediction_set),
                "boundary_within": self.boundary_within,
            }
        )

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> ImageResult:
        """What `to_row` became in a CSV; raises KeyError or ValueError where it is none."""
        scores = {
            field.name: int(row[field.name]) if field.type == "int" else _number(row[field.name])
            for field in fields(metrics.SegmentationScores)
        }
        return cls(
            image_id=row["image_id"],
            label=row["label"],
            group=row["group"],
            fold=int(row["fold"]),
            height_px=int(row["height_px"]),
            width_px=int(row["width_px"]),
            predicted_label=row["predicted_label"],
            probabilities=tuple(float(row[f"p_{name}"]) for name in CLASS_NAMES),
            flagged=row["flagged"] == "True",
            refused=row["refused"] == "True",
            scores=metrics.SegmentationScores(**scores),
            prediction_set=tuple(row["prediction_set"].split()) or None,
            boundary_within=_number(row["boundary_within"]),
        )


@dataclass(frozen=True)
class Estimate:
    """One figure, its interval over groups, and what it rests on.

    Attributes:
        value: None where undefined.
        ci_low: lower end of the interval; None where there is none (see `metrics.bootstrap_interval`).
        ci_high: upper end.
        n: images on which the figure is defined.
        count: for a share, how many of the n.
        undefined_resamples: resamples left out of the interval.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    count: int | None = None
    undefined_resamples: int = 0

    def __str__(self) -> str:
        if self.value is None:
            return "undefined"
        digits = 3 if abs(self.value) < 10 else 1
        interval = "" if self.ci_low is None else f" [{self.ci_low:.{digits}f}, {self.ci_high:.{digits}f}]"
        share = "" if self.count is None else f" ({self.count} of {self.n})"
        return f"{self.value:.{digits}f}{interval}{share}"


def summarise(
    rows: Sequence[ImageResult],
    *,
    seed: int = 0,
    resamples: int = 2000,
    names: Collection[str] | None = None,
) -> dict[str, Estimate]:
    """Turns image rows into figures with intervals.

    Args:
        rows: one per image.
        seed: of the bootstrap.
        resamples: of the bootstrap.
        names: the figures wanted; None for all.

    Returns:
        For each kind of `lesion` (all), `benign` and `malignant`: `<kind>_dice`, `_dice_median`,
        `_iou`, `_hd95_px`, `_precision`, `_recall` over the images that have a lesion,
        `_missed_share` (Dice below 0.05) and `_empty_share` (no mask at all). Then
        `normal_false_mask_share` over the images without a lesion; `accuracy`, `macro_f1` and `ece`
        over all images; `auc_malignant` over the benign and malignant ones; at the model's
        operating point `malignant_sensitivity` over the malignant images and `malignant_specificity` over the
        others; where they are stated, `set_coverage` and `set_size` of the prediction sets, and
        `boundary_coverage` of the band around the edge. What is stated holds for groups of copies with one
        vote each, which `set_coverage_by_group` and `boundary_coverage_by_group` tell.
    """
    groups = [row.group for row in rows]
    return {
        name: replace(estimate(figure.statistic, groups, figure.n, seed, resamples), count=figure.count)
        for name, figure in _figures(rows).items()
        if names is None or name in names
    }


def compare(
    rows: Sequence[ImageResult],
    others: Sequence[ImageResult],
    *,
    seed: int = 0,
    resamples: int = 2000,
    names: Collection[str] | None = None,
) -> dict[str, Estimate]:
    """By how much the figures of the others lie above those of the rows, over the same pictures.

    Both are resampled together, so that the interval tells whether they differ, not how hard the images are.
    A figure that is undefined on some image of one of them alone, such as the precision of an empty mask,
    is over other images in each.

    Args:
        rows: their groups count.
        others: of the same images, in any order; judged otherwise.
        seed: of the bootstrap.
        resamples: of the bootstrap.
        names: the figures wanted; None for all.

    Returns:
        As `summarise`; `value` is a difference.

    Raises:
        UsageError: the images are not the same.
    """
    by_id = {row.image_id: row for row in others}
    if len(by_id) != len(others) or set(by_id) != {row.image_id for row in rows} or len(by_id) != len(rows):
        raise UsageError(
            "The two tables are not about the same images.", "Compare judgements of one and the same split."
        )
    groups = [row.group for row in rows]
    first, second = _figures(rows), _figures([by_id[row.image_id] for row in rows])

    def difference(name: str) -> Statistic:
        return lambda weights: second[name].statistic(weights) - first[name].statistic(weights)

    return {
        name: estimate(difference(name), groups, min(first[name].n, second[name].n), seed, resamples)
        for name in first
        if names is None or name in names
    }


def read_rows(path: str | Path) -> list[ImageResult]:
    """The rows of a per_image.csv.

    Raises:
        UsageError: no such file, or another table.
    """
    path = Path(path)
    hint = "Name the per_image.csv in a report folder of scripts/evaluate.py."
    with reading(path, "is no table of images", hint), path.open(newline="", encoding="utf-8") as stream:
        rows = [ImageResult.from_row(row) for row in csv.DictReader(stream)]
    if not rows:
        raise UsageError(f"{path} holds no image.", "Name another per_image.csv.")
    return rows


def confusion_of(rows: Sequence[ImageResult]) -> np.ndarray:
    """Counts of true class (row) by predicted class (column), in the order of CLASS_NAMES."""
    return metrics.confusion_matrix(*_class_indices(rows), len(CLASS_NAMES))


@dataclass(frozen=True)
class _Figure:
    """A statistic of weights (..., N), the number of images behind it and, of a share, how many hit."""

    statistic: Statistic
    n: int
    count: int | None = None


def _figures(rows: Sequence[ImageResult]) -> dict[str, _Figure]:
    labels = np.array([row.label for row in rows])
    everyone = np.ones(len(rows), dtype=bool)
    lesion = np.array([row.scores.target_area_px > 0 for row in rows])

    def average(
        values: Iterable[float | None], among: np.ndarray, statistic: Callable = metrics.mean
    ) -> _Figure:
        # As floats, None becomes NaN.
        defined = np.where(among, np.array(list(values), dtype=float), np.nan)
        return _Figure(lambda weights: statistic(defined, weights), int((~np.isnan(defined)).sum()))

    def share(hits: Iterable[bool], among: np.ndarray) -> _Figure:
        hits = np.array(list(hits), dtype=bool)
        return replace(average(hits, among), count=int((hits & among).sum()) if among.any() else None)

    def by_group(figure: _Figure, among: np.ndarray) -> _Figure:
        votes = np.zeros(len(rows))
        votes[among] = group_votes([row.group for row, counts in zip(rows, among, strict=True) if counts])
        return _Figure(lambda weights: figure.statistic(weights * votes), figure.n)

    figures = {}
    for kind, among in (
        ("lesion", lesion),
        ("benign", lesion & (labels == "benign")),
        ("malignant", lesion & (labels == "malignant")),
    ):
        for name in ("dice", "iou", "hd95_px", "precision", "recall"):
            figures[f"{kind}_{name}"] = average((getattr(row.scores, name) for row in rows), among)
        dice = [row.scores.dice for row in rows]
        figures[f"{kind}_dice_median"] = average(dice, among, metrics.median)
        figures[f"{kind}_missed_share"] = share((_missed(row) for row in rows), among)
        figures[f"{kind}_empty_share"] = share((row.scores.predicted_area_px == 0 for row in rows), among)

    figures["normal_false_mask_share"] = share((row.scores.false_mask for row in rows), ~lesion)
    truth, predicted = _class_indices(rows)
    probabilities = np.array([row.probabilities for row in rows], dtype=float)

    def of_confusion(figure: Callable[[np.ndarray], np.ndarray]) -> _Figure:
        return _Figure(
            lambda weights: figure(metrics.confusion_matrix(truth, predicted, len(CLASS_NAMES), weights)),
            len(rows),
        )

    figures["accuracy"] = replace(of_confusion(metrics.accuracy), count=int((truth == predicted).sum()))
    figures["macro_f1"] = of_confusion(metrics.macro_f1)
    figures["ece"] = _Figure(
        lambda weights: metrics.expected_calibration_error(probabilities, truth, weights), len(rows)
    )
    tumour = truth != CLASS_NAMES.index("normal")
    score = metrics.malignancy_score(probabilities)
    figures["auc_malignant"] = _Figure(
        lambda weights: metrics.auc(
            score[tumour], truth[tumour] == CLASS_NAMES.index("malignant"), weights[..., tumour]
        ),
        int(tumour.sum()),
    )
    malignant, flagged = labels == "malignant", [row.flagged for row in rows]
    figures["malignant_sensitivity"] = share(flagged, malignant)
    figures["malignant_specificity"] = share(np.logical_not(flagged), ~malignant)
    stated = np.array([row.prediction_set is not None for row in rows])
    figures["set_coverage"] = share((row.label in (row.prediction_set or ()) for row in rows), stated)
    figures["set_size"] = average((len(row.prediction_set or ()) for row in rows), stated)
    figures["boundary_coverage"] = average((row.boundary_within for row in rows), everyone)
    found = np.array([row.boundary_within is not None for row in rows])
    figures["set_coverage_by_group"] = by_group(figures["set_coverage"], stated)
    figures["boundary_coverage_by_group"] = by_group(figures["boundary_coverage"], found)
    return figures


def estimate(statistic: Statistic, groups: Sequence[str], n: int, seed: int, resamples: int) -> Estimate:
    """A statistic of images in groups, with its interval; `n` tells how many of them it rests on."""
    value = float(statistic(np.ones(len(groups), dtype=int)))
    if np.isnan(value):
        return Estimate(None, None, None, n)
    interval = metrics.bootstrap_interval(statistic, groups, level=LEVEL, seed=seed, resamples=resamples)
    if interval is None:
        return Estimate(value, None, None, n)
    return Estimate(value, interval.low, interval.high, n, undefined_resamples=interval.undefined_resamples)


def _missed(row: ImageResult) -> bool:
    return row.scores.dice is not None and row.scores.dice < metrics.MISSED_DICE


def _class_indices(rows: Sequence[ImageResult]) -> tuple[np.ndarray, np.ndarray]:
    truth = np.array([CLASS_NAMES.index(row.label) for row in rows])
    return truth, np.array([CLASS_NAMES.index(row.predicted_label) for row in rows])


def _number(cell: str) -> float | None:
    return float(cell) if cell else None
