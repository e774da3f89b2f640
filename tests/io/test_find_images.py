import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from fakes.dicom_files import dicom
from fakes.image_files import encoded, pack
from PIL import Image

from busi_unet.errors import UnreadableImageError, UsageError
from busi_unet.io.find_images import ImageFile, find_images


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


# --- Shards --------------------------------------------------------------------------------------


def tar(path, *names: str, **kinds: bytes) -> None:
    with tarfile.open(path, "w") as file:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = len(PNG)
            file.addfile(entry, io.BytesIO(PNG))
        for name, kind in kinds.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            file.addfile(entry)


def in_shards(path, **limits) -> list[ImageFile]:
    return find_images([path], path.parent, shards=True, show=lambda given: given.name, **limits)


def test_images_of_a_tar_are_read_where_they_lie(tmp_path):
    names = ("0001.png", "0001.json", "./a/0002.JPG", "a/._0002.jpg", "0001_mask.png", "/etc/0003.png")
    tar(tmp_path / "s-0.tar", *names, link=tarfile.SYMTYPE, device=tarfile.BLKTYPE)
    files = in_shards(tmp_path)
    shown = [file.shown.partition("/")[2] for file in files]
    assert shown == ["s-0.tar/0001.png", "s-0.tar/./a/0002.JPG", "s-0.tar//etc/0003.png"]
    assert [file.name for file in files] == ["s-0__0001", "s-0__a__0002", "s-0_____etc__0003"]
    assert {file.content() for file in files} == {PNG}
    assert [path.name for path in tmp_path.iterdir()] == ["s-0.tar"]


def test_what_is_wrong_with_a_tar_is_a_row_beside_its_images(tmp_path, monkeypatch):
    path = tmp_path / "s.tar"
    tar(path, "1.png", "2.png", "3.png")
    whole = path.read_bytes()
    first, *_, last = in_shards(path)
    assert "more than 2 files" in in_shards(path, max_files=2)[-1].problem
    path.write_bytes(whole[: last.place[0] + 5])
    assert [bool(file.problem) for file in in_shards(path)] == [False, False, True, True]
    with pytest.raises(UnreadableImageError, match=r"s\.tar/3\.png"):
        last.content()
    damaged = bytearray(whole)
    damaged[first.place[0] + 512 : first.place[0] + 564] = b"x" * 52
    path.write_bytes(damaged)
    assert [bool(file.problem) for file in in_shards(path)] == [False, True]
    path.write_bytes(b"\x1f\x8b compressed")
    assert [bool(file.problem) for file in in_shards(path)] == [True]
    path.write_bytes(whole)
    monkeypatch.setattr("busi_unet.io.find_images.MAX_MEMBER_BYTES", 10)
    assert all("larger" in file.problem for file in in_shards(path))


def test_images_of_parquet_files(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    image = [{"bytes": PNG, "path": None}, {"bytes": None, "path": "b.png"}]
    table = pyarrow.table({"image": image, "image_id": ["benign (1)", "b"]})
    parquet.write_table(table, tmp_path / "train.parquet", row_group_size=1)
    good, lacking = in_shards(tmp_path)
    assert (good.name, good.content()) == ("train__benign (1)", PNG)
    with pytest.raises(UnreadableImageError, match=r"train\.parquet/b"):
        lacking.content()
    parquet.write_table(pyarrow.table({"text": ["a"]}), tmp_path / "train.parquet")
    (other,) = in_shards(tmp_path)
    assert "no column image" in other.problem
