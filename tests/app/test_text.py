from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from busi_unet.app import text
from busi_unet.app.text import describe, describe_agreement, describe_flag, describe_set, headline
from busi_unet.config import Calibration, ModelConfig, PredictionSets, Thresholds
from busi_unet.imaging.agreement import compare_masks
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


def test_the_class_comes_before_the_geometry() -> None:
    words = describe(_prediction(LESION, "benign"), CONFIG)

    assert words.startswith("**Benign (80\u00a0%) · 1 lesion, 45\u00a0×\u00a022\u00a0px.**")
    for value in ("800 px", "4.0\u00a0%", " taller than wide", "20 × 40 px"):
        assert value in words
    assert "disagree" not in words and "calibrated" not in words


def test_a_known_pixel_size_gives_millimetres() -> None:
    words = describe(_prediction(LESION, "benign", spacing_mm=(0.1, 0.2)), CONFIG)

    assert "16.0 mm²" in words and "4.0 × 4.0 mm" in words and " px" not in words


def test_of_several_lesions_the_largest_is_described() -> None:
    words = describe(_prediction(_mask((0, 10, 0, 10), (50, 80, 50, 90)), "malignant"), CONFIG)

    assert "2 lesions, the largest 50\u00a0×\u00a0" in words and "1,200 px" in words


def test_probabilities_that_are_not_calibrated_are_not_passed_off_as_such() -> None:
    assert "not calibrated" in describe(_prediction(_mask(), "normal", calibrated=False), CONFIG)


@pytest.mark.parametrize(("mask", "label"), [(LESION, "normal"), (_mask(), "malignant")])
def test_disagreement_of_mask_and_class_is_said(mask: np.ndarray, label: str) -> None:
    assert "disagree" in describe(_prediction(mask, label), CONFIG)


def test_a_flag_beside_another_class_names_probability_and_threshold() -> None:
    benign = _prediction(LESION, "benign", flagged=True, probabilities={"benign": 0.86, "malignant": 0.14})

    flag = describe_flag(benign, ALERT)
    assert "14\u00a0%" in flag and "10\u00a0%" in flag and flag in describe(benign, CONFIG)
    assert flag in describe_flag(benign, ALERT, 75) and "about 75" in describe_flag(benign, ALERT, 75)
    assert describe_flag(replace(benign, flagged=False), ALERT) == ""
    assert describe_flag(_prediction(LESION, "malignant", flagged=True), ALERT) == ""


@pytest.mark.parametrize(("label", "flag"), [("normal", ", but flagged"), ("malignant", ", flagged")])
def test_class_and_flag_are_one_headline(label: str, flag: str) -> None:
    words = headline(_prediction(_mask(), label, flagged=True))

    assert words == f"{label.capitalize()} (80\u00a0%){flag} · no lesion outlined"


def test_a_prediction_set_says_what_was_measured_elsewhere() -> None:
    prediction = _prediction(LESION, "benign", prediction_set=("benign", "malignant"), coverage=0.9)
    sets = PredictionSets(coverage=0.9, threshold=0.1, elsewhere={"breast": 0.838})
    measured, stated = (
        describe_set(prediction, Calibration(prediction_sets=each))
        for each in (sets, replace(sets, elsewhere={}))
    )

    assert "benign, malignant." in stated and "90 of 100" in stated
    assert "90 of 100" in measured and "84 of 100 in BrEaST" in measured
    assert describe_set(_prediction(_mask(), "benign"), Calibration()) == ""


def test_a_refused_image_gets_the_reason_and_no_finding() -> None:
    refused = {"refused": True, "reasons": ("The image is blank.",)}
    none = replace(_prediction(_mask(), "benign", **refused), label=None, probabilities=None)
    anyway = _prediction(_mask(), "benign", **refused)

    assert describe(none, CONFIG) == f"**{text.NOT_ANALYSED}.** The image is blank. {text.REFUSED_HELP}"
    assert f"{text.ANALYSED_ANYWAY}. The image is blank." in describe(anyway, CONFIG)


def test_agreement_with_a_reference() -> None:
    words = describe_agreement(
        compare_masks(_mask((0, 10, 0, 10)), _mask((0, 10, 0, 5)), spacing_mm=(0.1, 0.1))
    )

    metrics, areas = words.split("\n\n")
    assert metrics.startswith("Dice **0.667**, IoU **0.500**, HD95 **") and metrics.endswith(" mm)")
    assert "100 px" in areas and "50 px" in areas
