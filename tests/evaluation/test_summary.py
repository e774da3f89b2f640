import csv
from dataclasses import replace

import pytest

from busi_unet.config import CLASS_NAMES
from busi_unet.errors import UsageError
from busi_unet.evaluation.metrics import SegmentationScores
from busi_unet.evaluation.summary import ImageResult, compare, read_rows, summarise


def row(number: int, label: str, dice: float | None, said: str | None = None) -> ImageResult:
    said = said or label
    hits = 0 if dice is None else round(100 * dice)
    lesion = 0 if dice is None else 100
    return ImageResult(
        image_id=f"{label} ({number})",
        label=label,
        group=f"{label} {number // 2}",
        fold=number % 5,
        height_px=40,
        width_px=50,
        predicted_label=said,
        probabilities=tuple(0.8 if name == said else 0.1 for name in CLASS_NAMES),
        flagged=said == "malignant",
        refused=False,
        scores=SegmentationScores(
            dice, dice, None if dice is None else 4.5, dice, dice, hits, lesion - hits, lesion - hits, 1800
        ),
        prediction_set=(said,),
        boundary_within=None if dice is None else 0.9,
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
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0].to_row()))
        writer.writeheader()
        writer.writerows(item.to_row() for item in rows)
    assert read_rows(path) == rows


@pytest.mark.parametrize("text", ["", "image_id,label\na,benign\n", "image_id\n"])
def test_another_table_is_refused(tmp_path, text):
    path = tmp_path / "other.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"other\.csv"):
        read_rows(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_rows(tmp_path / "none.csv")


def test_a_difference_is_paired(rows):
    better = [
        item
        if item.scores.dice is None
        else replace(item, scores=replace(item.scores, dice=item.scores.dice + 0.1))
        for item in reversed(rows)
    ]
    difference = compare(rows, better)
    assert difference["lesion_dice"].value == pytest.approx(0.1)
    # The same shift on every image: no doubt is left, however much the images differ among themselves.
    assert difference["lesion_dice"].ci_low is None
    assert summarise(rows)["lesion_dice"].ci_low < 0.65
    assert difference["accuracy"].value == 0
    assert difference["lesion_dice"].n == 16


def test_a_difference_has_the_sign_of_the_second(rows):
    worse = [replace(item, predicted_label="normal", probabilities=(0.8, 0.1, 0.1)) for item in rows]
    difference = compare(rows, worse)["accuracy"]
    assert difference.value == pytest.approx(6 / 22 - 21 / 22)
    assert difference.ci_low < difference.value < difference.ci_high < 0


def test_other_images_cannot_be_compared(rows):
    with pytest.raises(UsageError, match="not about the same images"):
        compare(rows, rows[1:])
    with pytest.raises(UsageError, match="not about the same images"):
        compare(rows, [*rows[1:], replace(rows[0], image_id="other")])


def test_what_is_undefined_stays_so(rows):
    normals = [item for item in rows if item.label == "normal"]
    figures = summarise(normals)
    for name in ("lesion_dice", "macro_f1", "auc_malignant", "malignant_sensitivity", "boundary_coverage"):
        assert figures[name].value is None, name
    assert compare(normals, normals)["lesion_dice"].value is None


def test_what_is_stated_of_new_images_is_judged_with_one_vote_per_group(rows):
    lesions = [item for item in rows if item.label != "normal"]
    # Six copies are all left out; six pictures of their own are not.
    copies = [
        replace(item, group="copies", prediction_set=("normal",), boundary_within=0.0) for item in lesions[:6]
    ]
    own = [
        replace(item, group=item.image_id, prediction_set=(item.label,), boundary_within=1.0)
        for item in lesions[6:12]
    ]
    # Nothing is stated of the last: it takes no part of its group's vote.
    unstated = replace(lesions[12], group="copies", prediction_set=None, boundary_within=None)
    figures = summarise([*copies, *own, unstated])
    for name in ("set_coverage", "boundary_coverage"):
        assert figures[name].value == pytest.approx(1 / 2)
        assert figures[f"{name}_by_group"].value == pytest.approx(6 / 7)
        assert figures[f"{name}_by_group"].n == 12
        assert figures[f"{name}_by_group"].ci_low < 6 / 7
