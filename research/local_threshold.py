"""Prints how many images of a hospital a threshold of its own needs: a Markdown table.

    python research/local_threshold.py reports/without_*/per_image.csv

From the answers of a model that has not seen a hospital, some images of it are drawn again and again, a
threshold is fitted to them, and measured on the others.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from busi_unet.config import Thresholds
from busi_unet.evaluation.report import table
from busi_unet.training.local_threshold import FEWEST, threshold_for

_COUNTS, _DRAWS, _SENSITIVITY = (20, 50, 100, 200), 500, 0.95


def main(files: Sequence[str]) -> None:
    rows = []
    for file in files:
        with Path(file).open(encoding="utf-8", newline="") as stream:
            images = list(csv.DictReader(stream))
        probability = np.array([float(image["p_malignant"] or 0) for image in images])
        malignant = np.array([image["label"] == "malignant" for image in images])
        flagged = probability >= Thresholds().malignant
        rows.append(
            [
                images[0]["source"],
                "none: the 10 % of the model",
                f"{flagged[malignant].mean():.3f}",
                f"{1 - flagged[~malignant].mean():.3f}",
            ]
        )
        generator = np.random.default_rng(0)
        for count in _COUNTS:
            found = [_draw(probability, malignant, count, generator) for _ in range(_DRAWS)]
            low, middle, high = np.quantile(found, [0.05, 0.5, 0.95], axis=0)
            cells = [f"{m:.3f} ({a:.3f} to {b:.3f})" for a, m, b in zip(low, middle, high, strict=True)]
            rows.append([images[0]["source"], f"{count}", *cells])
    print(table(["hospital", "images", "sensitivity", "specificity"], rows))


def _draw(
    probability: np.ndarray, malignant: np.ndarray, count: int, generator: np.random.Generator
) -> tuple[float, float]:
    """Return the sensitivity and specificity of a threshold fitted to so many images, on the others."""
    while True:
        drawn = np.isin(np.arange(len(malignant)), generator.permutation(len(malignant))[:count])
        if (malignant & drawn).sum() >= FEWEST:
            break
    threshold = threshold_for(probability, (malignant & drawn).astype(float), _SENSITIVITY)
    flagged = probability >= threshold
    return flagged[malignant & ~drawn].mean(), 1 - flagged[~malignant & ~drawn].mean()


if __name__ == "__main__":
    main(sys.argv[1:])
