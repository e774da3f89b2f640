"""Statements that hold in a stated share of cases: split-conformal prediction.

Both are fitted on images that the network was not trained on and hold for new ones like those: nearly so, as
training chooses epoch, calibration and thresholds by the same images. Copies of one image count as one
case, since each says the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

_GRID = np.linspace(0, 3, 301)


def fit_set_threshold(
    probabilities: np.ndarray, labels: np.ndarray, groups: Sequence[str], coverage: float
) -> float:
    """Return the threshold for `prediction_set` (Sadinle et al. 2019, arXiv:1609.00451).

    Args:
        probabilities: (N, C), calibrated.
        labels: int (N,), the true classes.
        groups: N names; the images of a group share one vote.
        coverage: share of images whose true class is to be in the set.

    Returns:
        The largest probability such that the set of the classes at and above it has the coverage; 0, which
        makes every set hold all classes, where there are too few groups to tell.
    """
    true = probabilities[np.arange(len(labels)), labels]
    votes = group_votes(groups)
    order = np.argsort(true)
    # Of the future image nothing is known: it counts as one that the threshold leaves out.
    left_out = np.concatenate([[0], np.cumsum(votes[order])]) + 1
    allowed = int(np.sum(left_out <= (1 - coverage) * (votes.sum() + 1) + 1e-9))
    if allowed == 0:
        return 0.0
    return float(true[order][allowed - 1]) if allowed <= len(true) else 1.0


def prediction_set(probabilities: np.ndarray, threshold: float) -> tuple[int, ...]:
    """Return the classes that cannot be excluded, most probable first; never none.

    Args:
        probabilities: (C,), calibrated.
        threshold: as fitted.
    """
    order = np.argsort(-probabilities, kind="stable")
    return tuple(
        int(index) for place, index in enumerate(order) if place == 0 or probabilities[index] >= threshold
    )


def boundary_distances(mask: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return where the true boundary lies, seen from an outline.

    Args:
        mask: bool (H, W), outlined, not empty.
        target: bool (H, W), the reference, not empty.

    Returns:
        For each boundary pixel of the target its distance from the outline, negative inside, in equivalent
        radii (of the circle with the area) of the nearest lesion of the mask.
    """
    edge = target & ~ndimage.binary_erosion(target, border_value=1)
    return _scaled_distance(mask)[edge]


def fit_boundary_band(
    distances: Sequence[np.ndarray], groups: Sequence[str], coverage: float
) -> tuple[float, float] | None:
    """Return how far inside and outside of an outline the true boundary may lie.

    Conformal risk control (Angelopoulos et al. 2024, arXiv:2208.02814) of the share of the boundary that lies
    farther in, and of that which lies farther out, half of what the coverage leaves for each.

    Args:
        distances: `boundary_distances` of each lesion image.
        groups: as for `fit_set_threshold`.
        coverage: share of the boundary that is to lie within, on average over lesions.

    Returns:
        (inner, outer), 0 or more, in equivalent radii; None where there are too few groups to tell.
    """
    votes = group_votes(groups)
    # A little more, for rounding.
    limit = (1 - coverage) / 2 * (votes.sum() + 1) - 1 + 1e-9

    def reach(side: int) -> float | None:
        beyond = np.array([[np.mean(side * values > far) for far in _GRID] for values in distances])
        good = np.flatnonzero(votes @ beyond <= limit)
        return float(_GRID[good[0]]) if len(good) else None

    inner, outer = reach(-1), reach(1)
    return None if inner is None or outer is None else (inner, outer)


def boundary_band(mask: np.ndarray, inner: float, outer: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the masks between whose outlines the boundary is stated to lie.

    Args:
        mask: bool (H, W), outlined.
        inner, outer: as fitted.

    Returns:
        Two bool (H, W): what lies deeper inside than `inner`, and what lies less far outside than `outer`.
    """
    if not mask.any():
        return np.zeros_like(mask), np.zeros_like(mask)
    distance = _scaled_distance(mask)
    return distance < -inner, distance <= outer


def group_votes(groups: Sequence[str]) -> np.ndarray:
    """Return one vote per group of N names, shared by its images: float (N,)."""
    _, index, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return 1 / counts[index]


def _scaled_distance(mask: np.ndarray) -> np.ndarray:
    """Return float (H, W): distance from the mask's outline in equivalent radii, negative inside."""
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    if mask.all():
        return np.full(mask.shape, -np.inf)
    outside, nearest = ndimage.distance_transform_edt(~mask, return_indices=True)
    # The border of the image is no outline: a lesion that it cuts is not taken to end there.
    inside = ndimage.distance_transform_edt(mask)
    radii = np.sqrt(ndimage.sum_labels(mask, labels, index=np.arange(1, count + 1)) / np.pi)
    lesion = labels[tuple(nearest)]
    return (outside - inside) / radii[lesion - 1]
