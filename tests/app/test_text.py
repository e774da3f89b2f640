from dataclasses import replace

import numpy as np
import pytest
from fakes.predictions import make_prediction

from busi_unet.app import text
from busi_unet.app.text import describe_flag, details, explain, headline
from busi_unet.config import Calibration

ALERT = 0.1


def _mask(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((100, 200), dtype=bool)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


LESION = _mask((10, 50, 10, 30))


def test_probabilities_that_are_not_calibrated_are_not_passed_off_as_such():
    prediction = make_prediction(_mask(), "normal", calibrated=False)
    assert "not calibrated" in details(prediction, Calibration())


@pytest.mark.parametrize(("mask", "label"), [(LESION, "normal"), (_mask(), "malignant")])
def test_disagreement_of_mask_and_class_is_said(mask, label):
    assert "disagree" in details(make_prediction(mask, label), Calibration())


def test_a_flag_beside_another_class_names_probability_and_threshold():
    benign = make_prediction(
        LESION, "benign", flagged=True, probabilities={"benign": 0.86, "malignant": 0.14}
    )

    flag = describe_flag(benign, ALERT)
    assert "14\u00a0%" in flag and "10\u00a0%" in flag and explain(benign, ALERT) == [flag]
    assert flag in describe_flag(benign, ALERT, 75) and "about 75" in describe_flag(benign, ALERT, 75)
    assert describe_flag(replace(benign, refused=True), ALERT, 75) == flag, "not measured on such images"
    assert describe_flag(replace(benign, flagged=False), ALERT) == ""
    assert describe_flag(make_prediction(LESION, "malignant", flagged=True), ALERT) == ""


def test_a_refused_image_gets_the_reason_and_no_finding():
    refused = {"refused": True, "reasons": ("The image is blank.",)}
    none = replace(make_prediction(_mask(), "benign", **refused), label=None, probabilities=None)
    anyway = make_prediction(_mask(), "benign", **refused)

    assert headline(none) == text.NOT_ANALYSED and details(none, Calibration()) == ""
    assert explain(none, ALERT) == ["The image is blank.", text.REFUSED_HELP]
    assert explain(anyway, ALERT)[0] == f"{text.ANALYSED_ANYWAY}. The image is blank."
