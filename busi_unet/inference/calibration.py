"""Class probabilities that mean what they say, and statements that hold in a stated share of cases.

Probabilities: two questions with answers of their own, does the image show a lesion, and is the lesion
malignant? Each is a logistic regression (Platt 1999) on what the network says. The class head and the mask
both tell of a lesion, and the mask of an unknown scanner tells more.

Prediction set and boundary band: split-conformal prediction. Both hold for new images like those they are
fitted on: nearly so, as training chooses epoch, calibration and thresholds by the same images. Copies of one
image count as one case, since each says the same.

Everything is fitted on images that the network was not trained on.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit

from busi_unet.config import CLASS_NAMES, ClassCalibration
from busi_unet.imaging.regions import label_regions

_NORMAL, _BENIGN, _MALIGNANT = (CLASS_NAMES.index(name) for name in ("normal", "benign", "malignant"))
# Keeps the fit finite where the classes can be told apart without error.
_PENALTY = 1e-3
_PEAK_SHARE = 0.005
# Reaches of the boundary band that are tried, in equivalent radii.
_GRID = np.linspace(0, 3, 301)


def map_peak(probability: np.ndarray) -> float:
    """Return the mean of the highest 0.5 % of a lesion probability map (H, W)."""
    count = max(1, round(_PEAK_SHARE * probability.size))
    return float(np.partition(probability.ravel(), -count)[-count:].mean())


def calibrated_probabilities(
    class_logits: np.ndarray, peak: np.ndarray | float, calibration: ClassCalibration
) -> np.ndarray:
    """Return probabilities float64 (..., 3), in the order of `CLASS_NAMES`.

    With the default calibration they are the softmax of the logits.

    Args:
        class_logits: (..., 3).
        peak: (...), `map_peak` of each image.
        calibration: of the model.
    """
    head, mask = _lesion_logits(class_logits, peak)
    lesion = expit(calibration.lesion_head * head + calibration.lesion_map * mask + calibration.lesion_bias)
    malignant = expit(
        calibration.malignant_head * _malignant_logit(class_logits) + calibration.malignant_bias
    )
    probabilities = np.empty(np.shape(class_logits))
    probabilities[..., _NORMAL] = 1 - lesion
    probabilities[..., _BENIGN] = lesion * (1 - malignant)
    probabilities[..., _MALIGNANT] = lesion * malignant
    return probabilities


def fit_calibration(
    class_logits: np.ndarray, peaks: np.ndarray, labels: np.ndarray, sources: np.ndarray
) -> ClassCalibration:
    """Fit the class probabilities.

    Every source counts as much as any other. Whether there is a lesion is learned from the sources that have
    normal images: in the others every image has one, and the scanner would be taken for a sign of it.

    Args:
        class_logits: (N, 3).
        peaks: (N,), `map_peak`.
        labels: int (N,), the true classes.
        sources: (N,), names.

    Returns:
        The default for a question that the images cannot answer, because one of its answers is missing.
    """
    labels, sources = np.asarray(labels), np.asarray(sources)
    head, mask = _lesion_logits(class_logits, peaks)
    # At least one image in twenty is normal, and not all are.
    shares = {name: (labels[sources == name] == _NORMAL).mean() for name in set(sources)}
    with_normals = np.isin(sources, [name for name, share in shares.items() if 0.05 <= share < 1])
    fitted = {}
    if with_normals.any():
        weights = _fit_logistic(
            np.stack([head, mask], axis=1)[with_normals],
            labels[with_normals] != _NORMAL,
            sources[with_normals],
        )
        fitted |= dict(zip(("lesion_head", "lesion_map", "lesion_bias"), weights, strict=True))
    lesions = labels != _NORMAL
    if len(set(labels[lesions])) == 2:
        weights = _fit_logistic(
            _malignant_logit(class_logits)[lesions, None], labels[lesions] == _MALIGNANT, sources[lesions]
        )
        fitted |= dict(zip(("malignant_head", "malignant_bias"), weights, strict=True))
    return ClassCalibration(**fitted)


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
    """Return the classes of probabilities (C,) that cannot be excluded, likeliest first; never none."""
    order = np.argsort(-probabilities, kind="stable")
    return tuple(
        int(index) for place, index in enumerate(order) if place == 0 or probabilities[index] >= threshold
    )


def boundary_distances(mask: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return how far each boundary pixel of the target lies from the outline, negative inside.

    Args:
        mask: bool (H, W), outlined, not empty.
        target: bool (H, W), the reference, not empty.

    Returns:
        In equivalent radii (of the circle with the area) of the nearest lesion of the mask.
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
        beyond = np.array([_share_beyond(side * values) for values in distances])
        good = np.flatnonzero(votes @ beyond <= limit)
        return float(_GRID[good[0]]) if len(good) else None

    inner, outer = reach(-1), reach(1)
    return None if inner is None or outer is None else (inner, outer)


def boundary_band(mask: np.ndarray, inner: float, outer: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the masks, bool (H, W), between whose outlines the boundary is stated to lie.

    Args:
        mask: bool (H, W), outlined.
        inner, outer: as fitted.
    """
    if not mask.any():
        return np.zeros_like(mask), np.zeros_like(mask)
    distance = _scaled_distance(mask)
    return distance < -inner, distance <= outer


def group_votes(groups: Sequence[str]) -> np.ndarray:
    """Return one vote per group of N names, shared by its images: float (N,)."""
    _, index, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    return 1 / counts[index]


def _lesion_logits(class_logits: np.ndarray, peak: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    logits = np.asarray(class_logits, dtype=np.float64)
    head = np.logaddexp(logits[..., _BENIGN], logits[..., _MALIGNANT]) - logits[..., _NORMAL]
    return head, logit(np.clip(peak, 1e-4, 1 - 1e-4))


def _malignant_logit(class_logits: np.ndarray) -> np.ndarray:
    logits = np.asarray(class_logits, dtype=np.float64)
    return logits[..., _MALIGNANT] - logits[..., _BENIGN]


def _fit_logistic(logits: np.ndarray, truth: np.ndarray, sources: np.ndarray) -> list[float]:
    """Return the weights of the columns of (N, D), none negative, and the bias of a logistic regression."""
    _, index, counts = np.unique(sources, return_inverse=True, return_counts=True)
    share = 1 / counts[index] / len(counts)
    signs = np.where(truth, 1.0, -1.0)

    def loss(weights: np.ndarray) -> float:
        score = logits @ weights[:-1] + weights[-1]
        return float(-(share * log_expit(signs * score)).sum() + _PENALTY * (weights[:-1] ** 2).sum())

    start = np.append(np.full(logits.shape[1], 1 / logits.shape[1]), 0.0)
    bounds = [(0.0, None)] * logits.shape[1] + [(None, None)]
    return [round(float(weight), 6) for weight in minimize(loss, start, bounds=bounds).x]


def _share_beyond(values: np.ndarray) -> np.ndarray:
    """Return the share of values (N,) above each reach of the grid."""
    return (len(values) - np.searchsorted(np.sort(values), _GRID, side="right")) / len(values)


def _scaled_distance(mask: np.ndarray) -> np.ndarray:
    """Return float (H, W): distance from the mask's outline in equivalent radii, negative inside."""
    labels, count = label_regions(mask)
    if mask.all():
        return np.full(mask.shape, -np.inf)
    outside, nearest = ndimage.distance_transform_edt(~mask, return_indices=True)
    # The border of the image is no outline: a lesion that it cuts is not taken to end there.
    inside = ndimage.distance_transform_edt(mask)
    radii = np.sqrt(ndimage.sum_labels(mask, labels, index=np.arange(1, count + 1)) / np.pi)
    lesion = labels[tuple(nearest)]
    return (outside - inside) / radii[lesion - 1]
