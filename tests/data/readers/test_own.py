from pathlib import Path

import numpy as np
import pytest

from busi_unet.config import CLASS_NAMES
from busi_unet.data.readers.own import OwnData, scan_own
from busi_unet.errors import DataLayoutError, UsageError


@pytest.fixture
def clinic(tmp_path, write_image, write_mask) -> Path:
    """Eight images in images/, masks of six of them in masks/."""
    base = tmp_path / "clinic"
    for number in range(8):
        write_image(base / "images" / f"scan {number}.png")
        if number < 6:
            write_mask(base / "masks" / f"scan {number}.png")
    return base


def table(folder: Path, *lines: str) -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_images_and_masks_without_any_class(clinic, prepared_rows):
    rows = prepared_rows(clinic)
    assert len(rows) == 8
    assert {(row["source"], row["label"]) for row in rows.values()} == {("clinic", -1)}
    assert np.asarray(rows["scan 0"]["mask"]).any()
    assert rows["scan 7"]["mask"] is None


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_tells_class_patient_and_mask(clinic, prepared_rows, separator):
    lines = [("Image", "Label", "Patient", "Mask"), ("scan 0.png", "Benign", "p0", "scan 0.png")]
    lines += [(f"scan {n}", "malignant" if n % 2 else "", f"p{n // 2}", f"scan {n}") for n in range(1, 6)]
    lines += [("scan 6", "normal", "p6", ""), ("scan 7.png", "benign", "p7", "")]
    file = table(clinic, *(separator.join(line) for line in lines))
    rows = prepared_rows(OwnData(clinic / "images", clinic / "masks", file))
    assert {row["source"] for row in rows.values()} == {"clinic"}
    labels = [row["label"] for _, row in sorted(rows.items())]
    assert [CLASS_NAMES[label] if label >= 0 else None for label in labels] == [
        "benign",
        "malignant",
        None,
        "malignant",
        None,
        "malignant",
        "normal",
        "benign",
    ]
    assert rows["scan 0"]["group"] == rows["scan 1"]["group"] == "p0"
    assert rows["scan 0"]["fold"] == rows["scan 1"]["fold"]
    assert not np.asarray(rows["scan 6"]["mask"]).any() and rows["scan 7"]["mask"] is None


def test_folds_of_a_table_are_kept(clinic, prepared_rows):
    file = table(clinic, "image,patient,fold", *(f"scan {n},p{n},{n % 5}" for n in range(8)))
    rows = prepared_rows(OwnData(clinic / "images", clinic / "masks", file))
    assert {image_id: row["fold"] for image_id, row in rows.items()} == {f"scan {n}": n % 5 for n in range(8)}


def test_an_incomplete_patient_column_still_keeps_patients_together(clinic, prepared_rows):
    file = table(clinic, "image,patient", *(f"scan {n},{'p' if n < 3 else ''}" for n in range(8)))
    rows = prepared_rows(OwnData(clinic / "images", clinic / "masks", file))
    assert (
        len({row["fold"] for row in rows.values() if row["image_id"] in ("scan 0", "scan 1", "scan 2")}) == 1
    )
    assert len({row["group"] for row in rows.values()}) == 6


def test_every_problem_of_a_table_is_listed_and_nothing_written(clinic, prepared_rows, write_mask, tmp_path):
    write_mask(clinic / "masks" / "small.png", size=(20, 20))
    file = table(
        clinic,
        "image,label,patient,mask,fold",
        "scan 0,cystic,a,scan 0,0",
        f"{'nowhere' * 40},benign,b,scan 1,1",
        "scan 2,benign,c,missing,2",
        "scan 3,benign,d,scan 3,3",
        "scan 4,benign,d,scan 3,4",
        "scan 4,benign,e,scan 4,0",
        "scan 5,benign,f,small,7",
    )
    with pytest.raises(DataLayoutError) as caught:
        prepared_rows(OwnData(clinic / "images", clinic / "masks", file))
    problems = caught.value.problems
    for line, words in (
        (2, "cystic"),
        (3, "nowhere"),
        (4, "missing"),
        (6, "also the mask of scan 3"),
        (7, "twice"),
        (8, "fold '7'"),
    ):
        assert [p for p in problems if f"line {line}:" in p and words in p], (line, words, problems)
    assert [p for p in problems if p.startswith("small.png") or "small.png: the mask is 20×20" in p]
    assert not (tmp_path / "prepared").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('scan 1.png,"benign', "unexpected end of data"),
        ("scan 1.png,benign,p1", "row 3 has more cells"),
        ("image,label,label", "the column label twice"),
    ],
)
def test_a_table_that_could_be_read_in_two_ways_is_refused(clinic, line, said):
    header, rows = "image,label", ["scan 0.png,benign", line, "scan 2.png,benign"]
    if line.startswith("image"):
        header, rows = line, rows[:1]
    with pytest.raises(UsageError, match=said):
        scan_own(OwnData(clinic / "images", None, table(clinic, header, *rows)))


def test_masks_without_an_image_are_problems(clinic, prepared_rows):
    (clinic / "images" / "scan 0.png").unlink()
    with pytest.raises(DataLayoutError) as caught:
        prepared_rows(clinic)
    assert len(caught.value.problems) == 1 and caught.value.problems[0].startswith("scan 0.png")
