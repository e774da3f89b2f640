import csv
import re
from pathlib import Path

import numpy as np

from busi_unet.imaging.measure import measure_lesions
from busi_unet.inference.batch_summary import (
    COLUMNS,
    FLAGGED,
    count_by_outcome,
    table_row,
    write_report,
    write_table,
)


def record(image: str = "a.png", *, spacing_mm=None, refused=False, anyway=False) -> dict:
    hidden = refused and not anyway
    mask = np.zeros((50, 80), dtype=bool)
    if not hidden:
        mask[10:20, 10:30] = True
        mask[40:42, 40:45] = True
    return {
        "image": image,
        "label": None if hidden else "benign",
        "flagged": False,
        "prediction_set": None if hidden else ["benign", "malignant"],
        "probabilities": None if hidden else {"normal": 0.1, "benign": 0.7, "malignant": 0.2},
        "refused": refused,
        "reasons": ["It is blank."] if refused else [],
        "warnings": ["It is small."],
        "height": 50,
        "width": 80,
        "lesion_area_px": int(mask.sum()),
        "measurements": [lesion.to_dict() for lesion in measure_lesions(mask, spacing_mm=spacing_mm)],
        "mask": "a_mask.png",
        "overlay": "a_overlay.png",
    }


FAILED = {"image": "bad.png", "error": "bad.png is empty (0 bytes)."}


def test_a_row_sums_areas_and_takes_the_largest_lesions_length():
    row = table_row(record(spacing_mm=(0.5, 0.5)))
    assert tuple(row) == COLUMNS
    assert (row["lesions"], row["lesion_area_px"], row["lesion_area_mm2"]) == (2, 210, 52.5)
    assert (row["longest_diameter_px"], row["longest_diameter_mm"]) == (22.4, 11.18)
    assert row["remarks"] == "It is small."
    assert table_row(record())["lesion_area_mm2"] is None


def test_a_failed_or_refused_image_has_no_class():
    assert table_row(FAILED) == {**dict.fromkeys(COLUMNS), "image": "bad.png", "remarks": FAILED["error"]}
    refused = table_row(record(refused=True))
    assert (refused["label"], refused["p_benign"]) == (None, None)
    assert refused["remarks"].startswith("It is blank.")


def test_a_refused_image_analysed_anyway_is_marked(tmp_path):
    marked = record(refused=True, anyway=True)
    row = table_row(marked)
    assert (row["label"], row["refused"]) == ("benign", True)
    assert row["remarks"].startswith("It is blank.")
    write_report([marked], tmp_path / "r.html", model="m", date="today")
    assert "Refused, analysed anyway." in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_flag_is_told_beside_another_class(tmp_path):
    flagged = {**record(), "flagged": True}
    row = table_row(flagged)
    assert (row["flagged"], row["prediction_set"]) == (True, "benign malignant")
    assert row["remarks"] == f"{FLAGGED} It is small."
    assert FLAGGED not in table_row({**flagged, "label": "malignant"})["remarks"]
    assert table_row({**record(), "prediction_set": None})["prediction_set"] is None
    write_report([flagged], tmp_path / "r.html", model="m", date="today")
    assert FLAGGED in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_name_cannot_become_a_formula(tmp_path):
    write_table([record("=1+1.png"), record("-x.png")], tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        assert [row["image"] for row in csv.DictReader(file)] == ["'=1+1.png", "'-x.png"]


def test_the_report_escapes_names_and_loads_nothing_from_elsewhere(tmp_path: Path):
    odd = {**record('<img src=x onerror="alert(1)">'), "overlay": 'a #"1_overlay.png'}
    write_report([odd, FAILED, record(refused=True)], tmp_path / "r.html", model="<b>", date="today")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert 'onerror="' not in page and "<b>" not in page
    assert 'src="a%20%23%221_overlay.png"' in page
    assert "http" not in page
    assert "Not analysed." in page and "Not a medical device" in page
    assert len(re.findall("<section>", page)) == 3


def test_counting():
    records = [record(), record(), FAILED, record(refused=True)]
    assert count_by_outcome(records) == "4 images: 2 benign, 1 not analysed, 1 that could not be used."
    assert count_by_outcome([]) == "0 images."
