import csv
import os
from pathlib import Path

import numpy as np
import pytest

from busi_unet.config import CLASS_NAMES
from busi_unet.io.masks import decode_mask


@pytest.fixture
def busbra(tmp_path, write_image, write_mask) -> Path:
    """Ten images of five women, two views each, one woman per official fold."""
    base = tmp_path / "BUSBRA"
    rows, folds = [], []
    for case in range(1, 6):
        for side in "lr":
            stem = f"bus_{case:04d}-{side}"
            write_image(base / "Images" / f"{stem}.png")
            write_mask(base / "Masks" / f"mask_{case:04d}-{side}.png", 1, mode="1")
            pathology = "malignant" if case % 2 else "benign"
            rows.append((stem, case, "cyst", pathology, 4))
            folds.append((stem, pathology, case))
    for name, header, lines in (
        ("bus_data.csv", ("ID", "Case", "Histology", "Pathology", "BIRADS"), rows),
        ("5-fold-cv.csv", ("ID", "Pathology", "kFold"), folds),
    ):
        with (base / name).open("w", newline="") as file:
            csv.writer(file).writerows([header, *lines])
    return base


def test_official_fold_k_is_fold_k_minus_1_and_the_case_is_the_group(busbra, prepared_rows):
    rows = prepared_rows(busbra.parent / "BUSBRA")
    assert len(rows) == 10
    assert {(row["group"], row["fold"]) for row in rows.values()} == {(str(n), n - 1) for n in range(1, 6)}
    assert {row["source"] for row in rows.values()} == {"busbra"}
    row = rows["bus_0003-r"]
    assert CLASS_NAMES[row["label"]] == "malignant"
    assert np.asarray(row["mask"]).sum() == 255 * 150
    assert {row["group"] for row in rows.values() if row["split"] == "test"} == {"1"}


def test_a_part_of_the_release_is_read(busbra, scan):
    for path in (*busbra.glob("Images/bus_0005*"), *busbra.glob("Masks/mask_0005*")):
        path.unlink()
    found = scan(busbra)
    assert len(found.cases) == 8
    assert len(found.warnings) == 1 and "bus_0005-l" in found.warnings[0]


def test_without_official_folds_patients_are_dealt(busbra, prepared_rows):
    (busbra / "5-fold-cv.csv").unlink()
    rows = prepared_rows(busbra)
    fold_of = {}
    assert all(fold_of.setdefault(row["group"], row["fold"]) == row["fold"] for row in rows.values())
    assert set(fold_of.values()) == set(range(5))


def test_an_empty_table_of_folds_is_not_taken_for_none(busbra, scan):
    (busbra / "5-fold-cv.csv").write_text("ID,kFold\n")
    assert all("5-fold-cv.csv" in problem for problem in scan(busbra).problems) and scan(busbra).problems


def test_files_that_do_not_fit_the_tables_are_listed_together(busbra, write_image, scan):
    (busbra / "Masks" / "mask_0001-l.png").unlink()
    write_image(busbra / "Images" / "bus_0009-l.png")
    table = busbra / "bus_data.csv"
    table.write_text(table.read_text().replace("bus_0002-l,2,cyst,benign", "bus_0002-l,2,cyst,odd"))
    problems = scan(busbra).problems
    for name in ("bus_0001-l.png", "bus_0009-l.png", "bus_0002-l"):
        assert len([line for line in problems if name in line]) == 1
    assert len(problems) == 3


@pytest.mark.busi
@pytest.mark.slow
@pytest.mark.skipif("BUSBRA_ROOT" not in os.environ, reason="BUSBRA_ROOT does not name the real data set")
def test_the_real_data_set(scan):
    found = scan(Path(os.environ["BUSBRA_ROOT"]))
    assert found.problems == [] and len(found.cases) in (1492, 1875)
    folds_of = {}
    assert all(folds_of.setdefault(case.patient, case.fold) == case.fold for case in found.cases)
    assert all(decode_mask(case.masks[0]).any() for case in found.cases[::50])
