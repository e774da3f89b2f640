import os

import pytest
import torch
from accelerate import Accelerator
from datasets import DatasetDict
from fakes.made_up import CASES, make_split
from PIL import Image
from torch import nn

from busi_unet.config import Preprocess
from busi_unet.data.torch_dataset import LesionDataset
from busi_unet.errors import MissingDependencyError, TrainingError, UsageError
from busi_unet.inference.preprocess import Preprocessor
from busi_unet.training.options import TrainOptions
from busi_unet.training.run_folder import (
    CHECKPOINT_NAME,
    close_tracker,
    draw_curves,
    load_checkpoint,
    log_overlays,
    open_run_folder,
    open_tracker,
    save_checkpoint,
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


def test_curves_are_drawn_of_metrics_that_may_be_missing(tmp_path):
    parts = {
        f"{part}_{name}": 0.5 for part in ("train", "validation") for name in ("loss", "dice", "accuracy")
    }
    draw_curves(tmp_path / "it.png", [{"epoch": 1, **parts, "validation_dice": None}, {"epoch": 2, **parts}])
    with Image.open(tmp_path / "it.png") as curves:
        assert len(set(curves.convert("L").tobytes())) > 10


# --- TensorBoard and trackio ---

OVERLAYS = {"overlays/normal", "overlays/benign", "overlays/malignant"}


class Answer(torch.nn.Module):
    """Predicts one rectangle on every image."""

    def forward(self, images):
        logits = torch.full_like(images, -1)
        logits[:, :, 20:28, 20:28] = 1
        return logits, torch.tensor([[0.0, 0.0, 1.0]])


def test_tensorboard_has_one_value_per_epoch_though_a_resume_repeats_one(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    dataset = LesionDataset(make_split(), Preprocessor(Preprocess(size=32)), progress=False)
    for epochs, value in ((range(1, 4), 0.5), (range(3, 5), 0.25)):
        accelerator = Accelerator(cpu=True, log_with="tensorboard", project_dir=tmp_path)
        options = TrainOptions(output=tmp_path, tracker="tensorboard")
        open_tracker(options, accelerator, resumed_at=epochs[0] - 1)
        for epoch in epochs:
            accelerator.log({"train_loss": value}, step=epoch)
            log_overlays(accelerator, Answer(), dataset, epoch)
        close_tracker(accelerator)
    log = EventAccumulator(str(tmp_path / "tensorboard"), {"images": 0}).Reload()
    logged = [(event.step, event.value) for event in log.Scalars("train_loss")]
    assert logged == [(1, 0.5), (2, 0.5), (3, 0.25), (4, 0.25)]
    assert set(log.Tags()["images"]) == OVERLAYS
    assert [event.step for event in log.Images("overlays/benign")] == [1, 2, 3, 4]


def test_trackio_goes_on_with_the_run_that_is_resumed(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    dataset = LesionDataset(make_split(), Preprocessor(Preprocess(size=32)), progress=False)
    for epoch in (1, 2):
        accelerator = Accelerator(cpu=True, log_with="trackio", project_dir=tmp_path)
        options = TrainOptions(output=tmp_path / "run", tracker="trackio", resume=epoch > 1)
        open_tracker(options, accelerator, resumed_at=epoch - 1)
        accelerator.log({"train_loss": 0.5}, step=epoch)
        log_overlays(accelerator, Answer(), dataset, epoch)
        close_tracker(accelerator)
    # Results own stdout; trackio's news go to stderr.
    assert capfd.readouterr().out == ""
    (run,) = trackio.Api().runs("busi_unet")
    rows = SQLiteStorage.get_logs("busi_unet", run.name, run_id=run.id)
    assert (run.name, run.config["encoder"]) == ("run", options.encoder)
    assert sorted(row["step"] for row in rows if "train_loss" in row) == [1, 2]
    assert set().union(*rows) >= OVERLAYS


@pytest.mark.parametrize("tracker", ["tensorboard", "trackio"])
def test_a_tracker_that_is_not_installed_is_named(tracker, tmp_path):
    accelerator = Accelerator(cpu=True, project_dir=tmp_path)
    with pytest.raises(MissingDependencyError, match=rf"{tracker} is not installed"):
        open_tracker(TrainOptions(output=tmp_path, tracker=tracker), accelerator, resumed_at=0)
