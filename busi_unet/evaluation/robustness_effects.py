"""What a disturbance does to a network's answers, from a row per image before and after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from busi_unet.config import CLASS_NAMES
from busi_unet.evaluation import metrics
from busi_unet.evaluation.summary import Estimate, ImageResult, compare, estimate, summarise

FIGURES = (
    "accuracy",
    "auc_malignant",
    "malignant_sensitivity",
    "lesion_dice",
    "lesion_missed_share",
    "normal_false_mask_share",
)
"""Of `busi_unet.evaluation.summary.summarise`, those that are told before and after."""


@dataclass(frozen=True)
class Change:
    """A figure over the same images before and after, and the difference, taken image by image."""

    before: Estimate
    after: Estimate
    difference: Estimate


@dataclass(frozen=True)
class Effect:
    """What one disturbance does to the images that it applies to.

    Attributes:
        images: how many of each class.
        figures: by name, `FIGURES` and `refused_share`; none where there are no images.
        shifts: mean changes of probabilities, after less before: for each class `p_<class>`, and
            `p_<class>_abs`, of its absolute value; over the images of each class alone
            `p_malignant_on_<class>` and `p_lesion_on_<class>`, lesion being whatever is not normal. Then
            `class_changed`, the share of images with another likeliest class. None without images.
    """

    images: dict[str, int]
    figures: dict[str, Change]
    shifts: dict[str, Estimate]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Effect:
        """What `to_dict` gave; raises KeyError or TypeError for anything else."""
        return cls(
            images=dict(stored["images"]),
            figures={
                name: Change(**{part: Estimate(**value) for part, value in change.items()})
                for name, change in stored["figures"].items()
            },
            shifts={name: Estimate(**value) for name, value in stored["shifts"].items()},
        )


def effect_of(
    before: Sequence[ImageResult], after: Sequence[ImageResult], *, seed: int = 0, resamples: int = 2000
) -> Effect:
    """Compares two judgements of the same images, in the same order.

    Args:
        before: of the pictures as they are.
        after: of the disturbed ones.
        seed: of the bootstrap over groups.
        resamples: of the bootstrap.
    """
    images = {name: sum(row.label == name for row in before) for name in CLASS_NAMES}
    if not before:
        return Effect(images, {}, {})
    bootstrap = {"seed": seed, "resamples": resamples}
    first, second = (summarise(rows, names=FIGURES, **bootstrap) for rows in (before, after))
    difference = compare(before, after, names=FIGURES, **bootstrap)
    figures = {name: Change(first[name], second[name], difference[name]) for name in FIGURES}

    groups = [row.group for row in before]
    labels = np.array([row.label for row in before])
    everyone = np.ones(len(before), dtype=bool)

    def average(values: np.ndarray, among: np.ndarray = everyone) -> Estimate:
        used = np.where(among, values.astype(float), np.nan)
        return estimate(lambda weights: metrics.mean(used, weights), groups, int(among.sum()), **bootstrap)

    refused = [np.array([row.refused for row in rows]) for rows in (before, after)]
    figures["refused_share"] = Change(
        average(refused[0]), average(refused[1]), average(refused[1].astype(float) - refused[0])
    )
    shift = np.array([row.probabilities for row in after]) - np.array([row.probabilities for row in before])
    malignant, lesion = shift[:, CLASS_NAMES.index("malignant")], -shift[:, CLASS_NAMES.index("normal")]
    shifts = {f"p_{name}": average(shift[:, index]) for index, name in enumerate(CLASS_NAMES)}
    shifts |= {f"p_{name}_abs": average(np.abs(shift[:, index])) for index, name in enumerate(CLASS_NAMES)}
    shifts |= {f"p_malignant_on_{name}": average(malignant, labels == name) for name in CLASS_NAMES}
    shifts |= {f"p_lesion_on_{name}": average(lesion, labels == name) for name in CLASS_NAMES}
    shifts["class_changed"] = average(
        np.array(
            [
                first.predicted_label != second.predicted_label
                for first, second in zip(before, after, strict=True)
            ]
        )
    )
    return Effect(images, figures, shifts)
