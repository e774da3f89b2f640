import pytest
import torch
from torch import nn

from busi_unet.errors import TrainingError
from busi_unet.training.checkpoint import (
    CHECKPOINT_NAME,
    has_checkpoint,
    load_checkpoint,
    save_checkpoint,
    writing,
)


def test_states_come_back(tmp_path):
    saved, loaded = nn.Linear(2, 3), nn.Linear(2, 3)
    assert not has_checkpoint(tmp_path)
    save_checkpoint(tmp_path, {"model": saved})
    assert has_checkpoint(tmp_path)
    load_checkpoint(tmp_path, {"model": loaded})
    assert torch.equal(saved.weight, loaded.weight)
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_NAME]


@pytest.mark.parametrize("covered", [False, True])
def test_a_failed_save_keeps_the_checkpoint_before(tmp_path, monkeypatch, covered):
    before = nn.Linear(2, 3)
    save_checkpoint(tmp_path, {"model": before})

    def fail_halfway(_state, file):
        file.write(b"half")
        try:
            raise OSError("disk full")
        except OSError:
            if covered:
                raise RuntimeError("[enforce fail] unexpected pos 704 vs 598")  # noqa: B904 (as torch does)
            raise

    monkeypatch.setattr(torch, "save", fail_halfway)
    with pytest.raises(TrainingError, match=r"disk full.*checkpoint is intact.*--resume"):
        save_checkpoint(tmp_path, {"model": nn.Linear(2, 3)})
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_NAME]
    after = nn.Linear(2, 3)
    load_checkpoint(tmp_path, {"model": after})
    assert torch.equal(before.weight, after.weight)


def test_before_the_first_checkpoint_there_is_nothing_to_resume(tmp_path):
    expected = rf"{tmp_path} cannot be written .*No space.*no checkpoint"
    with pytest.raises(TrainingError, match=expected) as caught, writing(tmp_path):
        raise OSError(28, "No space left on device")
    assert "--resume" not in str(caught.value)


def test_what_cannot_be_resumed_is_said(tmp_path):
    save_checkpoint(tmp_path, {"model": nn.Linear(2, 3)})
    with pytest.raises(TrainingError, match="does not fit this run"):
        load_checkpoint(tmp_path, {"model": nn.Linear(5, 3)})
    with pytest.raises(TrainingError, match="does not fit this run"):
        load_checkpoint(tmp_path, {"model": nn.Linear(2, 3), "ema": nn.Linear(2, 3)})


@pytest.mark.parametrize("damage", ["empty", "cut", "other", "bit"])
def test_a_damaged_checkpoint_is_one_sentence(tmp_path, damage):
    save_checkpoint(tmp_path, {"model": nn.Linear(200, 30)})
    path = tmp_path / CHECKPOINT_NAME
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 64]) + whole[middle + 1 :]
    path.write_bytes({"empty": b"", "cut": whole[:middle], "other": b"no checkpoint", "bit": flipped}[damage])
    with pytest.raises(TrainingError, match="is damaged") as caught:
        load_checkpoint(tmp_path, {"model": nn.Linear(200, 30)})
    assert "\n" not in str(caught.value)
