import csv
import re

import numpy as np

from busi_unet.imaging.measure import measure_lesions
from busi_unet.inference.summary import (
    COLUMNS,
    FLAGGED,
    table_row,
    write_summary,
)


def record(image="a.png", *, spacing_mm=None, refused=False, anyway=False) -> dict:
    hidden = refused and not anyway
    mask = np.zeros((50, 80), dtype=bool)
    if not hidden:
        mask[10:20, 10:30] = True
        mask[40:42, 40:45] = True
    return {
        "image": image,
        "error": None,
        "not_written": [],
        "label": None if hidden else "benign",
        "flagged": None if hidden else False,
        "prediction_set": None if hidden else ["benign", "malignant"],
        "coverage": None if hidden else 0.9,
        "probabilities": None if hidden else {"normal": 0.1, "benign": 0.7, "malignant": 0.2},
        "refused": refused,
        "reasons": ["It is blank."] if refused else [],
        "remarks": [],
        "warnings": ["It is small."],
        "text_boxes": [[1, 2, 30, 9], [40, 2, 60, 9]],
        "height": 50,
        "width": 80,
        "frame": 1,
        "frames": 1,
        "lesion_area_px": None if hidden else int(mask.sum()),
        "measurements": None
        if hidden
        else [lesion.to_dict() for lesion in measure_lesions(mask, spacing_mm=spacing_mm)],
        "mask": None if hidden else "a_mask.png",
        "overlay": "a_overlay.jpg",
    }


FAILED = {**dict.fromkeys(record()), "image": "bad.png", "error": "bad.png is empty (0 bytes)."}


class TestTable:
    def test_a_row_sums_areas_and_takes_the_largest_lesions_length(self):
        row = table_row(record(spacing_mm=(0.5, 0.5)))
        assert tuple(row) == COLUMNS
        assert (row["lesions"], row["lesion_area_px"], row["lesion_area_mm2"]) == (2, 210, 52.5)
        assert (row["longest_diameter_px"], row["longest_diameter_mm"]) == (22.4, 11.18)
        assert row["remarks"] == "It is small."
        assert row["text_boxes"] == "1,2,30,9; 40,2,60,9"
        assert table_row(record())["lesion_area_mm2"] is None

    def test_a_failed_or_refused_image_has_no_class(self):
        row = table_row(FAILED)
        assert row == {**dict.fromkeys(COLUMNS), "image": "bad.png", "remarks": FAILED["error"]}
        refused = table_row(record(refused=True))
        for column in ("label", "p_benign", "flagged", "lesions", "lesion_area_px", "mask"):
            assert refused[column] is None, column
        assert refused["remarks"].startswith("It is blank.")


class TestSummary:
    def test_a_probability_is_rounded_once(self, tmp_path):
        close = {**record(), "probabilities": {"normal": 0.12346, "benign": 0.87654, "malignant": 0.0}}
        write_summary([close], tmp_path, model="m", date="today")
        assert ",0.1235,0.8765,0.0," in (tmp_path / "predictions.csv").read_text(encoding="utf-8")

    def test_a_name_cannot_become_a_formula(self, tmp_path):
        write_summary([record("=1+1.png"), record("-x.png")], tmp_path, model="m", date="today")
        with (tmp_path / "predictions.csv").open(encoding="utf-8-sig", newline="") as file:
            assert [row["image"] for row in csv.DictReader(file)] == ["'=1+1.png", "'-x.png"]

    def test_the_report_escapes_names_and_loads_nothing_from_elsewhere(self, tmp_path):
        odd = {**record('<img src=x onerror="alert(1)">'), "overlay": 'a #"1_overlay.jpg', "flagged": True}
        anyway = record(refused=True, anyway=True)
        records = [odd, FAILED, record(refused=True), anyway]
        write_summary(records, tmp_path, model="<b>", date="2020-01-02")
        page = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert 'onerror="' not in page and "<b>" not in page
        assert 'src="a%20%23%221_overlay.jpg"' in page
        assert "http" not in page
        assert FLAGGED in page and "2020-01-02" in page
        assert "Not analysed." in page and "Refused, analysed anyway." in page
        assert "Not a medical device" in page
        assert len(re.findall("<section>", page)) == 4
