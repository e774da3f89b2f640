import zipfile

import pytest

from busi_unet.errors import DataLayoutError
from busi_unet.io.archives import unpack

LIMITS = {"max_bytes": 10_000, "max_files": 5}


def write(path, **files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zip_file:
        for name, content in files.items():
            zip_file.writestr(name, content)
    return path


def test_entries_keep_their_folders(tmp_path):
    archive = write(tmp_path / "a.zip", **{"x/y/a.png": b"a", "b.png": b"b"})
    assert unpack(archive, tmp_path / "out", **LIMITS) == []
    assert (tmp_path / "out" / "x" / "y" / "a.png").read_bytes() == b"a"


@pytest.mark.parametrize("name", ["../a.png", "x/../../a.png", "/a.png", "C:\\a.png", "..\\a.png"])
def test_a_climbing_path_unpacks_nothing(name, tmp_path):
    archive = write(tmp_path / "a.zip", **{"fine.png": b"", name: b"x"})
    with pytest.raises(DataLayoutError, match=r"^upload\.zip is not safe"):
        unpack(archive, tmp_path / "out", name="upload.zip", **LIMITS)
    assert list(tmp_path.rglob("*.png")) == []


@pytest.mark.parametrize("files", [{"a": bytes(10_001)}, {str(index): b"" for index in range(6)}])
def test_a_bomb_is_refused_before_it_is_unpacked(files, tmp_path):
    with pytest.raises(DataLayoutError, match="would unpack to"):
        unpack(write(tmp_path / "a.zip", **files), tmp_path / "out", **LIMITS)
    assert not (tmp_path / "out").exists()


def test_a_bomb_that_lies_about_its_size_stays_small(tmp_path):
    archive = write(tmp_path / "a.zip", a=bytes(5_000_000))
    data = archive.read_bytes()
    true, told = (size.to_bytes(4, "little") for size in (5_000_000, 10))
    assert data.count(true) == 2
    archive.write_bytes(data.replace(true, told))
    (problem,) = unpack(archive, tmp_path / "out", **LIMITS)
    assert problem.startswith("a: damaged")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_damaged_entry_is_named_and_the_others_are_there(tmp_path):
    archive = write(tmp_path / "a.zip", **{"a.png": bytes(range(256)), "b.png": b"b"})
    data = bytearray(archive.read_bytes())
    data[60] ^= 0xFF
    archive.write_bytes(data)
    (problem,) = unpack(archive, tmp_path / "out", **LIMITS)
    assert problem.startswith("a.png: damaged")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.png"]


def test_no_zip(tmp_path):
    (tmp_path / "a.zip").write_text("no zip")
    with pytest.raises(DataLayoutError, match="is not a zip"):
        unpack(tmp_path / "a.zip", tmp_path / "out", **LIMITS)
