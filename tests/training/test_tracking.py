import pytest
import torch
from accelerate import Accelerator
from fakes.made_up import make_split

from busi_unet.config import Preprocess
from busi_unet.data.torch_dataset import LesionDataset
from busi_unet.errors import MissingDependencyError
from busi_unet.inference.preprocess import Preprocessor
from busi_unet.training.options import TrainOptions
from busi_unet.training.run_folder import close_tracker, log_overlays, open_tracker

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
