"""How metrics are measured: image rows as columns, and the means, shares and curves taken of them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from busi_unet.config import CLASS_NAMES
from busi_unet.evaluation import statistics
from busi_unet.evaluation.bootstrap import Statistic
from busi_unet.inference.calibration import group_votes

if TYPE_CHECKING:
    from busi_unet.evaluation.summary import ImageResult

MISSED_DICE = 0.05
"""A lesion whose mask has a lower Dice counts as missed."""


class Table:
    """Image rows as columns.

    Attributes:
        groups: patient or copy group of each of the N images.
        truth: class index, int (N,), -1 where it is not known.
        predicted: class index, int (N,), -1 where none was predicted.
        probabilities: float (N, K), NaN where there are none.
    """

    def __init__(self, rows: Sequence[ImageResult]) -> None:
        self.rows = rows
        self.groups = [(row.source, row.group) for row in rows]
        self.truth = np.array([_class_index(row.label) for row in rows], dtype=int)
        self.predicted = np.array([_class_index(row.predicted_label) for row in rows], dtype=int)
        none = dict.fromkeys(CLASS_NAMES, np.nan)
        chances = [[(row.probabilities or none)[name] for name in CLASS_NAMES] for row in rows]
        self.probabilities = np.array(chances, dtype=float).reshape(len(rows), len(CLASS_NAMES))

    def among(self, name: str) -> np.ndarray:
        """Return which images belong to a kind, bool (N,).

        Args:
            name: a class; "lesion" (benign or malignant; of an unknown class, with a reference that is not
                empty); "no lesion" (normal; of an unknown class, with an empty reference); "not malignant";
                "labelled"; "all".
        """
        unknown, area = self.truth < 0, self.column("target_area_px")
        kinds = {
            **{label: self.truth == index for index, label in enumerate(CLASS_NAMES)},
            "all": np.ones(len(self.rows), dtype=bool),
            "labelled": ~unknown,
        }
        kinds["lesion"] = kinds["benign"] | kinds["malignant"] | unknown & (area > 0)
        kinds["no lesion"] = kinds["normal"] | unknown & (area == 0)
        kinds["not malignant"] = ~unknown & ~kinds["malignant"]
        return kinds[name]

    def column(self, name: str) -> np.ndarray:
        """Return a column, float (N,), NaN where it is undefined or missing.

        Args:
            name: a score of `busi_unet.evaluation.metrics.score_image`; "malignancy" (malignant against
                benign: p_malignant / (p_malignant + p_benign)); "p_CLASS"; "set size"; or, as 1 or 0,
                "missed", "outlined", "right", "called normal", "flagged", "not flagged", "refused", "in set".
        """
        derived = {
            "missed": lambda: _test(self.column("dice"), lambda dice: dice < MISSED_DICE),
            "outlined": lambda: _test(self.column("predicted_area_px"), lambda area: area > 0),
            "right": lambda: self._classified(self.predicted == self.truth),
            "called normal": lambda: self._classified(self.predicted == CLASS_NAMES.index("normal")),
            "flagged": lambda: self._floats(row.flagged for row in self.rows),
            "not flagged": lambda: 1 - self.column("flagged"),
            "refused": lambda: self._floats(row.refused for row in self.rows),
            "in set": lambda: self._floats(
                None if row.prediction_set is None or row.label is None else row.label in row.prediction_set
                for row in self.rows
            ),
            "set size": lambda: self._floats(
                None if row.prediction_set is None else len(row.prediction_set) for row in self.rows
            ),
            "malignancy": self._malignancy,
            **{f"p_{name}": functools.partial(self._chance, name) for name in CLASS_NAMES},
        }
        return derived[name]() if name in derived else self._floats(row.scores.get(name) for row in self.rows)

    @staticmethod
    def _floats(values: Iterable[float | None]) -> np.ndarray:
        # As floats, None becomes NaN.
        return np.array(list(values), dtype=float)

    def _classified(self, hits: np.ndarray) -> np.ndarray:
        # An image that was refused without a class was not classified right: leaving it out would flatter.
        known = (self.predicted >= 0) | (self.column("refused") == 1)
        return np.where(known, hits.astype(float), np.nan)

    def _chance(self, label: str) -> np.ndarray:
        return self.probabilities[:, CLASS_NAMES.index(label)]

    def _malignancy(self) -> np.ndarray:
        benign, malignant = self._chance("benign"), self._chance("malignant")
        either = benign + malignant
        # No preference where both are exactly 0.
        return np.where(either == 0, 0.5, malignant / np.where(either == 0, 1, either))


@dataclass(frozen=True)
class Measure:
    """A metric of some images: a statistic, on how many of them it rests and, of a share, how many count."""

    statistic: Statistic
    n: int
    count: int | None = None


How = Callable[[Table], Measure]


def mean_of(column: str, among: str, *, statistic: Callable = statistics.mean) -> How:
    """Measure the mean, or another statistic, of a column over the images where it is defined."""

    def measure(table: Table) -> Measure:
        values = np.where(table.among(among), table.column(column), np.nan)
        return Measure(lambda weights: statistic(values, weights), int(np.count_nonzero(~np.isnan(values))))

    return measure


def share_of(column: str, among: str) -> How:
    """Measure the share of images whose column is 1, with their count."""

    def measure(table: Table) -> Measure:
        hits = np.nansum(np.where(table.among(among), table.column(column), np.nan))
        return replace(mean_of(column, among)(table), count=int(hits))

    return measure


def mean_per_group(column: str, among: str) -> How:
    """Measure a mean with one vote per group, as statements about new cases are fitted."""

    def measure(table: Table) -> Measure:
        stated = table.among(among) & ~np.isnan(table.column(column))
        places = {group: place for place, group in enumerate(dict.fromkeys(table.groups))}
        groups = np.array([places[group] for group in table.groups], dtype=int)
        votes = np.zeros(len(groups))
        votes[stated] = group_votes(groups[stated])
        found = mean_of(column, among)(table)
        return Measure(lambda weights: found.statistic(weights * votes), found.n)

    return measure


def auc_of(column: str, positive: str, negative: str) -> How:
    """Measure how well a column tells one kind of images from another."""

    def measure(table: Table) -> Measure:
        scores, is_positive = table.column(column), table.among(positive)
        used = (is_positive | table.among(negative)) & ~np.isnan(scores)
        scores, is_positive = scores[used], is_positive[used]
        return Measure(lambda weights: statistics.auc(scores, is_positive, weights[..., used]), len(scores))

    return measure


def macro_f1(table: Table) -> Measure:
    """Measure the mean F1 score of the classes."""
    used = table.among("labelled") & ~np.isnan(table.column("right"))
    truth, predicted = table.truth[used], table.predicted[used]
    return Measure(
        lambda weights: statistics.macro_f1(truth, predicted, len(CLASS_NAMES), weights[..., used]),
        len(truth),
    )


def calibration_error(table: Table) -> Measure:
    """Measure the expected calibration error of the class probabilities."""
    used = table.among("labelled") & ~np.isnan(table.probabilities).any(axis=1)
    chances, truth = table.probabilities[used], table.truth[used]
    return Measure(
        lambda weights: statistics.expected_calibration_error(chances, truth, weights[..., used]), len(truth)
    )


@dataclass(frozen=True)
class CurvePoint:
    """What one lesion threshold, in place of the model's own, would miss and outline.

    Attributes:
        threshold: lesion probability below which no mask is drawn.
        missed_share: share of the lesions that would be missed (Dice below `MISSED_DICE`).
        outlined_share: share of the images without a lesion that would get a mask.
    """

    threshold: float
    missed_share: float
    outlined_share: float


def lesion_threshold_curve(rows: Sequence[ImageResult]) -> list[CurvePoint]:
    """Return missed lesions against outlined normal images as the lesion threshold rises from 0.

    Masks are those drawn whatever the lesion probability (`ungated`); a refused image never has one. Empty
    where the rows lack that, or lesions, or images without one.
    """
    table = Table(rows)
    dice, area, refused = (
        table.column("ungated_dice"),
        table.column("ungated_area_px"),
        table.column("refused"),
    )
    # At -1, nothing is drawn whatever the threshold.
    chance = np.where(refused == 1, -1, table.column("lesion_probability"))
    found_up_to = np.where(np.isnan(dice) & (chance >= 0), np.nan, np.where(dice >= MISSED_DICE, chance, -1))
    outlined_up_to = np.where(np.isnan(area) & (chance >= 0), np.nan, np.where(area > 0, chance, -1))
    found_up_to = found_up_to[table.among("lesion") & ~np.isnan(found_up_to)]
    outlined_up_to = outlined_up_to[table.among("no lesion") & ~np.isnan(outlined_up_to)]
    if not found_up_to.size or not outlined_up_to.size:
        return []
    return [
        CurvePoint(
            float(threshold),
            float(np.mean(found_up_to < threshold)),
            float(np.mean(outlined_up_to >= threshold)),
        )
        for threshold in np.unique(np.concatenate([[0.0], found_up_to, outlined_up_to, [1.0]]).clip(0))
    ]


def _test(values: np.ndarray, holds: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.where(np.isnan(values), np.nan, holds(values))


def _class_index(label: str | None) -> int:
    return -1 if label is None else CLASS_NAMES.index(label)
