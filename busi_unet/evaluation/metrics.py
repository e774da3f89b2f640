"""Scores of masks and classes at native resolution, and how sure a figure over few images can be.

Two kinds of function meet here. `segmentation_scores`, from `busi_unet.imaging.scores`, which the app
uses too, compares one pair of masks. The statistics
(`mean`, `median`, `accuracy`, `macro_f1`, `auc`, `expected_calibration_error`) take N images and
`weights` (..., N), how often each image counts, and return an array of shape (...), NaN where the
figure is undefined. A point estimate is a statistic with every weight 1; the bootstrap is the same
statistic with one row of weights per resample, so no figure is ever computed in two ways.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from busi_unet.errors import UsageError
from busi_unet.imaging.scores import SegmentationScores, dice, hd95, segmentation_scores

__all__ = [
    "ECE_BINS",
    "MISSED_DICE",
    "Interval",
    "SegmentationScores",
    "accuracy",
    "auc",
    "bootstrap_interval",
    "confusion_matrix",
    "dice",
    "expected_calibration_error",
    "hd95",
    "macro_f1",
    "malignancy_score",
    "mean",
    "median",
    "segmentation_scores",
]

ECE_BINS = 15
MISSED_DICE = 0.05
"""A lesion whose mask has a lower Dice counts as missed."""


def mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean over the images where `values` (N,) is not NaN."""
    defined = ~np.isnan(values)
    return _divide(weights[..., defined] @ values[defined], weights[..., defined].sum(-1))


def median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Median over the images where `values` (N,) is not NaN, each repeated `weights` times.

    Args:
        values: float (N,).
        weights: whole numbers (..., N).
    """
    order = np.argsort(values)[: np.count_nonzero(~np.isnan(values))]
    if not order.size:
        return np.full(weights.shape[:-1], np.nan)
    ranks = weights[..., order].cumsum(-1)
    total = ranks[..., -1]
    # The two middle places are one and the same for an odd total.
    middle = [
        values[order[np.minimum((ranks <= place[..., None]).sum(-1), order.size - 1)]]
        for place in ((total - 1) // 2, total // 2)
    ]
    return np.where(total > 0, (middle[0] + middle[1]) / 2, np.nan)


def confusion_matrix(
    truth: np.ndarray, predicted: np.ndarray, n_classes: int, weights: np.ndarray | None = None
) -> np.ndarray:
    """Counts of true class (row) by predicted class (column).

    Args:
        truth: class indices (N,).
        predicted: class indices (N,).
        n_classes: K.
        weights: (..., N); every image counts once by default.

    Returns:
        (..., K, K), of the dtype of `weights`, int by default.
    """
    weights = np.ones(len(truth), dtype=int) if weights is None else weights
    cells = np.eye(n_classes**2, dtype=weights.dtype)[truth * n_classes + predicted]
    return (weights @ cells).reshape(*weights.shape[:-1], n_classes, n_classes)


def accuracy(confusion: np.ndarray) -> np.ndarray:
    """Share of images on the diagonal of confusion matrices (..., K, K)."""
    return _divide(confusion.trace(axis1=-2, axis2=-1), confusion.sum((-2, -1)))


def macro_f1(confusion: np.ndarray) -> np.ndarray:
    """Unweighted mean of the F1 score of each class, from confusion matrices (..., K, K).

    Undefined unless every class has an image. A class that is never predicted scores 0.
    """
    hits = confusion.diagonal(axis1=-2, axis2=-1)
    present, predicted = confusion.sum(-1), confusion.sum(-2)
    return np.where((present > 0).all(-1), _divide(2 * hits, present + predicted).mean(-1), np.nan)


def auc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve: the chance that a positive image outscores a negative one, ties half.

    Args:
        scores: float (N,), higher for positive.
        positive: bool (N,).
        weights: (..., N).

    Returns:
        (...), NaN where no positive or no negative image counts.
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


def malignancy_score(probabilities: np.ndarray) -> np.ndarray:
    """Malignant against benign, the score behind `auc`: p_malignant / (p_malignant + p_benign).

    Args:
        probabilities: (N, 3) in the order normal, benign, malignant.

    Returns:
        (N,) in [0, 1]; 0.5, no preference, where both are exactly 0.
    """
    benign, malignant = probabilities[:, 1], probabilities[:, 2]
    score = _divide(malignant, benign + malignant)
    return np.where(np.isnan(score), 0.5, score)


def expected_calibration_error(
    probabilities: np.ndarray, truth: np.ndarray, weights: np.ndarray, *, bins: int = ECE_BINS
) -> np.ndarray:
    """Mean gap between the confidence of the likeliest class and how often it is right.

    Equal-width bins over (0, 1] (Guo et al., On Calibration of Modern Neural Networks, ICML 2017).
    The gap of a sparsely filled bin is chance as much as error, so the figure grows as images get
    fewer, and its bootstrap interval lies high for the same reason.

    Args:
        probabilities: (N, K), rows summing to 1.
        truth: class indices (N,).
        weights: (..., N).
        bins: number of bins.
    """
    confidence = probabilities.max(axis=1)
    gap = (probabilities.argmax(axis=1) == truth) - confidence
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    per_bin = weights @ (np.eye(bins)[place] * gap[:, None])
    return _divide(np.abs(per_bin).sum(-1), weights.sum(-1))


@dataclass(frozen=True)
class Interval:
    """A percentile bootstrap interval.

    Attributes:
        low: lower end.
        high: upper end.
        undefined_resamples: how many resamples were left out because the figure is undefined on them.
    """

    low: float
    high: float
    undefined_resamples: int


def bootstrap_interval(
    statistic: Callable[[np.ndarray], np.ndarray],
    groups: Sequence[Hashable],
    *,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval | None:
    """Percentile interval of a statistic under resampling of whole groups with replacement.

    Images of one lesion or view are not independent, so the group is drawn, and all its images
    with it (the cluster bootstrap; Efron and Tibshirani, An Introduction to the Bootstrap, 1993;
    Field and Welsh, JRSS B 69, 2007). Equal `groups` and `seed` give equal resamples, so two
    statistics of one data set are compared on the same draws.

    Args:
        statistic: takes weights (R, N), returns (R,), NaN where undefined.
        groups: group of each of the N images.
        resamples: R.
        level: coverage, in (0, 1).
        seed: of the draws.

    Returns:
        None where no honest interval can be had: fewer than two groups, a statistic that no resample
        defines, or one that is alike in all of them (0 of 20 does not prove a rate of exactly 0).

    Raises:
        UsageError: `resamples` below 1 or `level` outside (0, 1).
    """
    if resamples < 1 or not 0 < level < 1:
        raise UsageError(
            f"A bootstrap of {resamples} resamples at level {level} is not possible.",
            "Use at least 1 resample and a level between 0 and 1, such as 0.95.",
        )
    places: dict[Hashable, int] = {}
    group_of = np.array([places.setdefault(group, len(places)) for group in groups], dtype=int)
    if len(places) < 2:
        return None
    draws = np.random.default_rng(seed).multinomial(
        len(places), np.full(len(places), 1 / len(places)), resamples
    )
    values = np.asarray(statistic(draws[:, group_of]), dtype=float)
    defined = values[~np.isnan(values)]
    if not defined.size or np.ptp(defined) < 1e-12:
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), resamples - defined.size)


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Quotient, NaN where the divisor is 0."""
    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    undefined = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    return np.divide(part, whole, out=undefined, where=whole > 0)
