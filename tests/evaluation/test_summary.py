import csv
from dataclasses import replace

import pytest

from busi_unet.config import CLASS_NAMES
from busi_unet.errors import UsageError
from busi_unet.evaluation.report import write_csv
from busi_unet.evaluation.summary import ImageResult, compare, read_rows, summarise


def row(number: int, label: str, dice: float | None, said: str | None = None) -> ImageResult:
    said = said or label
    return ImageResult(
        image_id=f"{label} ({number})",
        source="made-up",
        group=f"{label} {number // 2}",
        fold=number % 5,
        label=label,
        predicted_label=said,
        flagged=said == "malignant",
        refused=False,
        prediction_set=(said,),
        probabilities={name: 0.8 if name == said else 0.1 for name in CLASS_NAMES},
        scores={"dice": dice, "predicted_area_px": 100, "boundary_within": None if dice is None else 0.9},
    )


@pytest.fixture
def rows() -> list[ImageResult]:
    return [
        *(row(number, "normal", None) for number in range(6)),
        *(row(number, "benign", 0.5 + number / 20) for number in range(8)),
        *(row(number, "malignant", 0.7, "benign" if number == 3 else None) for number in range(8)),
    ]


def test_rows_survive_the_table(rows, tmp_path):
    path = tmp_path / "per_image.csv"
    rows[2] = replace(rows[2], refused=True, prediction_set=("normal", "benign"))
    rows[3] = replace(rows[3], label=None, predicted_label=None, probabilities=None, prediction_set=None)
    write_csv(path, [item.to_row() for item in rows])
    assert read_rows(path) == rows


def test_a_table_with_fewer_columns_lacks_the_metrics_that_need_them(rows, tmp_path):
    path = tmp_path / "per_image.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        kept = ["p_malignant", "dice", "label", "image_id", "p_normal", "p_benign"]
        writer = csv.DictWriter(stream, fieldnames=kept, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(item.to_row() for item in rows)
    found, whole = summarise(read_rows(path), resamples=10), summarise(rows, resamples=10)
    assert found["lesion_dice"].value == whole["lesion_dice"].value
    assert found["ece"].value == pytest.approx(whole["ece"].value)
    for name in ("accuracy", "malignant_sensitivity", "normal_false_mask_share", "set_coverage"):
        assert name in whole and name not in found


@pytest.mark.parametrize(
    "text",
    ["", "name,label\na,benign\n", "image_id\n", "image_id,label\na,cyst\n", "image_id,dice\na,high\n"],
)
def test_another_table_is_refused(tmp_path, text):
    path = tmp_path / "other.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"other\.csv"):
        read_rows(path)
    with pytest.raises(UsageError, match=r"none\.csv"):
        read_rows(tmp_path / "none.csv")


def test_a_difference_is_paired_and_has_the_sign_of_the_second(rows):
    better = [
        item if item.scores["dice"] is None else replace(item, scores={"dice": item.scores["dice"] + 0.1})
        for item in reversed(rows)
    ]
    difference = compare(rows, better)["lesion_dice"]
    assert difference.value == pytest.approx(0.1) and difference.n == 16
    # The same shift on every image: no doubt is left, however much the images differ among themselves.
    assert difference.ci_low is None
    worse = [replace(item, predicted_label="normal") for item in rows]
    difference = compare(rows, worse)["accuracy"]
    assert difference.value == pytest.approx(6 / 22 - 21 / 22)
    assert difference.ci_low < difference.value < difference.ci_high < 0


def test_other_images_cannot_be_compared(rows):
    for others in (rows[1:], [*rows[1:], replace(rows[0], image_id="other")]):
        with pytest.raises(UsageError, match="not about the same images"):
            compare(rows, others)


def test_coverage_per_group_gives_copies_one_vote(rows):
    lesions = [item for item in rows if item.label != "normal"]
    # Six copies are all left out; six images of their own are not; nothing is stated of the last.
    copies = [
        replace(item, group="copies", prediction_set=("normal",), scores={"boundary_within": 0.0})
        for item in lesions[:6]
    ]
    own = [
        replace(item, group=item.image_id, prediction_set=(item.label,), scores={"boundary_within": 1.0})
        for item in lesions[6:12]
    ]
    unstated = replace(lesions[12], group="copies", prediction_set=None, scores={})
    found = summarise([*copies, *own, unstated])
    for name in ("set_coverage", "boundary_coverage"):
        assert found[name].value == pytest.approx(1 / 2)
        assert found[f"{name}_by_group"].value == pytest.approx(6 / 7)
        assert found[f"{name}_by_group"].n == 12
