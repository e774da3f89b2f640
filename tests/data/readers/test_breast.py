import os
from pathlib import Path

import numpy as np
import openpyxl
import pytest

from busi_unet.config import CLASS_NAMES
from busi_unet.data.folds import read_published_folds
from busi_unet.io.masks import decode_mask

COLUMNS = ("CaseID", "Image_filename", "Mask_tumor_filename", "Mask_other_filename", "Classification")
# The first image of each published fold.
CASES = {row.fold: row for row in reversed(read_published_folds("breast"))}


@pytest.fixture(params=["L", "RGBA"])
def breast(request, tmp_path, write_image, write_mask) -> Path:
    """An image of each published fold, in grey and in the form of the release; the last is normal."""
    base = tmp_path / "BrEaST"
    folder = base / "BrEaST-Lesions_USG-images_and_masks"
    book = openpyxl.Workbook()
    book.active.append(COLUMNS)
    for number, row in sorted(CASES.items()):
        write_image(folder / f"{row.image_id}.png", request.param)
        mask = "" if number == 4 else f"{row.image_id}_tumor.png"
        if mask:
            white = (255, 255, 255, 255) if request.param == "RGBA" else 255
            write_mask(folder / mask, white, mode=request.param)
        other = f"{row.image_id}_other1.png" if number == 0 else ""
        if other:
            write_mask(folder / other, 255)
        label = "benign" if mask else "normal"
        book.active.append((number, f"{row.image_id}.png", mask, other, label))
    book.save(base / "BrEaST-Lesions-USG-clinical-data.xlsx")
    return base


def test_cases_have_their_published_folds(breast, prepared_rows):
    rows = prepared_rows(breast)
    assert {image_id: row["fold"] for image_id, row in rows.items()} == {
        row.image_id: fold for fold, row in CASES.items()
    }
    assert {row["source"] for row in rows.values()} == {"breast"}
    normal = rows[CASES[4].image_id]
    assert CLASS_NAMES[normal["label"]] == "normal" and not np.asarray(normal["mask"]).any()
    assert all(np.asarray(rows[CASES[fold].image_id]["mask"]).sum() == 255 * 150 for fold in range(4))


def test_a_part_of_the_release_is_read_and_gaps_are_listed(breast, scan):
    folder = breast / "BrEaST-Lesions_USG-images_and_masks"
    for path in folder.glob(f"{CASES[1].image_id}*"):
        path.unlink()
    assert len(scan(breast).cases) == 4
    (folder / f"{CASES[2].image_id}_tumor.png").unlink()
    assert [line.partition(":")[0] for line in scan(breast).problems] == [f"{CASES[2].image_id}.png"]


@pytest.mark.busi
@pytest.mark.slow
@pytest.mark.skipif("BREAST_ROOT" not in os.environ, reason="BREAST_ROOT does not name the real data set")
def test_the_real_data_set(scan):
    found = scan(Path(os.environ["BREAST_ROOT"]))
    assert found.problems == []
    fold_of = {row.image_id: row.fold for row in read_published_folds("breast")}
    assert len(fold_of) == 256 and {case.image_id: case.fold for case in found.cases} == fold_of
    for case in found.cases[::10]:
        assert bool(case.masks) == (case.label != "normal")
        assert all(decode_mask(mask).any() for mask in case.masks)
