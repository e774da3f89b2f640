from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from busi_unet.app.wording import describe, describe_agreement, describe_set
from busi_unet.imaging.agreement import compare_masks
from busi_unet.imaging.measure import measure_lesions
from busi_unet.inference.prediction import Prediction


def _prediction(
    mask: np.ndarray,
    label: str,
    reasons: tuple[str, ...] = (),
    spacing_mm: tuple[float, float] | None = None,
) -> Prediction:
    others = {"normal": 0.1, "benign": 0.1, "malignant": 0.1}
    return Prediction(
        image=np.full(mask.shape, 100, dtype=np.uint8),
        mask=mask,
        probability=mask.astype(np.float32),
        probabilities={**others, label: 0.8},
        label=label,
        refused=bool(reasons),
        reasons=reasons,
        measurements=measure_lesions(mask, spacing_mm=spacing_mm),
        coarse_activation_map=np.zeros((2, 2), dtype=np.float32),
        calibrated=True,
    )


def _mask(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    mask = np.zeros((100, 200), dtype=bool)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


def test_normal() -> None:
    assert (
        describe(_prediction(_mask(), "normal"))
        == "**No lesion outlined.** Most probable class: normal (80%)."
    )


@pytest.mark.parametrize(
    ("box", "shape"),
    [
        ((10, 50, 10, 30), "is taller than wide (20 × 40 px), and its longest diameter is 45 px."),
        ((10, 30, 10, 50), "is not taller than wide (40 × 20 px), and its longest diameter is 45 px."),
    ],
)
def test_one_lesion(box: tuple[int, int, int, int], shape: str) -> None:
    words = describe(_prediction(_mask(box), "benign"))

    assert words.startswith("**One lesion outlined.** It covers 800 px, 4.0% of the picture")
    assert shape in words
    assert "benign (80%)" in words
    assert "disagree" not in words


def test_probabilities_that_are_not_calibrated_are_not_passed_off_as_such() -> None:
    calibrated = _prediction(_mask(), "normal")
    assert "not calibrated" not in describe(calibrated)
    assert "The probabilities are not calibrated" in describe(replace(calibrated, calibrated=False))


def test_a_known_pixel_size_gives_millimetres() -> None:
    words = describe(_prediction(_mask((10, 50, 10, 30)), "benign", spacing_mm=(0.1, 0.2)))

    assert "covers 16.0 mm², 4.0% of the picture" in words
    assert "(4.0 × 4.0 mm)" in words
    assert " px" not in words


def test_of_several_lesions_the_largest_is_described() -> None:
    words = describe(_prediction(_mask((0, 10, 0, 10), (50, 80, 50, 90)), "malignant"))

    assert words.startswith("**Two lesions outlined.** The largest covers 1,200 px")


@pytest.mark.parametrize(("mask", "label"), [(_mask((10, 30, 10, 30)), "normal"), (_mask(), "malignant")])
def test_disagreement_of_outline_and_class_is_said(mask: np.ndarray, label: str) -> None:
    assert "disagree" in describe(_prediction(mask, label))


def test_refusal_gives_the_reasons_and_no_finding() -> None:
    words = describe(_prediction(_mask(), "benign", ("The picture is blank.", "And small.")))

    assert words == "**Not analysed.** The picture is blank. And small."


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("benign",), "At 90% confidence, only benign is left."),
        (("benign", "malignant"), "Benign or malignant cannot be told apart at 90% confidence."),
        (("benign", "malignant", "normal"), "At 90% confidence, no class can be excluded."),
    ],
)
def test_the_prediction_set_in_words(names: tuple[str, ...], sentence: str) -> None:
    prediction = replace(_prediction(_mask(), "benign"), prediction_set=names, coverage=0.9)

    assert describe_set(prediction) == sentence
    assert sentence in describe(prediction)


def test_weights_that_state_no_set() -> None:
    assert describe_set(_prediction(_mask(), "benign")) == ""


def test_a_refused_image_told_all_the_same() -> None:
    words = describe(_prediction(_mask(), "benign", ("The picture is blank.",)), anyway=True)

    assert words.startswith("**Analysed all the same, not to be trusted.** The picture is blank.")
    assert "benign (80%)" in words


def test_agreement_with_a_reference() -> None:
    words = describe_agreement(
        compare_masks(_mask((0, 10, 0, 10)), _mask((0, 10, 0, 5)), spacing_mm=(0.1, 0.1))
    )

    figures, areas = words.split("\n\n")
    assert figures.startswith("Dice **0.667**, IoU **0.500**, HD95 **") and figures.endswith(" mm)")
    assert areas == "Outlined: 100 px; in the reference: 50 px."


def test_a_suspicion_beside_another_class_is_told() -> None:
    benign = _prediction(_mask((10, 30, 10, 50)), "benign")
    assert "flagged" not in describe(benign)
    assert (
        "Malignancy is suspected all the same: its probability (10%) reaches the level from which it is, as "
        "that of many benign lesions does."
    ) in describe(replace(benign, flagged=True))
    excluded = replace(benign, flagged=True, prediction_set=("benign",), coverage=0.9)
    assert "That level is lower than the one from which a class stays" in describe(excluded)
    kept = replace(excluded, prediction_set=("benign", "malignant"))
    assert "That level is lower" not in describe(kept)
    malignant = replace(_prediction(_mask((10, 30, 10, 50)), "malignant"), flagged=True)
    assert "flagged" not in describe(malignant)
