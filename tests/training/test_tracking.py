import json
import os
import subprocess
import sys
from pathlib import Path

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

ROOT = Path(__file__).parents[2]
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


@pytest.mark.slow
def test_trackio_goes_on_with_the_run_that_is_resumed(prepared, tmp_path):
    small = {"encoder": "plain", "width": 4, "size": 32, "epochs": 2, "batch_size": 4}
    options = TrainOptions(data=prepared, output=tmp_path / "run", tracker="trackio", **small)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRACKIO_")}
    for accident in (["terminate", "4"], []):
        told = options.replace(resume=not accident).to_dict()
        program = str(ROOT / "tests" / "fakes" / "training_run.py")
        command = [sys.executable, program, json.dumps(told), *accident]
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert (result.returncode == 0) == (not accident), result.stderr
        # Results own stdout; trackio's news go to stderr.
        assert result.stdout == ""
    code = (
        "import json, trackio\n"
        "from trackio.sqlite_storage import SQLiteStorage\n"
        "(run,) = trackio.Api().runs('busi_unet')\n"
        "rows = SQLiteStorage.get_logs('busi_unet', run.name, run_id=run.id)\n"
        "print(json.dumps([run.name, run.config, rows]))"
    )
    environment["TRACKIO_DIR"] = str(options.output / "trackio")
    read = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
    name, config, rows = json.loads(read)
    assert (name, config["encoder"]) == ("run", "plain")
    assert sorted(row["step"] for row in rows if "train_loss" in row) == [1, 2]
    assert set().union(*rows) >= OVERLAYS


@pytest.mark.parametrize("tracker", ["tensorboard", "trackio"])
def test_a_tracker_that_is_not_installed_is_named(tracker, tmp_path):
    accelerator = Accelerator(cpu=True, project_dir=tmp_path)
    with pytest.raises(MissingDependencyError, match=rf"{tracker} is not installed"):
        open_tracker(TrainOptions(output=tmp_path, tracker=tracker), accelerator, resumed_at=0)
