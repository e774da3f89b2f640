import csv
import os

import pytest
import torch
from accelerate import Accelerator
from datasets import DatasetDict
from fakes.made_up import CASES, make_split
from PIL import Image
from torch import nn

from busi_unet.errors import TrainingError, UsageError
from busi_unet.training.options import TrainOptions
from busi_unet.training.run_folder import (
    CHECKPOINT_NAME,
    CURVES_NAME,
    HISTORY_NAME,
    load_checkpoint,
    open_run_folder,
    save_checkpoint,
    write_curves,
)

DATA = DatasetDict(train=make_split(CASES[:3]), validation=make_split(CASES[3:5]), test=make_split(CASES[5:]))
ROTATED = DatasetDict(train=DATA["train"], validation=DATA["test"], test=DATA["validation"])


def open_folder(options: TrainOptions, data: DatasetDict = DATA) -> None:
    open_run_folder(options, Accelerator(cpu=True), data)


@pytest.fixture
def started(tmp_path) -> TrainOptions:
    """The options to resume a run with that has a checkpoint."""
    options = TrainOptions(output=tmp_path / "run", epochs=3)
    open_folder(options)
    (options.output / CHECKPOINT_NAME).touch()
    return options.replace(resume=True)


def test_two_runs_are_not_mixed(started):
    with pytest.raises(UsageError, match="already holds a run"):
        open_folder(started.replace(resume=False))
    with pytest.raises(UsageError, match=r"other options: --epochs was 3\. Resume with those"):
        open_folder(started.replace(epochs=5))
    with pytest.raises(UsageError, match="another split of the data, so it may know the test images"):
        open_folder(started, ROTATED)
    open_folder(started.replace(workers=2, accumulate=2))


def test_a_finished_run_is_not_taken_for_an_empty_folder(tmp_path):
    """Without its checkpoint, as people copy it: a training there would end with the old model."""
    options = TrainOptions(output=tmp_path / "run")
    (options.output / "model").mkdir(parents=True)
    (options.output / "manifest.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UsageError, match="already holds a run"):
        open_folder(options)


def test_a_failed_save_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    before, after = nn.Linear(2, 3), nn.Linear(2, 3)
    save_checkpoint(tmp_path, {"model": before})

    def full(_file):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TrainingError, match=r"disk full.*checkpoint is intact.*--resume"):
        save_checkpoint(tmp_path, {"model": nn.Linear(2, 3)})
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_NAME]
    load_checkpoint(tmp_path, {"model": after})
    assert torch.equal(before.weight, after.weight)


@pytest.mark.parametrize("damage", ["empty", "cut", "other", "bit"])
def test_a_damaged_checkpoint_is_one_sentence(tmp_path, damage):
    save_checkpoint(tmp_path, {"model": nn.Linear(200, 30)})
    with pytest.raises(TrainingError, match="is damaged, or of another version"):
        load_checkpoint(tmp_path, {"model": nn.Linear(5, 3)})
    path = tmp_path / CHECKPOINT_NAME
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 64]) + whole[middle + 1 :]
    path.write_bytes({"empty": b"", "cut": whole[:middle], "other": b"no checkpoint", "bit": flipped}[damage])
    with pytest.raises(TrainingError, match="is damaged") as caught:
        load_checkpoint(tmp_path, {"model": nn.Linear(200, 30)})
    assert "\n" not in str(caught.value)


def test_the_history_is_a_table_and_curves(tmp_path):
    parts = {
        f"{part}_{name}": 0.5 for part in ("train", "validation") for name in ("loss", "dice", "accuracy")
    }
    write_curves(tmp_path, [{"epoch": 1, **parts, "validation_dice": None}, {"epoch": 2, **parts}])
    with (tmp_path / HISTORY_NAME).open(newline="", encoding="utf-8") as file:
        assert [row["validation_dice"] for row in csv.DictReader(file)] == ["", "0.5"]
    with Image.open(tmp_path / CURVES_NAME) as curves:
        assert len(set(curves.convert("L").tobytes())) > 10
