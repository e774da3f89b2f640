import subprocess
import sys
from pathlib import Path

import pytest

from busi_unet.errors import BusiUNetError
from busi_unet.io.files import replace_file, whole_or_nothing


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
