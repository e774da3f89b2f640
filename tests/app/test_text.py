from dataclasses import replace

import numpy as np
import pytest

from busi_unet.app import text
from busi_unet.app.text import describe, describe_flag
from busi_unet.config import ModelConfig, Thresholds
from busi_unet.imaging.measure import measure_lesions
from busi_unet.inference.prediction import Prediction

ALERT = 0.1
CONFIG = ModelConfig(thresholds=Thresholds(malignant=ALERT))


def _prediction(
    mask: np.ndarray, label: str, spacing_mm: tuple[float, float] | None = None, **changes: object
) -> Prediction:
    others = {"normal": 0.1, "benign": 0.1, "malignant": 0.1}
    prediction = Prediction(
        image=np.full(mask.shape, 100, dtype=np.uint8),
        mask=mask,
        coarse_probability=mask.astype(np.float32),
        probabilities={**others, label: 0.8},
        label=label,
        refused=False,
        reasons=(),
        measurements=measure_lesions(mask, spacing_mm=spacing_mm),
        coarse_activation_map=np.zeros((2, 2), dtype=np.float32),
        calibrated=True,
    )
    return replace(prediction, **changes)


def _mask(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((100, 200), dtype=bool)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


LESION = _mask((10, 50, 10, 30))


def test_probabilities_that_are_not_calibrated_are_not_passed_off_as_such():
    assert "not calibrated" in describe(_prediction(_mask(), "normal", calibrated=False), CONFIG)


@pytest.mark.parametrize(("mask", "label"), [(LESION, "normal"), (_mask(), "malignant")])
def test_disagreement_of_mask_and_class_is_said(mask, label):
    assert "disagree" in describe(_prediction(mask, label), CONFIG)


def test_a_flag_beside_another_class_names_probability_and_threshold():
    benign = _prediction(LESION, "benign", flagged=True, probabilities={"benign": 0.86, "malignant": 0.14})

    flag = describe_flag(benign, ALERT)
    assert "14\u00a0%" in flag and "10\u00a0%" in flag and flag in describe(benign, CONFIG)
    assert flag in describe_flag(benign, ALERT, 75) and "about 75" in describe_flag(benign, ALERT, 75)
    assert describe_flag(replace(benign, flagged=False), ALERT) == ""
    assert describe_flag(_prediction(LESION, "malignant", flagged=True), ALERT) == ""


def test_a_refused_image_gets_the_reason_and_no_finding():
    refused = {"refused": True, "reasons": ("The image is blank.",)}
    none = replace(_prediction(_mask(), "benign", **refused), label=None, probabilities=None)
    anyway = _prediction(_mask(), "benign", **refused)

    assert describe(none, CONFIG) == f"**{text.NOT_ANALYSED}.** The image is blank. {text.REFUSED_HELP}"
    assert f"{text.ANALYSED_ANYWAY}. The image is blank." in describe(anyway, CONFIG)
