"""Class probabilities that mean what they say."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax


def calibrated_probabilities(class_logits: np.ndarray, temperature: float) -> np.ndarray:
    """Class logits (..., C) to probabilities float64 (..., C): a softmax at the given temperature."""
    return softmax(np.asarray(class_logits, dtype=np.float64) / temperature, axis=-1)


def fit_temperature(class_logits: np.ndarray, labels: np.ndarray) -> float:
    """Temperature scaling (Guo et al. 2017, arXiv:1706.04599).

    Args:
        class_logits: (N, C) of images that the network was not trained on.
        labels: int (N,), the true classes.

    Returns:
        The temperature between 0.05 and 20 with the smallest negative log-likelihood.
    """
    logits = np.asarray(class_logits, dtype=np.float64)
    rows = np.arange(len(labels))

    def negative_log_likelihood(log_temperature: float) -> float:
        return -log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels].mean()

    best = minimize_scalar(negative_log_likelihood, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(best.x))
