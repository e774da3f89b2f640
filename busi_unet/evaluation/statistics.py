"""Statistics over N images, and their intervals by resampling whole groups.

A statistic takes `weights` (..., N), how often each image counts, and returns (...), NaN where it is
undefined. A point estimate has every weight 1, a bootstrap one row of weights per resample.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from busi_unet.config import CLASS_NAMES

LEVEL = 0.95
RESAMPLES = 2000
ECE_BINS = 15

Statistic = Callable[[np.ndarray], np.ndarray]


def mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted mean of `values` (N,)."""
    return _divide(weights @ values, weights.sum(-1))


def median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the median of `values` (N,), each repeated `weights` (..., N, whole) times."""
    if not values.size:
        return np.full(weights.shape[:-1], np.nan)
    order = np.argsort(values)
    ranks = weights[..., order].cumsum(-1)
    total = ranks[..., -1]
    # The two middle places are one and the same for an odd total.
    middle = [
        values[order[np.minimum((ranks <= place[..., None]).sum(-1), order.size - 1)]]
        for place in ((total - 1) // 2, total // 2)
    ]
    return np.where(total > 0, (middle[0] + middle[1]) / 2, np.nan)


def macro_f1(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the unweighted mean of the F1 score of each class; undefined unless every class has an image.

    Truth and prediction are class indices (N,), -1 where no class was predicted.
    """
    is_true, is_predicted = (each[:, None] == np.arange(len(CLASS_NAMES)) for each in (truth, predicted))
    hits, present, named = (
        weights @ each.astype(float) for each in (is_true & is_predicted, is_true, is_predicted)
    )
    return np.where((present > 0).all(-1), _divide(2 * hits, present + named).mean(-1), np.nan)


def auc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve: how often a positive image outscores a negative one, ties half.

    Scores are (N,), higher for those that are `positive`, bool (N,).
    """
    if not len(scores):
        return np.full(weights.shape[:-1], np.nan)
    order = np.argsort(scores)
    starts = np.flatnonzero(np.diff(scores[order], prepend=np.nan) != 0)
    # Summed per distinct score, so that ties count half whatever their order.
    positives = np.add.reduceat((weights * positive)[..., order], starts, axis=-1)
    negatives = np.add.reduceat((weights * ~positive)[..., order], starts, axis=-1)
    below = negatives.cumsum(-1) - negatives
    outscored = (positives * (below + negatives / 2)).sum(-1)
    return _divide(outscored, positives.sum(-1) * negatives.sum(-1))


def expected_calibration_error(
    probabilities: np.ndarray, truth: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the mean gap between the confidence of the likeliest class and how often it is right.

    In equal-width bins over (0, 1] (Guo et al., ICML 2017, arXiv:1706.04599). The gap of a sparsely filled
    bin is chance as much as error: the error grows as images get fewer, and its bootstrap interval lies high.
    Probabilities are (N, K), rows summing to 1; truth are class indices (N,).
    """
    confidence = probabilities.max(axis=1)
    gap = (probabilities.argmax(axis=1) == truth) - confidence
    per_bin = weights @ (np.eye(ECE_BINS)[calibration_bin(confidence)] * gap[:, None])
    return _divide(np.abs(per_bin).sum(-1), weights.sum(-1))


def calibration_bin(confidence: np.ndarray) -> np.ndarray:
    """Return the bin, 0 to `ECE_BINS` - 1, of each confidence in (0, 1]; a bin's upper end belongs to it."""
    return np.clip(np.ceil(confidence * ECE_BINS).astype(int) - 1, 0, ECE_BINS - 1)


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return the quotient, NaN where the divisor is 0."""
    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    undefined = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    return np.divide(part, whole, out=undefined, where=whole > 0)


@dataclass(frozen=True)
class Estimate:
    """One value, its interval over groups, and what it rests on.

    Attributes:
        value: None where undefined.
        ci_low, ci_high: ends of the interval; None where there is none (see `Bootstrap.estimate`).
        n: images on which it is defined.
        count: for a share, how many of the n.
        undefined_resamples: resamples left out of the interval.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    count: int | None = None
    undefined_resamples: int = 0

    def written(self, digits: int, *, sign: bool = False) -> str:
        """Return it as text such as "0.095 (0.077 to 0.113), 141 of 1492"; with `sign`, as a difference."""
        if self.value is None:
            return "–"
        form = f"{'+' if sign else ''}.{digits}f"
        interval = "" if self.ci_low is None else f" ({self.ci_low:{form}} to {self.ci_high:{form}})"
        share = "" if self.count is None else f", {self.count} of {self.n}"
        return f"{self.value:{form}}{interval}{share}"


class Bootstrap:
    """Resamples of whole groups with replacement, drawn once for all statistics of some images.

    Images of one patient or view are not independent, so the group is drawn, and all its images with it (the
    cluster bootstrap; Field and Welsh, JRSS B 69, 2007). Equal groups give equal resamples, so that
    two statistics of the same images are compared on the same draws. `weights` are (resamples, N), how often
    each image is drawn; None for a single group.
    """

    def __init__(self, groups: Sequence[Hashable], *, resamples: int = RESAMPLES) -> None:
        self.once = np.ones(len(groups))
        places: dict[Hashable, int] = {}
        group_of = np.array([places.setdefault(group, len(places)) for group in groups], dtype=int)
        self.weights = None
        if len(places) > 1:
            draws = np.random.default_rng(0).multinomial(
                len(places), np.full(len(places), 1 / len(places)), resamples
            )
            # As floats, matrix products are fast; counts stay exact.
            self.weights = draws[:, group_of].astype(float)

    @staticmethod
    def settings() -> dict[str, Any]:
        """Return what a provenance notes of intervals."""
        return {"level": LEVEL, "resamples": RESAMPLES, "seed": 0, "unit": "group"}

    def estimate(self, statistic: Statistic, n: int, count: int | None = None) -> Estimate:
        """Return a statistic over `n` images, of which `count` for a share, with its percentile interval.

        There is none where none would be honest: fewer than two groups, no resample that defines the
        statistic, or all resamples alike (0 of 20 does not prove a rate of exactly 0).
        """
        value = float(statistic(self.once))
        if np.isnan(value):
            return Estimate(None, None, None, n)
        values = np.empty(0) if self.weights is None else np.asarray(statistic(self.weights), dtype=float)
        defined = values[~np.isnan(values)]
        if not defined.size or np.ptp(defined) < 1e-12:
            return Estimate(value, None, None, n, count)
        low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return Estimate(value, float(low), float(high), n, count, values.size - defined.size)
