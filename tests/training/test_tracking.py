import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from fakes.tracked_run import make_parts, track
from PIL import Image

from busi_unet.errors import MissingDependencyError
from busi_unet.imaging.overlay import COLORS
from busi_unet.training.options import TrainOptions
from busi_unet.training.tracking import (
    choose_images,
    draw_predictions,
    open_trackers,
)

FAKES = Path(__file__).parents[1] / "fakes"
METRICS = {"learning_rate", "train_loss", "validation_dice", "validation_accuracy"}


def run(*command: str, processes: int = 1) -> str:
    """Runs Python with a fresh trackio, returns stdout."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRACKIO_")}
    environment |= {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    environment["PYTHONPATH"] = os.pathsep.join([str(FAKES.parent), str(FAKES.parents[1])])
    result = subprocess.run(
        [sys.executable, *(launcher if processes > 1 else []), *command],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def read_tensorboard(output: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(output / "tensorboard"), {"images": 0}).Reload()


def read_trackio(output: Path) -> tuple[list, list, list]:
    """Names, options and rows of all runs of the project, as trackio reads them back."""
    code = (
        "import json, trackio\n"
        "from trackio.sqlite_storage import SQLiteStorage\n"
        "runs = trackio.Api().runs('busi_unet')\n"
        "rows = [SQLiteStorage.get_logs('busi_unet', run.name, run_id=run.id) for run in runs]\n"
        "print(json.dumps([[run.name for run in runs], [run.config for run in runs], rows]))"
    )
    environment = {**os.environ, "TRACKIO_DIR": str(output / "trackio")}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return tuple(json.loads(result.stdout))


def test_tensorboard_has_one_value_per_epoch_though_a_resume_repeats_one(tmp_path):
    output = tmp_path / "run"
    track("tensorboard", output, 0, 3, killed=True)
    track("tensorboard", output, 2, 4, killed=False)
    log = read_tensorboard(output)
    assert set(log.Tags()["scalars"]) == METRICS
    for name in METRICS:
        assert [event.step for event in log.Scalars(name)] == [1, 2, 3, 4]
    # The third epoch counts as the resumed run saw it.
    assert [event.value for event in log.Scalars("learning_rate")] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert len(log.Tags()["images"]) == 4
    for tag in log.Tags()["images"]:
        assert [event.step for event in log.Images(tag)] == [1, 2, 3, 4]
        logged = Image.open(io.BytesIO(log.Images(tag)[0].encoded_image_string))
        assert (logged.size, logged.mode) == ((32, 32), "RGB")


@pytest.mark.slow
def test_trackio_goes_on_with_the_run_that_is_resumed(tmp_path):
    output = tmp_path / "run"
    program = str(FAKES / "tracked_run.py")
    # Results own stdout; trackio's news go to stderr.
    assert run(program, "trackio", str(output), "0", "3", "killed") == "finished 0\n"
    assert run(program, "trackio", str(output), "2", "4") == "finished 0\n"
    names, configs, (rows,) = read_trackio(output)
    assert names == ["run"]
    assert configs[0]["encoder"] == TrainOptions().encoder
    values: dict[str, list] = {}
    for row in sorted(rows, key=lambda row: row["step"]):
        for name in set(row) - {"step", "timestamp"}:
            values.setdefault(name, []).append((row["step"], row[name]))
    overlays = {name for name in values if name.startswith("overlays/")}
    assert set(values) == METRICS | overlays
    assert len(overlays) == 4
    for name in values:
        assert sorted({step for step, _ in values[name]}) == [1, 2, 3, 4]
    for name in overlays:
        for _, logged in values[name]:
            assert "reference blue, prediction orange" in logged["caption"]
            with Image.open(output / "trackio" / "media" / logged["file_path"]) as image:
                assert image.size == (32, 32)


@pytest.mark.slow
@pytest.mark.parametrize("tracker", ["tensorboard", "trackio"])
def test_only_the_main_process_writes(tracker, tmp_path):
    said = run(str(FAKES / "tracked_run.py"), tracker, str(tmp_path / "run"), "0", "1", processes=2)
    assert sorted(said.split()) == ["0", "1", "finished", "finished"]
    if tracker == "tensorboard":
        assert len([path for path in (tmp_path / "run").rglob("*") if path.is_file()]) == 1
        assert len(read_tensorboard(tmp_path / "run").Scalars("train_loss")) == 1
    else:
        names, _, (rows,) = read_trackio(tmp_path / "run")
        assert names == ["run"]
        assert sum("train_loss" in row for row in rows) == 1
        assert len(list((tmp_path / "run" / "trackio" / "media").rglob("*.png"))) == 4


@pytest.mark.parametrize("tracker", ["tensorboard", "trackio"])
def test_a_tracker_that_is_not_installed_is_named(tracker, tmp_path):
    accelerator = Accelerator(cpu=True, project_dir=tmp_path)
    with pytest.raises(MissingDependencyError, match=rf"{tracker} is not installed"):
        open_trackers(TrainOptions(output=tmp_path, tracker=tracker), accelerator)


def test_the_images_cover_the_classes_and_stay_the_same():
    labels = np.array([1] * 50 + [0, 2] + [1] * 50)
    chosen = choose_images(labels)
    assert len(set(chosen)) == 4
    assert set(labels[chosen]) == {0, 1, 2}
    assert chosen == choose_images(labels)
    assert sorted(choose_images(np.array([1, 1]))) == [0, 1]


class Answer(torch.nn.Module):
    """Predicts one rectangle on every image."""

    def forward(self, images):
        logits = torch.full_like(images, -1)
        logits[:, :, 20:28, 20:28] = 1
        return logits, torch.tensor([[0.0, 0.0, 1.0]]).expand(len(images), 3)


def test_an_overlay_shows_the_reference_and_the_prediction():
    _, dataset = make_parts()
    index = dataset.image_ids.index("benign (1)")
    (overlay,), classes = draw_predictions(Accelerator(cpu=True), Answer(), dataset, [index])
    assert classes == ["malignant"]
    pixels = np.asarray(overlay)
    orange, blue = (pixels == COLORS["orange"]).all(2), (pixels == COLORS["sky blue"]).all(2)
    assert orange[20, 20:28].all()
    assert not orange[23:25, 23:25].any()
    assert blue.any()
    assert dataset.masks[index][blue].all()
    inside = ~(orange | blue)
    assert (pixels[inside] == dataset.images[index][inside][:, None]).all()
