import pytest

from busi_unet.errors import BusiUNetError
from busi_unet.files import whole_or_nothing


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
