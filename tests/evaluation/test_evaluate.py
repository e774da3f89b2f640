"""Evaluation of a made-up predictor on a made-up split, with figures worked out by hand."""

from __future__ import annotations

import re

import pytest
from fakes.made_up import CASES, LEFT_HALF, SQUARE, MadeUpPredictor, box, make_split

from busi_unet.config import BoundaryBand
from busi_unet.errors import DataLayoutError, UsageError
from busi_unet.evaluation.evaluate import evaluate
from busi_unet.evaluation.report import to_markdown


@pytest.fixture(scope="module")
def evaluation():
    return evaluate(MadeUpPredictor(), make_split(), progress=False)


@pytest.mark.parametrize(
    ("name", "value", "n"),
    [
        ("lesion_dice", (1 + 2 / 3 + 0 + 1) / 4, 4),
        ("lesion_dice_median", (2 / 3 + 1) / 2, 4),
        ("lesion_iou", (1 + 1 / 2 + 0 + 1) / 4, 4),
        ("lesion_hd95_px", (0 + 4 + 50 + 0) / 4, 4),
        ("lesion_precision", 1, 3),
        ("lesion_recall", (1 + 1 / 2 + 0 + 1) / 4, 4),
        ("lesion_missed_share", 1 / 4, 4),
        ("lesion_empty_share", 1 / 4, 4),
        ("benign_dice", (1 + 2 / 3) / 2, 2),
        ("benign_missed_share", 0, 2),
        ("malignant_dice", 1 / 2, 2),
        ("malignant_hd95_px", 25, 2),
        ("malignant_precision", 1, 1),
        ("normal_false_mask_share", 1 / 2, 2),
        ("accuracy", 4 / 6, 6),
        ("macro_f1", (2 / 3 + 1 / 2 + 4 / 5) / 3, 6),
        # Malignancy scores 1/9 and 5/8 against 3/5 and 9/10: three of four pairs in order.
        ("auc_malignant", 3 / 4, 4),
        # Suspected above .1: both malignant ones and one of the four others.
        ("malignant_sensitivity", 1, 2),
        ("malignant_specificity", 3 / 4, 4),
        # Confidences .5 (wrong) and .48 (right) share a bin, the others have one each.
        ("ece", (0.2 + abs(0.52 - 0.5) + 0.1 + 0.6 + 0.3) / 6, 6),
    ],
)
def test_figures_by_hand(evaluation, name, value, n):
    estimate = evaluation.estimates[name]
    assert estimate.value == pytest.approx(value)
    assert estimate.n == n
    if estimate.ci_low is not None:
        assert estimate.ci_low <= value <= estimate.ci_high


def test_counts(evaluation):
    assert evaluation.confusion == ((1, 1, 0), (0, 1, 1), (0, 0, 2))
    counts = {name: each.count for name, each in evaluation.estimates.items() if each.count is not None}
    assert counts == {
        "lesion_missed_share": 1,
        "lesion_empty_share": 1,
        "benign_missed_share": 0,
        "benign_empty_share": 0,
        "malignant_missed_share": 1,
        "malignant_empty_share": 1,
        "normal_false_mask_share": 1,
        "accuracy": 4,
        "malignant_sensitivity": 2,
        "malignant_specificity": 3,
    }
    assert evaluation.summary["images"] == {"normal": 2, "benign": 2, "malignant": 2}
    assert evaluation.summary["groups"] == 5


def test_sets_and_bands_are_judged_where_they_are_stated(evaluation):
    for name in (
        "set_coverage",
        "set_coverage_by_group",
        "set_size",
        "boundary_coverage",
        "boundary_coverage_by_group",
    ):
        absent = evaluation.estimates[name]
        assert (absent.value, absent.n, absent.count) == (None, 0, None)

    predictor = MadeUpPredictor()
    for answer, stated in zip(
        predictor.answers.values(),
        [("benign",), ("malignant", "benign"), ("benign",), ("malignant",), ("benign",), ("normal",)],
        strict=True,
    ):
        answer.prediction_set = stated
        answer.boundary_band = BoundaryBand(coverage=0.9, inner=0.35, outer=0.35)
    estimates = evaluate(predictor, make_split(), progress=False).estimates
    assert estimates["set_coverage"].count == 4
    assert estimates["set_size"].value == pytest.approx(7 / 6)
    # Two outlines are the lesion's own; the third, a half of it, misses the other half's edge.
    assert estimates["boundary_coverage"].n == 3
    assert 2 / 3 < estimates["boundary_coverage"].value < 0.9


def test_missing_a_lesion_is_counted_even_where_a_sliver_was_drawn():
    sliver = box(11, 11, 13, 13)  # One pixel in common with the square: Dice 2 / 68.
    cases = (("benign (1)", "a", SQUARE, sliver, *CASES[0][4:]), *CASES[1:])
    predictor = MadeUpPredictor(cases)
    for answer in predictor.answers.values():
        answer.boundary_band = BoundaryBand(coverage=0.9, inner=0.35, outer=0.35)
    estimates = evaluate(predictor, make_split(cases), progress=False).estimates
    assert (estimates["benign_missed_share"].count, estimates["benign_empty_share"].count) == (1, 0)
    assert estimates["boundary_coverage"].n == 2, "where the lesion was missed, no edge was stated"


def test_interval_comes_from_whole_groups(evaluation):
    # Group a holds all benign images: every resample that has any has both, so their mean never varies.
    estimate = evaluation.estimates["benign_dice"]
    assert (estimate.ci_low, estimate.ci_high) == (None, None)
    apart = tuple((*case[:1], str(index), *case[2:]) for index, case in enumerate(CASES))
    estimate = evaluate(MadeUpPredictor(apart), make_split(apart), progress=False).estimates["benign_dice"]
    assert (estimate.ci_low, estimate.ci_high) == pytest.approx((2 / 3, 1))
    # Both benign images are absent from (4/6)^6 of the resamples.
    assert estimate.undefined_resamples / 2000 == pytest.approx((4 / 6) ** 6, abs=0.02)


def test_auc_interval_by_hand(evaluation):
    # Group a holds both benign images, b and c one malignant each: b ranks half its pairs right, c all.
    estimate = evaluation.estimates["auc_malignant"]
    assert (estimate.ci_low, estimate.ci_high) == (0.5, 1)
    undefined = 0.8**5 + 0.6**5 - 0.4**5  # without a, or without both b and c
    assert estimate.undefined_resamples / 2000 == pytest.approx(undefined, abs=0.03)


@pytest.mark.parametrize(
    "names",
    [
        ("normal (1)", "normal (2)"),
        ("benign (1)", "benign (2)"),
        ("malignant (1)", "malignant (2)"),
        ("benign (1)",),
        ("normal (1)",),
        ("benign (1)", "malignant (2)"),
        ("normal (1)", "benign (1)"),
    ],
    ids=" ".join,
)
def test_what_the_classes_at_hand_do_not_define_is_absent(names):
    cases = [case for case in CASES if case[0] in names]
    evaluation = evaluate(MadeUpPredictor(cases), make_split(cases), progress=False)
    present = {name.split()[0] for name in names}
    tumours = present & {"benign", "malignant"}

    def defined(figure):
        if figure in ("accuracy", "ece"):
            return True
        if figure.startswith(("set_", "boundary_")):
            return False  # This predictor states neither.
        needed = {
            "macro_f1": len(present) == 3,
            "auc_malignant": len(tumours) == 2,
            "malignant_sensitivity": "malignant" in present,
            "malignant_specificity": present != {"malignant"},
            "normal_false_mask_share": "normal" in present,
        }
        kind = figure.split("_")[0]
        return needed.get(figure, bool(tumours) if kind == "lesion" else kind in present)

    for figure, estimate in evaluation.estimates.items():
        assert (estimate.value is not None) == defined(figure), figure
        if not defined(figure):
            assert str(estimate) == "undefined"
            assert (estimate.count, estimate.ci_low, estimate.ci_high) == (None, None, None)
    if len({case[1] for case in cases}) == 1:
        assert all(estimate.ci_low is None for estimate in evaluation.estimates.values()), "one group"
    assert not re.search(r"\bnan\b", to_markdown(evaluation))


def test_refusing_changes_no_figure(evaluation):
    refusing = evaluate(MadeUpPredictor(refused=["malignant (1)"]), make_split(), progress=False)
    assert refusing.summary["refused"] == 1
    assert refusing.estimates == evaluation.estimates


def test_fingerprint_follows_the_content_of_the_data(evaluation):
    def fingerprint(cases):
        return evaluate(MadeUpPredictor(cases), make_split(cases), progress=False).provenance["data_sha256"]

    assert fingerprint(CASES) == evaluation.provenance["data_sha256"]
    other_mask = (("benign (1)", "a", LEFT_HALF, *CASES[0][3:]), *CASES[1:])
    other_group = (("benign (1)", "z", *CASES[0][2:]), *CASES[1:])
    assert len({fingerprint(cases) for cases in (CASES, other_mask, other_group, CASES[1:])}) == 4


def test_progress_goes_to_stderr(capsys):
    evaluate(MadeUpPredictor(), make_split())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "6/6" in captured.err


class TestUnusableInput:
    def test_mask_of_another_size_names_the_image(self):
        cases = (("benign (1)", "a", SQUARE, SQUARE.T, *CASES[0][4:]), *CASES[1:])
        with pytest.raises(UsageError, match=r"benign \(1\): The predicted mask is \(40, 30\)"):
            evaluate(MadeUpPredictor(cases), make_split(cases), progress=False)

    def test_reference_of_another_size_names_the_image(self):
        cases = (("benign (1)", "a", SQUARE.T, *CASES[0][3:]), *CASES[1:])
        with pytest.raises(DataLayoutError, match=r"benign \(1\): image \(30, 40\) and mask \(40, 30\)"):
            evaluate(MadeUpPredictor(), make_split(cases), progress=False)

    def test_unknown_class_names_the_image(self):
        cases = ((*CASES[0][:4], "cyst", CASES[0][5]), *CASES[1:])
        with pytest.raises(UsageError, match=r"benign \(1\).*'cyst'"):
            evaluate(MadeUpPredictor(cases), make_split(cases), progress=False)

    def test_missing_columns_are_listed(self):
        split = make_split().remove_columns(["mask", "group"])
        with pytest.raises(DataLayoutError, match=r"column mask is missing\n.*column group is missing"):
            evaluate(MadeUpPredictor(), split, progress=False)

    def test_empty_split(self):
        with pytest.raises(DataLayoutError, match="no images"):
            evaluate(MadeUpPredictor(), make_split().select([]), progress=False)
