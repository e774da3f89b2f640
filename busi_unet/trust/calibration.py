"""Class probabilities that mean what they say."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax


def calibrated_probabilities(class_logits: np.ndarray, temperature: float) -> np.ndarray:
    """Class logits (..., C) to probabilities float64 (..., C): a softmax at the given temperature."""
    return softmax(np.asarray(class_logits, dtype=np.float64) / temperature, axis=-1)


def fit_temperature(class_logits: np.ndarray, labels: np.ndarray, votes: np.ndarray) -> float:
    """Temperature scaling (Guo et al. 2017, arXiv:1706.04599).

    Args:
        class_logits: (N, C) of images that the network was not trained on.
        labels: int (N,), the true classes.
        votes: (N,), what each image counts.

    Returns:
        The temperature between 0.05 and 20 with the smallest mean negative log-likelihood.
    """
    logits = np.asarray(class_logits, dtype=np.float64)
    rows = np.arange(len(labels))

    def negative_log_likelihood(log_temperature: float) -> float:
        log_likelihoods = log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels]
        return -np.average(log_likelihoods, weights=votes)

    best = minimize_scalar(negative_log_likelihood, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(best.x))
