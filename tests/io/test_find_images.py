from pathlib import Path

import numpy as np
import pytest
from fakes.dicom_files import dicom
from fakes.image_files import encoded, pack
from PIL import Image

from busi_unet.errors import UsageError
from busi_unet.io.find_images import find_images


@pytest.fixture
def scratch(tmp_path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


PNG = encoded(Image.new("L", (20, 20)))


def write(path: Path, content: bytes = PNG) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_folders_are_searched_and_names_kept_apart(scratch, tmp_path):
    root = tmp_path / "in"
    for name in ("x/a.png", "y/a.png", "y/a.bmp", "y/a-2.png", "y/a_mask.png", "y/a_overlay.png", ".b/c.png"):
        write(root / name)
    for name in ("z/b.jfif", "z/c.JPE", "z/d.gif"):
        write(root / name)
    write(root / "notes.txt", b"left alone")
    found = find_images([root], scratch)
    assert [file.name for file in found] == [*("x__a", "y__a-2", "y__a", "y__a-3", "z__b", "z__c", "z__d")]
    assert found[0].shown == str(root / "x" / "a.png")


def test_a_zip_is_searched_like_a_folder(scratch, tmp_path):
    files = {"study/b.png": PNG, "study/deep/a.PNG": PNG, "study/b_mask.png": PNG, "notes.txt": b"x"}
    files |= {"__MACOSX/study/._b.png": b"x", "study/b_mask - Copy.png": PNG}
    found = find_images([pack(tmp_path / "s.zip", files)], scratch, show=lambda path: path.name)
    assert [file.shown for file in found] == ["s.zip/study/b.png", "s.zip/study/deep/a.PNG"]
    assert [file.name for file in found] == ["study__b", "study__deep__a"]
    assert all(file.path.is_file() and not file.problem for file in found)


def test_two_uploads_of_one_name_are_told_apart(scratch, tmp_path):
    twice = write(tmp_path / "a.png")
    paths = [twice, twice, write(tmp_path / "x" / "a-2.png"), pack(tmp_path / "s.zip", {"b.png": PNG})]
    found = find_images([*paths, paths[-1]], scratch, show=lambda path: path.name)
    assert [file.name for file in found] == ["a", "a-2", "a-2-2", "b", "b-2"]
    assert [file.shown for file in found] == [
        *("a.png", "a-2.png", "a-2-2.png", "s.zip/b.png", "s.zip/b-2.png")
    ]


def test_dicom_needs_no_ending(scratch, tmp_path):
    content = dicom(np.zeros((20, 20), np.uint8))
    archive = pack(tmp_path / "s.zip", {"IM0001": content, "1.2.840.7": content, "DICOMDIR": content})
    assert [file.name for file in find_images([archive], scratch)] == ["1.2.840.7", "IM0001"]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"../a.png": b"x"}, "s.zip/../a.png: its path leads out"),
        ({"inner.zip": b"x"}, "s.zip/inner.zip is a zip inside a zip"),
        ({"a.png": bytes(3000)}, "s.zip would unpack to"),
        ({"notes.txt": b""}, "s.zip holds no image"),
    ],
)
def test_a_zip_that_cannot_be_used_is_one_entry(files, problem, scratch, tmp_path):
    paths = [pack(tmp_path / "s.zip", files), write(tmp_path / "good.png")]
    bad, good = find_images(paths, scratch, max_bytes=2000, show=lambda path: path.name)
    assert bad.problem.startswith(problem)
    assert "\n" not in bad.problem
    assert (good.shown, good.problem) == ("good.png", "")


def test_names_of_results_are_short_and_apart(scratch, tmp_path):
    names = ("1.2.7.1", "1.2.7.10", "e\u0301.png", "\u00e9.png", ".h.png", "H.png", "a\\b.png", "a:b.png")
    paths = [write(tmp_path / "in" / name) for name in names]
    found = find_images([*paths, tmp_path / ("x" * 300)], scratch)
    assert [file.name for file in found[:-1]] == [
        *("1.2.7.1", "1.2.7.10", "\u00e9", "\u00e9-2", "h", "H-2", "a_b", "a_b-2")
    ]
    assert len(found[-1].name) <= 200


def test_an_empty_folder_is_one_entry_and_too_many_images_are_wrong_usage(scratch, tmp_path):
    (tmp_path / "in").mkdir()
    (found,) = find_images([tmp_path / "in"], scratch)
    assert "holds no image" in found.problem
    paths = [write(tmp_path / f"{index}.png") for index in range(3)]
    with pytest.raises(UsageError, match=r"These are 3 images; one run takes at most 2\."):
        find_images(paths, scratch, max_images=2)
