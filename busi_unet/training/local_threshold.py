"""The threshold for flagging images of one's own hospital, from some dozens of them, and its reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from tqdm import tqdm

from busi_unet.config import CLASS_NAMES, ModelConfig
from busi_unet.data.prepared import UNKNOWN
from busi_unet.errors import UsageError
from busi_unet.evaluation.statistics import Bootstrap
from busi_unet.inference.predictor import Predictor
from busi_unet.io.decode import decode_image

_RESAMPLES, _LEVEL = 1000, 0.95
FEWEST = 5


@dataclass(frozen=True)
class LocalThreshold:
    """A threshold of the malignant probability, fitted to one hospital.

    Attributes:
        threshold: images at and above it are flagged.
        threshold_range: (low, high), where the thresholds of 95 % of the resamples lie.
        sensitivity, specificity: (mean, low, high) on the images that a resample leaves out.
        malignant, other: how many images it rests on.
    """

    threshold: float
    threshold_range: tuple[float, float]
    sensitivity: tuple[float, float, float]
    specificity: tuple[float, float, float]
    malignant: int
    other: int


def calibrate_to_hospital(
    predictor: Predictor, images: Sequence[Mapping[str, Any]], *, sensitivity: float = 0.95
) -> tuple[ModelConfig, LocalThreshold]:
    """Return the model's config with a threshold of one's own, and how reliable that is.

    Args:
        predictor: the model; it must not have seen the images.
        images: rows of a prepared data set, at least five of them malignant and five not; those without a
            class do not count.
        sensitivity: share of the malignant images to be flagged.

    Raises:
        UsageError: too few images of a kind.
    """
    rows = [row for row in images if row["label"] != UNKNOWN]
    malignant = np.array([row["label"] == CLASS_NAMES.index("malignant") for row in rows], dtype=bool)
    if min(malignant.sum(), (~malignant).sum()) < FEWEST:
        raise UsageError(
            f"There are {malignant.sum()} malignant and {(~malignant).sum()} other images; a threshold needs "
            f"{FEWEST} of each or more.",
            "Add labelled images.",
        )
    probability = np.array(
        [
            predictor.predict(decode_image(row["image"]), anyway=True).probabilities["malignant"]
            for row in tqdm(rows, "calibrate", unit="image")
        ]
    )
    found = fit_local_threshold(probability, malignant, [row["group"] for row in rows], sensitivity)
    config = predictor.config
    return replace(config, thresholds=replace(config.thresholds, malignant=found.threshold)), found


def fit_local_threshold(
    probability: np.ndarray, malignant: np.ndarray, groups: list[str], sensitivity: float
) -> LocalThreshold:
    """Return the highest threshold with the sensitivity, and what it does on images left out of the fit.

    Groups are drawn with replacement, a threshold is fitted to each draw, and its sensitivity and specificity
    are measured on the groups not drawn (out-of-bag bootstrap; Efron, JASA 78, 1983).

    Args:
        probability: (N,), of malignant.
        malignant: bool (N,).
        groups: N names; images of one group are copies, or of one patient.
        sensitivity: in (0, 1].
    """
    chosen, sensitivities, specificities = [], [], []
    for weights in Bootstrap(groups, resamples=_RESAMPLES).weights:
        drawn, out = weights * malignant, weights == 0
        if not drawn.any():
            continue
        chosen.append(threshold_for(probability, drawn, sensitivity))
        flagged = probability >= chosen[-1]
        if (out & malignant).any():
            sensitivities.append(flagged[out & malignant].mean())
        if (out & ~malignant).any():
            specificities.append(1 - flagged[out & ~malignant].mean())
    low, high = (1 - _LEVEL) / 2, (1 + _LEVEL) / 2
    return LocalThreshold(
        round(threshold_for(probability, malignant.astype(float), sensitivity), 4),
        tuple(float(value) for value in np.quantile(chosen, [low, high])),
        *(
            (float(np.mean(shares)), *(float(value) for value in np.quantile(shares, [low, high])))
            for shares in (sensitivities, specificities)
        ),
        malignant=int(malignant.sum()),
        other=int((~malignant).sum()),
    )


def threshold_for(probability: np.ndarray, weights: np.ndarray, sensitivity: float) -> float:
    """Return the highest threshold that the weighted share of images reaches."""
    order = np.argsort(-probability)
    reached = np.cumsum(weights[order]) >= sensitivity * weights.sum() - 1e-9
    return float(probability[order][np.argmax(reached)])
