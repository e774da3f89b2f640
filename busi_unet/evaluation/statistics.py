"""Statistics over N images that a bootstrap can resample.

Each takes `weights` (..., N), how often each image counts, and returns an array of shape (...), NaN where it
is undefined. A point estimate is a statistic with every weight 1; the bootstrap is the same statistic with
one row of weights per resample, so that nothing is computed in two ways.
"""

from __future__ import annotations

import numpy as np

ECE_BINS = 15


def mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted mean over the images where `values` (N,) is not NaN."""
    defined = ~np.isnan(values)
    return _divide(weights[..., defined] @ values[defined], weights[..., defined].sum(-1))


def median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the median over the images where `values` (N,) is not NaN, each repeated `weights` times.

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


def macro_f1(truth: np.ndarray, predicted: np.ndarray, n_classes: int, weights: np.ndarray) -> np.ndarray:
    """Return the unweighted mean of the F1 score of each class.

    Undefined unless every class has an image. A class that is never predicted scores 0.

    Args:
        truth: class indices (N,).
        predicted: class indices (N,); -1 where no class was predicted.
        n_classes: K.
        weights: (..., N).
    """
    is_true, is_predicted = (each[:, None] == np.arange(n_classes) for each in (truth, predicted))
    hits, present, named = (
        weights @ each.astype(float) for each in (is_true & is_predicted, is_true, is_predicted)
    )
    return np.where((present > 0).all(-1), _divide(2 * hits, present + named).mean(-1), np.nan)


def auc(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve: how often a positive image outscores a negative one, ties half.

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


def expected_calibration_error(
    probabilities: np.ndarray, truth: np.ndarray, weights: np.ndarray, *, bins: int = ECE_BINS
) -> np.ndarray:
    """Return the mean gap between the confidence of the likeliest class and how often it is right.

    Equal-width bins over (0, 1] (Guo et al., On Calibration of Modern Neural Networks, ICML 2017).
    The gap of a sparsely filled bin is chance as much as error, so that the error grows as images get
    fewer, and its bootstrap interval lies high for the same reason.

    Args:
        probabilities: (N, K), rows summing to 1.
        truth: class indices (N,).
        weights: (..., N).
        bins: number of bins.
    """
    confidence = probabilities.max(axis=1)
    gap = (probabilities.argmax(axis=1) == truth) - confidence
    per_bin = weights @ (np.eye(bins)[calibration_bin(confidence, bins)] * gap[:, None])
    return _divide(np.abs(per_bin).sum(-1), weights.sum(-1))


def calibration_bin(confidence: np.ndarray, bins: int = ECE_BINS) -> np.ndarray:
    """Return the index of the bin of each confidence in (0, 1], whose upper end belongs to it."""
    return np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return the quotient, NaN where the divisor is 0."""
    part, whole = np.asarray(part, dtype=float), np.asarray(whole, dtype=float)
    undefined = np.full(np.broadcast_shapes(part.shape, whole.shape), np.nan)
    return np.divide(part, whole, out=undefined, where=whole > 0)
