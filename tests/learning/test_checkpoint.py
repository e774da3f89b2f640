import pytest
import torch
from torch import nn

from busi_unet.errors import TrainingError
from busi_unet.learning.checkpoint import CHECKPOINT_NAME, load_checkpoint, save_checkpoint


def test_states_come_back(tmp_path):
    saved, loaded = nn.Linear(2, 3), nn.Linear(2, 3)
    save_checkpoint(tmp_path, {"model": saved})
    load_checkpoint(tmp_path, {"model": loaded})
    assert torch.equal(saved.weight, loaded.weight)
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_NAME]


def test_a_failed_save_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    before = nn.Linear(2, 3)
    save_checkpoint(tmp_path, {"model": before})

    def fail_halfway(_state, path):
        path.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail_halfway)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(tmp_path, {"model": nn.Linear(2, 3)})
    after = nn.Linear(2, 3)
    load_checkpoint(tmp_path, {"model": after})
    assert torch.equal(before.weight, after.weight)


def test_what_cannot_be_resumed_is_said(tmp_path):
    with pytest.raises(TrainingError, match="no checkpoint"):
        load_checkpoint(tmp_path, {})
    save_checkpoint(tmp_path, {"model": nn.Linear(2, 3)})
    with pytest.raises(TrainingError, match="cannot be resumed"):
        load_checkpoint(tmp_path, {"model": nn.Linear(5, 3)})
    with pytest.raises(TrainingError, match="cannot be resumed"):
        load_checkpoint(tmp_path, {"model": nn.Linear(2, 3), "ema": nn.Linear(2, 3)})
    (tmp_path / CHECKPOINT_NAME).write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(TrainingError, match="cannot be resumed"):
        load_checkpoint(tmp_path, {"model": nn.Linear(2, 3)})
