"""Evaluation of a made-up predictor on a made-up split, with figures worked out by hand."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as PILImage

from busi_unet.config import CLASS_NAMES
from busi_unet.errors import DataLayoutError, UsageError
from busi_unet.learning.evaluation import evaluate

FEATURES = Features(
    image=Image(),
    mask=Image(),
    label=ClassLabel(names=list(CLASS_NAMES)),
    image_id=Value("string"),
    group=Value("string"),
    fold=Value("int8"),
)
HEIGHT, WIDTH = 30, 40  # The diagonal is 50.


def box(top, left, bottom, right, shape=(HEIGHT, WIDTH)):
    mask = np.zeros(shape, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


EMPTY = box(0, 0, 0, 0)
SQUARE = box(4, 4, 12, 12)
LEFT_HALF = box(4, 4, 12, 8)

# image_id, group, reference, predicted mask, predicted class, probabilities of normal, benign, malignant
CASES = (
    ("benign (1)", "a", SQUARE, SQUARE, "benign", (0.1, 0.8, 0.1)),
    ("benign (2)", "a", SQUARE, LEFT_HALF, "malignant", (0.2, 0.3, 0.5)),
    ("malignant (1)", "b", SQUARE, EMPTY, "malignant", (0.2, 0.32, 0.48)),
    ("malignant (2)", "c", SQUARE, SQUARE, "malignant", (0.0, 0.1, 0.9)),
    ("normal (1)", "d", box(0, 0, 0, 0, (50, 36)), box(1, 1, 3, 4, (50, 36)), "benign", (0.3, 0.6, 0.1)),
    ("normal (2)", "e", EMPTY, EMPTY, "normal", (0.7, 0.2, 0.1)),
)
PIXELS = {
    case[0]: np.random.default_rng(seed).integers(0, 256, case[2].shape, dtype=np.uint8)
    for seed, case in enumerate(CASES)
}


def make_split(cases=CASES):
    return Dataset.from_dict(
        {
            "image": [PILImage.fromarray(PIXELS[case[0]]) for case in cases],
            "mask": [PILImage.fromarray(case[2].astype(np.uint8) * 255) for case in cases],
            "label": [CLASS_NAMES.index(case[0].split()[0]) for case in cases],
            "image_id": [case[0] for case in cases],
            "group": [case[1] for case in cases],
            "fold": [0] * len(cases),
        },
        features=FEATURES,
    )


class MadeUpPredictor:
    """Knows each picture by its pixels, so that a mixed-up row shows."""

    def __init__(self, cases=CASES, refused=()):
        self.answers = {
            PIXELS[name].tobytes(): SimpleNamespace(
                mask=mask,
                label=label,
                probabilities=dict(zip(CLASS_NAMES, probabilities, strict=True)),
                refused=name in refused,
            )
            for name, _, _, mask, label, probabilities in cases
        }

    def predict(self, image):
        return self.answers[image.tobytes()]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "made" / "up"
    evaluation = evaluate(
        MadeUpPredictor(), make_split(), output=folder, progress=False, provenance={"model": "made-up"}
    )
    return evaluation, folder


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
        # Confidences .5 (wrong) and .48 (right) share a bin, the others have one each.
        ("ece", (0.2 + abs(0.52 - 0.5) + 0.1 + 0.6 + 0.3) / 6, 6),
    ],
)
def test_figures_by_hand(report, name, value, n):
    estimate = report[0].estimates[name]
    assert estimate.value == pytest.approx(value)
    assert estimate.n == n
    if estimate.ci_low is not None:
        assert estimate.ci_low <= value <= estimate.ci_high


def test_counts(report):
    evaluation, _ = report
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
    }
    assert evaluation.summary["images"] == {"normal": 2, "benign": 2, "malignant": 2}
    assert evaluation.summary["groups"] == 5


def test_missing_a_lesion_is_counted_even_where_a_sliver_was_drawn():
    sliver = box(11, 11, 13, 13)  # One pixel in common with the square: Dice 2 / 68.
    cases = (("benign (1)", "a", SQUARE, sliver, *CASES[0][4:]), *CASES[1:])
    estimates = evaluate(MadeUpPredictor(cases), make_split(cases), progress=False).estimates
    assert (estimates["benign_missed_share"].count, estimates["benign_empty_share"].count) == (1, 0)


def test_interval_comes_from_whole_groups(report):
    # Group a holds all benign images: every resample that has any has both, so their mean never varies.
    estimate = report[0].estimates["benign_dice"]
    assert (estimate.ci_low, estimate.ci_high) == (None, None)
    apart = tuple((*case[:1], str(index), *case[2:]) for index, case in enumerate(CASES))
    estimate = evaluate(MadeUpPredictor(apart), make_split(apart), progress=False).estimates["benign_dice"]
    assert (estimate.ci_low, estimate.ci_high) == pytest.approx((2 / 3, 1))
    # Both benign images are absent from (4/6)^6 of the resamples.
    assert estimate.undefined_resamples / 2000 == pytest.approx((4 / 6) ** 6, abs=0.02)


def test_auc_interval_by_hand(report):
    # Group a holds both benign images, b and c one malignant each: b ranks half its pairs right, c all.
    estimate = report[0].estimates["auc_malignant"]
    assert (estimate.ci_low, estimate.ci_high) == (0.5, 1)
    undefined = 0.8**5 + 0.6**5 - 0.4**5  # without a, or without both b and c
    assert estimate.undefined_resamples / 2000 == pytest.approx(undefined, abs=0.03)


def test_absent_classes_are_undefined_and_said_to_be():
    cases = CASES[:2]
    evaluation = evaluate(MadeUpPredictor(cases), make_split(cases), progress=False)
    for name in ("macro_f1", "auc_malignant", "malignant_dice", "normal_false_mask_share"):
        assert evaluation.estimates[name].value is None
    assert evaluation.estimates["normal_false_mask_share"].n == 0
    assert evaluation.estimates["lesion_dice"].value == pytest.approx(5 / 6)
    assert "undefined" in evaluation.to_markdown()


def test_refusing_changes_no_figure(report):
    evaluation = evaluate(MadeUpPredictor(refused=["malignant (1)"]), make_split(), progress=False)
    assert evaluation.summary["refused"] == 1
    assert evaluation.estimates == report[0].estimates
    assert "1 refused" in evaluation.to_markdown()


class TestReport:
    def test_metrics_json_is_the_summary(self, report):
        evaluation, folder = report
        text = (folder / "metrics.json").read_text(encoding="utf-8")
        stored = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert stored == evaluation.summary
        assert list(stored) == sorted(stored)
        assert stored["provenance"]["model"] == "made-up"
        assert stored["provenance"]["bootstrap"] == {
            "level": 0.95,
            "resamples": 2000,
            "seed": 0,
            "unit": "group",
        }
        assert stored["provenance"]["versions"]["numpy"] == np.__version__

    def test_per_image_rows(self, report):
        with (report[1] / "per_image.csv").open(encoding="utf-8", newline="") as stream:
            rows = {row["image_id"]: row for row in csv.DictReader(stream)}
        assert list(rows) == [case[0] for case in CASES]
        half = rows["benign (2)"]
        assert (half["label"], half["predicted_label"], half["group"]) == ("benign", "malignant", "a")
        assert float(half["dice"]) == pytest.approx(2 / 3)
        assert (float(half["hd95_px"]), float(half["recall"]), float(half["p_malignant"])) == (4, 0.5, 0.5)
        assert (half["target_area_px"], half["predicted_area_px"]) == ("64", "32")
        false_mask = rows["normal (1)"]
        assert (false_mask["dice"], false_mask["hd95_px"], false_mask["false_mask"]) == ("", "", "True")
        assert (false_mask["height_px"], false_mask["width_px"]) == ("50", "36")
        assert rows["malignant (1)"]["precision"] == ""

    def test_pictures_are_drawn(self, report):
        drawn = {path.stem: np.asarray(PILImage.open(path)) for path in report[1].glob("*.png")}
        assert set(drawn) == {
            "confusion_matrix",
            "dice_histogram",
            "dice_by_size",
            "gallery_best",
            "gallery_worst",
            "gallery_false_masks",
        }
        assert all(np.ptp(picture) > 100 for picture in drawn.values())

    def test_galleries_show_the_extremes_and_no_lesion_twice(self, tmp_path):
        names = {pixels.tobytes(): name for name, pixels in PIXELS.items()}
        predictor, seen = MadeUpPredictor(), []

        def predict(image):
            seen.append(names[image.tobytes()])
            return predictor.predict(image)

        evaluate(SimpleNamespace(predict=predict), make_split(), output=tmp_path, progress=False)
        drawn = seen[len(CASES) :]
        worst, best, false_masks = drawn[:2], drawn[2:4], drawn[4:]
        assert worst == ["malignant (1)", "benign (2)"]
        assert set(best) == {"benign (1)", "malignant (2)"}
        assert false_masks == ["normal (1)"]

    def test_summary_table_shows_values_intervals_and_counts(self, report):
        text = (report[1] / "summary.md").read_text(encoding="utf-8")
        assert text == report[0].to_markdown() + "\n"
        assert "0.500 [0.000, 1.000] (1 of 2)" in text
        assert "6 images (2 normal, 2 benign, 2 malignant) in 5 groups" in text

    def test_gallery_of_an_earlier_run_does_not_stay(self, tmp_path):
        (tmp_path / "gallery_false_masks.png").write_bytes(b"old")
        cases = CASES[:4]
        evaluate(MadeUpPredictor(cases), make_split(cases), output=tmp_path, progress=False)
        assert not (tmp_path / "gallery_false_masks.png").exists()
        assert (tmp_path / "gallery_worst.png").exists()

    def test_normals_alone_make_a_report(self, tmp_path):
        cases = CASES[4:]
        evaluate(MadeUpPredictor(cases), make_split(cases), output=tmp_path, progress=False)
        assert (tmp_path / "gallery_false_masks.png").exists()
        assert not (tmp_path / "dice_histogram.png").exists()


def test_fingerprint_follows_the_content_of_the_data(report):
    def fingerprint(cases):
        return evaluate(MadeUpPredictor(cases), make_split(cases), progress=False).provenance["data_sha256"]

    assert fingerprint(CASES) == report[0].provenance["data_sha256"]
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
