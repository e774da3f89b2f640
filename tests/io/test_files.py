import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from fakes.image_files import pack

from busi_unet.errors import BusiUNetError, DataLayoutError
from busi_unet.io.files import replace_file, unpack, whole_or_nothing

LIMITS = {"max_bytes": 10_000, "max_files": 5}


def test_a_finished_folder_takes_the_place_of_the_earlier_one(tmp_path):
    output = tmp_path / "output"
    output.mkdir()
    (output / "old.txt").write_text("old")
    with whole_or_nothing(output) as partial:
        (partial / "new.txt").write_text("new")
        assert (output / "old.txt").exists()
    assert [path.name for path in output.iterdir()] == ["new.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["output"]


def test_an_unfinished_folder_leaves_no_trace(tmp_path):
    output = tmp_path / "output"
    output.mkdir()
    (output / "old.txt").write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_or_nothing(output) as partial:
        (partial / "new.txt").write_text("half")
        raise KeyboardInterrupt
    assert [path.name for path in output.iterdir()] == ["old.txt"]
    assert [path.name for path in tmp_path.iterdir()] == ["output"]


def test_a_full_disk_is_one_clear_sentence(tmp_path):
    with (
        pytest.raises(BusiUNetError, match=r"output could not be written \(\[Errno 28\] No space"),
        whole_or_nothing(tmp_path / "output"),
    ):
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_kill_in_the_middle_of_writing_leaves_the_file_before(tmp_path):
    """SIGKILL, so that nothing of Python's own tidying helps."""
    path = tmp_path / "file"
    replace_file(path, lambda file: file.write(b"before"))
    code = (
        "import os, pathlib, signal, sys\n"
        "from busi_unet.io.files import replace_file\n"
        "def write(file):\n"
        "    file.write(b'half')\n"
        "    file.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "replace_file(pathlib.Path(sys.argv[1]), write)\n"
    )
    root = Path(__file__).resolve().parents[2]
    assert subprocess.run([sys.executable, "-c", code, str(path)], cwd=root).returncode == -9
    assert path.read_bytes() == b"before"
    replace_file(path, lambda file: file.write(b"after"))
    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["../a.png", "x/../../a.png", "/a.png", "C:\\a.png", "..\\a.png"])
def test_a_climbing_path_is_not_unpacked_and_stops_no_other(name, tmp_path):
    archive = pack(tmp_path / "a.zip", {"fine.png": b"", name: b"x"})
    assert set(unpack(archive, tmp_path / "out", **LIMITS)) == {name.replace("\\", "/")}
    assert [path.name for path in tmp_path.rglob("*.png")] == ["fine.png"]


def test_an_entry_that_is_there_twice_is_taken_once_and_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        for content in ("first", "second"):
            archive.writestr("a.png", content)
    assert list(unpack(tmp_path / "a.zip", tmp_path / "out", **LIMITS)) == ["a.png"]
    assert (tmp_path / "out" / "a.png").read_text() == "first"


@pytest.mark.parametrize("files", [{"a": bytes(10_001)}, {str(index): b"" for index in range(6)}])
def test_a_bomb_is_refused_before_it_is_unpacked(files, tmp_path):
    with pytest.raises(DataLayoutError, match="would unpack to"):
        unpack(pack(tmp_path / "a.zip", files), tmp_path / "out", **LIMITS)
    assert not (tmp_path / "out").exists()


def test_a_bomb_that_lies_about_its_size_stays_small(tmp_path):
    archive = pack(tmp_path / "a.zip", {"a": bytes(5_000_000)})
    data = archive.read_bytes()
    true, told = (size.to_bytes(4, "little") for size in (5_000_000, 10))
    assert data.count(true) == 2
    archive.write_bytes(data.replace(true, told))
    assert unpack(archive, tmp_path / "out", **LIMITS)["a"].startswith("damaged")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_damaged_entry_is_named_and_the_others_are_there(tmp_path):
    archive = pack(tmp_path / "a.zip", {"a.png": bytes(range(256)), "b.png": b"b"})
    data = bytearray(archive.read_bytes())
    data[60] ^= 0xFF
    archive.write_bytes(data)
    assert unpack(archive, tmp_path / "out", **LIMITS)["a.png"].startswith("damaged")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["b.png"]
