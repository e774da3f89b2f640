"""Evaluation of a made-up predictor on a made-up split, with metrics worked out by hand."""

import pytest
from fakes.made_up import CASES, LEFT_HALF, SQUARE, MadeUpPredictor, box, make_split

from busi_unet.config import BoundaryBand
from busi_unet.errors import UsageError
from busi_unet.evaluation.evaluate import evaluate
from busi_unet.evaluation.plots import lesion_threshold_curve
from busi_unet.evaluation.rows import Table


@pytest.fixture(scope="module")
def evaluation():
    return evaluate(MadeUpPredictor(), make_split())


@pytest.mark.parametrize(
    ("name", "value", "n", "count"),
    [
        ("lesion_dice", (1 + 2 / 3 + 0 + 1) / 4, 4, None),
        ("lesion_dice_median", (2 / 3 + 1) / 2, 4, None),
        ("lesion_iou", (1 + 1 / 2 + 0 + 1) / 4, 4, None),
        ("lesion_hd95_px", (0 + 4 + 50 + 0) / 4, 4, None),
        ("lesion_precision", 1, 3, None),
        ("lesion_recall", (1 + 1 / 2 + 0 + 1) / 4, 4, None),
        ("benign_dice", (1 + 2 / 3) / 2, 2, None),
        ("malignant_dice", 1 / 2, 2, None),
        ("lesion_missed_share", 1 / 4, 4, 1),
        ("malignant_missed_share", 1 / 2, 2, 1),
        ("lesion_called_normal_share", 0, 4, 0),
        ("normal_false_mask_share", 1 / 2, 2, 1),
        ("accuracy", 4 / 6, 6, 4),
        ("macro_f1", (2 / 3 + 1 / 2 + 4 / 5) / 3, 6, None),
        # Malignancy scores 1/9 and 5/8 against 3/5 and 9/10: three of four pairs in order.
        ("auc_malignant", 3 / 4, 4, None),
        ("auc_lesion", 1, 6, None),
        # Flagged above .1: both malignant ones and one of the four others.
        ("malignant_sensitivity", 1, 2, 2),
        ("malignant_specificity", 3 / 4, 4, 3),
        ("benign_specificity", 1 / 2, 2, 1),
        # Confidences .5 (wrong) and .48 (right) share a bin, the others have one each.
        ("ece", (0.2 + abs(0.52 - 0.5) + 0.1 + 0.6 + 0.3) / 6, 6, None),
        ("refused_share", 0, 6, 0),
    ],
)
def test_metrics_by_hand(evaluation, name, value, n, count):
    estimate = evaluation.estimates[name]
    assert estimate.value == pytest.approx(value)
    assert (estimate.n, estimate.count) == (n, count)
    if estimate.ci_low is not None:
        assert estimate.ci_low <= value <= estimate.ci_high


def test_confusion_and_counts(evaluation):
    assert evaluation.confusion == [[1, 1, 0], [0, 1, 1], [0, 0, 2]]
    assert evaluation.summary["images"] == {"normal": 2, "benign": 2, "malignant": 2}
    assert evaluation.summary["groups"] == 5


def test_sets_and_bands_are_measured_where_they_are_stated(evaluation):
    assert not {"set_coverage", "set_size", "boundary_coverage"} & set(evaluation.estimates)
    predictor = MadeUpPredictor()
    stated = [("benign",), ("malignant", "benign"), ("benign",), ("malignant",), ("benign",), ("normal",)]
    for answer, prediction_set in zip(predictor.answers.values(), stated, strict=True):
        answer.prediction_set = prediction_set
        answer.boundary_band = BoundaryBand(coverage=0.9, inner=0.35, outer=0.35)
    estimates = evaluate(predictor, make_split()).estimates
    assert estimates["set_coverage"].count == 4
    assert estimates["set_size"].value == pytest.approx(7 / 6)
    # Two outlines are the lesion's own; the third, a half of it, misses the other half's boundary.
    assert estimates["boundary_coverage"].n == 3
    assert 2 / 3 < estimates["boundary_coverage"].value < 0.9


def test_coverage_per_group_gives_copies_one_vote():
    predictor = MadeUpPredictor()
    # Of group a, the first is covered and the second is not; b and c are; of d and e nothing is stated.
    stated = [("benign",), ("malignant",), ("malignant",), ("malignant",), None, None]
    for answer, prediction_set in zip(predictor.answers.values(), stated, strict=True):
        answer.prediction_set = prediction_set
    estimates = evaluate(predictor, make_split()).estimates
    assert (estimates["set_coverage"].value, estimates["set_coverage"].n) == (3 / 4, 4)
    assert estimates["set_coverage_by_group"].value == pytest.approx((1 / 2 + 1 + 1) / 3)


def test_a_sliver_on_a_lesion_is_a_miss():
    sliver = box(11, 11, 13, 13)  # One pixel in common with the square: Dice 2 / 68.
    cases = (("benign (1)", "a", SQUARE, sliver, *CASES[0][4:]), *CASES[1:])
    predictor = MadeUpPredictor(cases)
    for answer in predictor.answers.values():
        answer.boundary_band = BoundaryBand(coverage=0.9, inner=0.35, outer=0.35)
    estimates = evaluate(predictor, make_split(cases)).estimates
    assert estimates["lesion_missed_share"].count == 2
    assert estimates["boundary_coverage"].n == 2, "where the lesion was missed, no boundary was stated"


def test_intervals_come_from_whole_groups(evaluation):
    # Group a holds all benign images: every resample that has any has both, so their mean never varies.
    assert evaluation.estimates["benign_dice"].ci_low is None
    apart = tuple((*case[:1], str(index), *case[2:]) for index, case in enumerate(CASES))
    estimate = evaluate(MadeUpPredictor(apart), make_split(apart)).estimates["benign_dice"]
    assert (estimate.ci_low, estimate.ci_high) == pytest.approx((2 / 3, 1))


def test_sources_are_evaluated_apart_and_equal_group_names_kept_apart():
    split = make_split(source_of=lambda name: "one" if name.endswith("(1)") else "two")
    evaluation = evaluate(MadeUpPredictor(), split)
    assert list(evaluation.sources) == ["one", "two"]
    assert evaluation.sources["one"].estimates["lesion_dice"].value == pytest.approx(1 / 2)
    assert evaluation.sources["two"].images == {"normal": 1, "benign": 1, "malignant": 1}
    # Each source has a group a of its own.
    assert (evaluation.pooled.groups, evaluation.sources["one"].groups) == (6, 3)
    assert evaluation.estimates["lesion_dice"].value == pytest.approx(2 / 3)


def test_rows_without_class_or_mask_take_part_where_they_can():
    split = make_split(
        known=lambda name: name not in ("benign (1)", "normal (1)"),
        masked=lambda name: name not in ("malignant (2)", "normal (2)"),
    )
    evaluation = evaluate(MadeUpPredictor(), split)
    estimates = evaluation.estimates
    assert evaluation.pooled.images == {"normal": 1, "benign": 1, "malignant": 2, "unknown": 2}
    # By its reference, an image of unknown class has a lesion or none.
    assert (estimates["lesion_dice"].n, estimates["normal_false_mask_share"].n) == (3, 2)
    assert (estimates["accuracy"].n, estimates["lesion_called_normal_share"].n) == (4, 4)
    assert estimates["benign_specificity"].n == 1


def test_what_the_images_do_not_define_is_absent_or_undefined():
    cases = CASES[:2]
    estimates = evaluate(MadeUpPredictor(cases), make_split(cases)).estimates
    for name in ("malignant_dice", "malignant_sensitivity", "normal_false_mask_share"):
        assert name not in estimates
    assert estimates["auc_malignant"].value is None
    assert all(estimate.ci_low is None for estimate in estimates.values()), "one group"


def test_refusing_leaves_nothing_out(evaluation):
    refusing = evaluate(MadeUpPredictor(refused=["malignant (1)"]), make_split())
    assert refusing.pooled.refused == 1
    assert refusing.estimates.pop("refused_share").count == 1
    assert refusing.estimates.items() <= evaluation.estimates.items()
    # An image that is refused without a class is not classified right.
    predictor = MadeUpPredictor(refused=["malignant (1)"])
    (answer,) = (each for each in predictor.answers.values() if each.refused)
    answer.label = answer.probabilities = answer.probability = None
    answer.flagged = False
    silent = evaluate(predictor, make_split()).estimates
    assert (silent["accuracy"].count, silent["accuracy"].n) == (3, 6)
    assert (silent["malignant_sensitivity"].count, silent["ece"].n) == (1, 5)


def test_missed_lesions_against_outlined_normals(evaluation):
    def curve(rows):
        points = (point.values() for point in lesion_threshold_curve(Table(rows)))
        return {round(threshold, 6): shares for threshold, *shares in points}

    # Lesion probabilities .9, .8, .8 and 1; of the normals, .7 would be outlined, .3 has nothing to outline.
    assert curve(evaluation.rows) == {
        0: [0, 1 / 2],
        0.7: [0, 1 / 2],
        0.8: [0, 0],
        0.9: [1 / 2, 0],
        1: [3 / 4, 0],
    }
    refusing = evaluate(MadeUpPredictor(refused=["benign (1)", "normal (1)"]), make_split())
    assert curve(refusing.rows)[0] == [1 / 4, 0], "nothing is drawn"
    assert curve(evaluation.rows[:4]) == {}


def test_fingerprint_follows_the_content_of_the_data(evaluation):
    def fingerprint(cases):
        return evaluate(MadeUpPredictor(cases), make_split(cases)).provenance["data_sha256"]

    assert fingerprint(CASES) == evaluation.provenance["data_sha256"]
    other_mask = (("benign (1)", "a", LEFT_HALF, *CASES[0][3:]), *CASES[1:])
    other_group = (("benign (1)", "z", *CASES[0][2:]), *CASES[1:])
    assert len({fingerprint(cases) for cases in (CASES, other_mask, other_group, CASES[1:])}) == 4


@pytest.mark.parametrize(
    "case",
    [("benign (1)", "a", SQUARE, SQUARE.T, *CASES[0][4:]), ("benign (1)", "a", SQUARE.T, *CASES[0][3:])],
    ids=["mask", "reference"],
)
def test_a_mask_of_another_size_names_the_image(case):
    cases = (case, *CASES[1:])
    with pytest.raises(UsageError, match=r"benign \(1\)"):
        evaluate(MadeUpPredictor(cases), make_split(cases))
