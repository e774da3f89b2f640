"""Out of distribution: how unlike an image is to those the network was trained on.

The encoder's second coarsest map, averaged over the image, is compared with a probabilistic PCA (Tipping &
Bishop 1999) of the same averages over the training images. Ultrasound of another organ lies inside: a
logistic regression against images of other kinds tells it apart. Measured in docs/results.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, log_expit

_COMPONENTS = 32
_SPLITS = 5
# The most unusual of 100 unseen images of the same kind is let through with this to spare, for the sake of
# other scanners; more would let other modalities through.
_QUANTILE, _MARGIN = 0.99, 1.4
# Fewer tell nothing about what is usual.
_MIN_IMAGES = 100
# Of the logistic regression, which has as many weights as there are images of other kinds.
_PENALTY = 0.02


@dataclass(frozen=True)
class OodDetector:
    """A distribution of pooled encoder features; float32 arrays, saved beside the weights.

    Attributes:
        mean, scale: (D,), of the features; distances are measured in units of `scale`.
        components: (K, D), orthonormal directions in which the images differ most.
        variances: (K,), along them.
        residual: (1,), the variance in each of the other directions.
        other, other_bias: (D,) and (1,), weights and bias of the logit of an image of another kind; 0 where
            the detector was fitted without any.
    """

    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray
    variances: np.ndarray
    residual: np.ndarray
    other: np.ndarray
    other_bias: np.ndarray

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Return the distance (...) of pooled features (..., D): about 1 for a usual image.

        An image that is more likely of another kind is as much farther away as its logit says.
        """
        deviation = (features - self.mean) / self.scale
        along = deviation @ self.components.T
        across = ((deviation - along @ self.components) ** 2).sum(axis=-1)
        total = (along**2 / self.variances).sum(axis=-1) + across / self.residual[0]
        logit = deviation @ self.other + self.other_bias[0]
        return np.sqrt(total / self.mean.size) + np.maximum(logit, 0)


def ood_shapes(features: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array of a detector on D features, by name."""
    return {
        "mean": (features,),
        "scale": (features,),
        "components": (_components(features), features),
        "variances": (_components(features),),
        "residual": (1,),
        "other": (features,),
        "other_bias": (1,),
    }


def fit_ood(
    features: np.ndarray, groups: Sequence[str], others: Mapping[str, np.ndarray] | None = None
) -> tuple[OodDetector, float] | None:
    """Fit a detector, and the distance above which an image is refused; None where there are too few images.

    The threshold comes from the distances of images held out of the fit; copies of an image (one group) are
    held out together.

    Args:
        features: (N, D), pooled, of the images the network was trained on or selected by.
        groups: N names.
        others: (M, D) by the name of a kind, of images to refuse; every kind counts as much as any other.
    """
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    if len(features) < _MIN_IMAGES or len(names) < _SPLITS:
        return None
    split = (np.random.default_rng(0).permutation(len(names)) % _SPLITS)[index]
    distances = np.empty(len(features))
    for held_out in range(_SPLITS):
        detector = _fit(features[split != held_out], others or {})
        distances[split == held_out] = detector.distance(features[split == held_out])
    return _fit(features, others or {}), float(_MARGIN * np.quantile(distances, _QUANTILE))


def _fit(features: np.ndarray, others: Mapping[str, np.ndarray]) -> OodDetector:
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    _, singular, directions = np.linalg.svd((features - mean) / scale, full_matrices=False)
    variances = singular**2 / (len(features) - 1)
    kept = _components(features.shape[1])
    residual = variances[kept:].sum() / (features.shape[1] - kept)
    weights = np.zeros(features.shape[1] + 1)
    if others:
        weights = _fit_others((features - mean) / scale, [(kind - mean) / scale for kind in others.values()])
    arrays = (mean, scale, directions[:kept], variances[:kept], np.array([residual + 1e-6]))
    arrays += (weights[:-1], weights[-1:])
    return OodDetector(*(array.astype(np.float32) for array in arrays))


def _fit_others(usual: np.ndarray, others: Sequence[np.ndarray]) -> np.ndarray:
    """Return weights and bias (D + 1,) of a logistic regression; both sides count the same."""
    evidence = np.concatenate([usual, *others])
    evidence = np.column_stack([evidence, np.ones(len(evidence))])
    signs = np.repeat([-1.0, 1.0], [len(usual), len(evidence) - len(usual)])
    sizes = [len(usual), *map(len, others)]
    share = np.repeat(np.array([1.0] + [1 / len(others)] * len(others)) / 2 / sizes, sizes)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        score, free = signs * (evidence @ weights), np.append(weights[:-1], 0.0)
        slope = -(share * signs * expit(-score)) @ evidence + 2 * _PENALTY * free
        return float(-(share * log_expit(score)).sum() + _PENALTY * free @ free), slope

    return minimize(loss, np.zeros(evidence.shape[1]), jac=True).x


def _components(features: int) -> int:
    """Return in how many directions images differ most, of so many features."""
    return min(_COMPONENTS, features // 2)
