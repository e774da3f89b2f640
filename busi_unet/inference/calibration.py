"""Class probabilities that mean what they say.

Two questions with answers of their own: does the image show a lesion, and is the lesion malignant? Each is a
logistic regression (Platt 1999) on what the network says. The class head and the mask both tell of a lesion,
and the mask of an unknown scanner tells more.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit

from busi_unet.config import CLASS_NAMES, ClassCalibration

_NORMAL, _BENIGN, _MALIGNANT = (CLASS_NAMES.index(name) for name in ("normal", "benign", "malignant"))
# Keeps the fit finite where the classes can be told apart without error.
_PENALTY = 1e-3
_PEAK_SHARE = 0.005


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
    head, surest = _lesion_evidence(class_logits, peak)
    lesion = expit(calibration.lesion_head * head + calibration.lesion_map * surest + calibration.lesion_bias)
    malignant = expit(
        calibration.malignant_head * _malignant_evidence(class_logits) + calibration.malignant_bias
    )
    probabilities = np.empty(np.shape(class_logits))
    probabilities[..., _NORMAL] = 1 - lesion
    probabilities[..., _BENIGN] = lesion * (1 - malignant)
    probabilities[..., _MALIGNANT] = lesion * malignant
    return probabilities


def fit_calibration(
    class_logits: np.ndarray, peaks: np.ndarray, labels: np.ndarray, sources: np.ndarray
) -> ClassCalibration:
    """Fit `ClassCalibration` to images that the network was not trained on.

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
    head, surest = _lesion_evidence(class_logits, peaks)
    with_normals = np.isin(sources, [name for name in set(sources) if _shares(labels[sources == name])])
    fitted = {}
    if with_normals.any():
        weights = _fit_logistic(
            np.stack([head, surest], axis=1)[with_normals],
            labels[with_normals] != _NORMAL,
            sources[with_normals],
        )
        fitted |= dict(zip(("lesion_head", "lesion_map", "lesion_bias"), weights, strict=True))
    lesions = labels != _NORMAL
    if len(set(labels[lesions])) == 2:
        weights = _fit_logistic(
            _malignant_evidence(class_logits)[lesions, None], labels[lesions] == _MALIGNANT, sources[lesions]
        )
        fitted |= dict(zip(("malignant_head", "malignant_bias"), weights, strict=True))
    return ClassCalibration(**fitted)


def _shares(labels: np.ndarray) -> bool:
    """Return whether at least one in twenty images is normal, and not all are."""
    return bool(0.05 <= (labels == _NORMAL).mean() < 1)


def _lesion_evidence(class_logits: np.ndarray, peak: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits of a lesion as the head and as the mask has them."""
    logits = np.asarray(class_logits, dtype=np.float64)
    head = np.logaddexp(logits[..., _BENIGN], logits[..., _MALIGNANT]) - logits[..., _NORMAL]
    return head, logit(np.clip(peak, 1e-4, 1 - 1e-4))


def _malignant_evidence(class_logits: np.ndarray) -> np.ndarray:
    logits = np.asarray(class_logits, dtype=np.float64)
    return logits[..., _MALIGNANT] - logits[..., _BENIGN]


def _fit_logistic(evidence: np.ndarray, truth: np.ndarray, sources: np.ndarray) -> list[float]:
    """Return the weights of the columns of (N, D), none negative, and the bias of a logistic regression."""
    _, index, counts = np.unique(sources, return_inverse=True, return_counts=True)
    share = 1 / counts[index] / len(counts)
    signs = np.where(truth, 1.0, -1.0)

    def loss(weights: np.ndarray) -> float:
        score = evidence @ weights[:-1] + weights[-1]
        return float(-(share * log_expit(signs * score)).sum() + _PENALTY * (weights[:-1] ** 2).sum())

    start = np.append(np.full(evidence.shape[1], 1 / evidence.shape[1]), 0.0)
    bounds = [(0.0, None)] * evidence.shape[1] + [(None, None)]
    return [round(float(weight), 6) for weight in minimize(loss, start, bounds=bounds).x]
