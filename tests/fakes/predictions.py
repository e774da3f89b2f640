"""A prediction without a network."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from busi_unet.imaging.measure import measure_lesions
from busi_unet.inference.prediction import Prediction
from busi_unet.io.scale import Spacing

LESION = np.zeros((60, 100), dtype=bool)
LESION[20:40, 30:70] = True


def make_prediction(
    mask: np.ndarray = LESION, label: str = "benign", *, spacing_mm: Spacing | None = None, **changes: Any
) -> Prediction:
    """Return a calibrated prediction of this mask on a grey image, in which this class has 80 %."""
    prediction = Prediction(
        image=np.full(mask.shape, 100, dtype=np.uint8),
        mask=mask,
        coarse_probability=np.where(mask, 0.9, 0.2).astype(np.float32),
        probabilities={"normal": 0.1, "benign": 0.1, "malignant": 0.1, label: 0.8},
        label=label,
        refused=False,
        reasons=(),
        measurements=measure_lesions(mask, spacing_mm=spacing_mm),
        coarse_activation_map=np.linspace(-1, 1, 4, dtype=np.float32).reshape(2, 2),
        calibrated=True,
    )
    return replace(prediction, **changes)
