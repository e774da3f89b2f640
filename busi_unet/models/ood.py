"""Out of distribution: how unlike an image is to those the network was trained on.

The encoder's second coarsest map, averaged over the image, is compared with a probabilistic PCA (Tipping &
Bishop 1999) of the same averages over the training images. Photos, documents and other modalities lie
outside; ultrasound of another organ does not. Measured in docs/results.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_COMPONENTS = 32
_SPLITS = 5
# The most unusual of 100 unseen images of the same kind is let through with this to spare, for the sake of
# other scanners; more would let other modalities through.
_QUANTILE, _MARGIN = 0.99, 1.4
# Fewer tell nothing about what is usual.
_MIN_IMAGES = 100


@dataclass(frozen=True)
class OodDetector:
    """A distribution of pooled encoder features; float32 arrays, saved beside the weights.

    Attributes:
        mean, scale: (D,), of the features; distances are measured in units of `scale`.
        components: (K, D), orthonormal directions in which the images differ most.
        variances: (K,), along them.
        residual: (1,), the variance in each of the other directions.
    """

    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray
    variances: np.ndarray
    residual: np.ndarray

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Return the distance (...) of pooled features (..., D): about 1 for a usual image."""
        deviation = (features - self.mean) / self.scale
        along = deviation @ self.components.T
        across = ((deviation - along @ self.components) ** 2).sum(axis=-1)
        total = (along**2 / self.variances).sum(axis=-1) + across / self.residual[0]
        return np.sqrt(total / self.mean.size)


def ood_shapes(features: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array of a detector on D features, by name."""
    return {
        "mean": (features,),
        "scale": (features,),
        "components": (_components(features), features),
        "variances": (_components(features),),
        "residual": (1,),
    }


def fit_ood(features: np.ndarray, groups: Sequence[str]) -> tuple[OodDetector, float] | None:
    """Fit a detector, and the distance above which an image is refused.

    The threshold comes from the distances of images held out of the fit; copies of an image (one group) are
    held out together.

    Args:
        features: (N, D), pooled, of the images the network was trained on or selected by.
        groups: N names.

    Returns:
        None where there are too few images to tell.
    """
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    if len(features) < _MIN_IMAGES or len(names) < _SPLITS:
        return None
    split = (np.random.default_rng(0).permutation(len(names)) % _SPLITS)[index]
    distances = np.empty(len(features))
    for held_out in range(_SPLITS):
        others = _fit(features[split != held_out])
        distances[split == held_out] = others.distance(features[split == held_out])
    return _fit(features), float(_MARGIN * np.quantile(distances, _QUANTILE))


def _fit(features: np.ndarray) -> OodDetector:
    mean, scale = features.mean(axis=0), features.std(axis=0) + 1e-6
    _, singular, directions = np.linalg.svd((features - mean) / scale, full_matrices=False)
    variances = singular**2 / (len(features) - 1)
    kept = _components(features.shape[1])
    residual = variances[kept:].sum() / (features.shape[1] - kept)
    arrays = (mean, scale, directions[:kept], variances[:kept], np.array([residual + 1e-6]))
    return OodDetector(*(array.astype(np.float32) for array in arrays))


def _components(features: int) -> int:
    """Return in how many directions images differ most, of so many features."""
    return min(_COMPONENTS, features // 2)
