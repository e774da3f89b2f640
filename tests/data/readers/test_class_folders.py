import shutil

import pytest

from busi_unet.config import CLASS_NAMES
from busi_unet.data.reading import read_source
from busi_unet.errors import DataLayoutError


def test_scan_finds_the_class_folders_below_and_sorts_by_number(phantom_root, tmp_path, scan):
    benign = shutil.copytree(phantom_root, tmp_path / "archive" / "Dataset_BUSI_with_GT") / "benign"
    for number in (9, 10):
        shutil.copy(benign / "benign (3).png", benign / f"benign ({number}).png")
        shutil.copy(benign / "benign (3)_mask.png", benign / f"benign ({number})_mask.png")
    cases = scan(tmp_path).cases
    assert [case.label for case in cases] == ["normal"] * 8 + ["benign"] * 10 + ["malignant"] * 8
    ids = [case.image_id for case in cases if case.label == "benign"]
    assert ids == [f"benign ({number})" for number in range(1, 11)]


def test_equal_stems_in_two_classes_get_ids_of_their_own(broken, scan):
    for label in CLASS_NAMES:
        for suffix in ("", "_mask"):
            (broken / label / f"{label} (1){suffix}.png").rename(broken / label / f"001{suffix}.png")
    ids = [case.image_id for case in scan(broken).cases]
    assert {"normal/001", "benign/001", "malignant/001", "benign (2)"} <= set(ids)
    assert len(set(ids)) == len(ids)


def test_an_empty_class_is_refused_and_a_missing_normal_is_not(broken, scan):
    shutil.rmtree(broken / "normal")
    assert {case.label for case in scan(broken).cases} == {"benign", "malignant"}
    for path in (broken / "malignant").iterdir():
        path.unlink()
    problems = scan(broken).problems
    assert [problem.partition(":")[0] for problem in problems] == ["malignant/"]


def test_a_class_without_masks_beside_one_with_masks_is_one_problem(broken, scan):
    for path in (broken / "benign").glob("*_mask.png"):
        path.unlink()
    problems = scan(broken).problems
    assert len(problems) == 1
    assert problems[0].startswith("benign/: none of its images has a mask")


def test_class_folders_without_any_mask_have_classes_only(broken, scan):
    for path in broken.rglob("*_mask.png"):
        path.unlink()
    found = scan(broken)
    assert {(case.label, case.masks) for case in found.cases} == {
        ("normal", ()),
        ("benign", None),
        ("malignant", None),
    }
    assert len(found.warnings) == 1


def test_two_data_sets_in_one_folder_are_not_chosen_between(phantom_root, tmp_path, scan):
    for name in ("one", "two"):
        shutil.copytree(phantom_root, tmp_path / name)
    with pytest.raises(DataLayoutError, match="several data sets") as caught:
        scan(tmp_path)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["one", "two"]


def test_copies_of_masks_are_never_images(broken, scan):
    normal = broken / "normal"
    for copy in ("normal (1)_mask - Copy.png", "normal (1)_mask(1).png", "normal (2)_mask copy 2.png"):
        shutil.copy(normal / "normal (1)_mask.png", normal / copy)
    found = scan(broken)
    assert len(found.cases) == 24 and len(found.warnings) == 3


def test_a_mask_under_any_other_name_is_no_normal_image(broken):
    normal = broken / "normal"
    shutil.copy(broken / "benign" / "benign (1)_mask.png", normal / "masks of normal (1).png")
    source = read_source(str(broken), broken)
    assert [problem.split(":")[0] for problem in source.problems] == ["normal/masks of normal (1).png"]


def test_accents_are_matched_however_they_are_written(broken, scan):
    benign = broken / "benign"
    (benign / "benign (1).png").rename(benign / "e\u0301.png")
    (benign / "benign (1)_mask.png").rename(benign / "\u00e9_mask.png")
    (case,) = (case for case in scan(broken).cases if case.image_id == "\u00e9")
    assert len(case.masks) == 1
