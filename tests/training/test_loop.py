import csv
import json
import os
import random
import shutil
import signal
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState
from fakes.training_run import start
from safetensors.torch import load_file

from busi_unet.data.prepared import RECORD_NAME, load_prepared, resplit
from busi_unet.errors import TrainingError, TrainingStopped
from busi_unet.inference.predictor import Predictor
from busi_unet.models.folder import load_config
from busi_unet.training import loop, run_folder, setup
from busi_unet.training.loop import StopSignals, train
from busi_unet.training.losses import Tally
from busi_unet.training.options import TrainOptions

STEPS = 3  # of an epoch, with 4 images each


@pytest.fixture
def options(prepared, tmp_path) -> TrainOptions:
    return small(prepared, tmp_path / "run")


def small(data: Path, output: Path) -> TrainOptions:
    return TrainOptions(data=data, output=output, encoder="plain", width=4, size=32, epochs=2, batch_size=4)


@pytest.fixture(autouse=True)
def undrawn(request, monkeypatch):
    """Drawing the curves takes half the time of a run this small; one test looks at them."""
    if request.function is not test_a_run_leaves_a_model_that_predicts_and_a_record:
        monkeypatch.setattr(run_folder, "draw_curves", lambda *_: None)


@pytest.fixture(scope="module")
def unbroken(prepared, tmp_path_factory) -> Path:
    """The run folder that the `options` give when nothing comes between."""
    options = small(prepared, tmp_path_factory.mktemp("unbroken") / "run")
    train(options)
    return options.output


def weights_file(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def history(output: Path) -> list[dict[str, str]]:
    with (output / "history.csv").open(newline="", encoding="utf-8") as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


def test_a_run_leaves_a_model_that_predicts_and_a_record(options, prepared, capsys):
    folder = train(options)
    told = [line for line in capsys.readouterr().err.splitlines() if "best so far" in line]
    for line, row in zip(told, history(options.output), strict=True):
        for name in ("train_loss", "validation_loss", "validation_dice", "validation_accuracy"):
            assert f" {float(row[name]):.3f}" in line
    training = load_config(folder).training
    assert training == json.loads((options.output / "manifest.json").read_text(encoding="utf-8"))
    assert training["options"] == options.recipe()
    assert training["data"]["folds"]["test"] == [0]
    image = load_prepared(prepared)["test"][0]["image"]
    assert Predictor.from_pretrained(folder).predict(image).mask.shape == (image.height, image.width)
    assert [row["epoch"] for row in history(options.output)] == ["1", "2"]
    assert (options.output / "curves.png").stat().st_size > 0


@pytest.mark.parametrize("missing", [{"mask": None}, {"label": -1}], ids=["masks", "classes"])
def test_what_no_image_has_is_not_learned_nor_measured(options, prepared, tmp_path, missing):
    data = load_prepared(prepared)
    part = data.map(lambda row: missing, features=data["train"].features)
    part.save_to_disk(tmp_path / "part")
    folder = train(options.replace(data=tmp_path / "part", epochs=1))
    measured = load_config(folder).training["validation"]
    assert [name for name, value in measured.items() if value is None] == [
        "dice" if "mask" in missing else "accuracy"
    ]


def test_training_learns_the_phantoms(options):
    """More than a smoke test: after some epochs the loss on seen images has clearly fallen."""
    train(options.replace(epochs=16, learning_rate=5e-3, ema_decay=0.5, augment="none"))
    losses = [float(row["train_loss"]) for row in history(options.output)]
    assert losses[-1] < 0.75 * losses[0]


def test_mixed_precision(options, monkeypatch):
    for state in (AcceleratorState, PartialState):  # They keep the precision of the first in a process.
        monkeypatch.setattr(state, "_shared_state", {})
    train(options.replace(precision="bf16", epochs=1))
    assert float(history(options.output)[0]["validation_loss"]) > 0


@pytest.mark.slow
def test_a_run_killed_twice_ends_with_the_weights_of_an_unbroken_one(options, tmp_path):
    """SIGKILL in the middle of an optimizer step, at steps drawn at random."""
    options = options.replace(epochs=4, checkpoint_minutes=1e-6)
    unbroken = train(options)
    killed = options.replace(output=tmp_path / "killed")
    draw = random.Random(0)

    def run(accident: tuple[str, int] | None = None, **changes) -> int:
        process = start(killed.replace(**changes), tmp_path / "said.log", accident)
        process.join()
        return process.exitcode

    # The first two programs die before they are through.
    assert run(("kill", draw.randint(2, 2 * STEPS))) == -signal.SIGKILL
    assert run(("kill", draw.randint(2, 2 * STEPS)), resume=True) == -signal.SIGKILL
    assert not (killed.output / "model").exists()
    assert run(resume=True) == 0
    assert weights_file(killed.output / "model") == weights_file(unbroken)
    assert history(killed.output) == history(options.output)


def after_step(monkeypatch, number: int, action) -> None:
    """Call `action` in the optimizer step with this number, from 1."""
    steps = 0
    take_step = torch.optim.AdamW.step

    def counted(self, *arguments, **keywords):
        nonlocal steps
        steps += 1
        result = take_step(self, *arguments, **keywords)
        if steps == number:
            action()
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", counted)


@pytest.mark.parametrize(
    ("step", "number", "progress"),
    [(2, signal.SIGTERM, (0, 2)), (STEPS, signal.SIGINT, (0, STEPS)), (STEPS + 1, signal.SIGTERM, (1, 1))],
    ids=["within an epoch", "at the end of one", "in the next"],
)
def test_a_signal_ends_the_step_and_the_run_continues_from_there(
    options, unbroken, monkeypatch, step, number, progress
):
    with monkeypatch.context() as patch:
        after_step(patch, step, lambda: os.kill(os.getpid(), number))
        assert_stopped(options, number, progress)
    assert_resumes_to(unbroken, options)


@pytest.mark.parametrize("stage", ["validate", "calibrate_model"])
def test_a_signal_after_the_last_step_ends_the_run_which_then_needs_no_step(
    options, unbroken, monkeypatch, stage
):
    work, calls = getattr(loop, stage), []

    def interrupted(*arguments, **keywords):
        calls.append(stage)
        if len(calls) == (options.epochs if stage == "validate" else 1):
            os.kill(os.getpid(), signal.SIGTERM)
        return work(*arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(loop, stage, interrupted)
        assert_stopped(options, signal.SIGTERM, (2, 0))
    assert not (options.output / "model").exists()
    monkeypatch.setattr(loop, "train_epoch", None)
    assert_resumes_to(unbroken, options)


def assert_stopped(options: TrainOptions, number: signal.Signals, progress: tuple[int, int]) -> None:
    """The training ends with a checkpoint of these epochs and steps, and says how to continue."""
    with pytest.raises(TrainingStopped, match=f"{number.name} received") as caught:
        train(options)
    assert caught.value.exit_code == 128 + number
    assert str(caught.value).endswith("--resume")
    state = torch.load(options.output / "checkpoint.pt", weights_only=True)["progress"]
    assert (state["epoch"], state["step"]) == progress
    assert state["tally"][1] == 4 * progress[1]


def assert_resumes_to(unbroken: Path, options: TrainOptions) -> None:
    """Resumed, it ends like the run that nothing broke."""
    resumed = train(options.replace(resume=True))
    assert weights_file(unbroken / "model") == weights_file(resumed)
    assert load_config(unbroken / "model").thresholds == load_config(resumed).thresholds
    assert history(unbroken) == history(options.output)


def test_accumulation_survives_a_stop_within_an_epoch(options, tmp_path, monkeypatch):
    options = options.replace(accumulate=2, epochs=1)
    unbroken = train(options)
    stopped = options.replace(output=tmp_path / "stopped")
    with monkeypatch.context() as patch:
        after_step(patch, 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(TrainingStopped):
            train(stopped)
    assert weights_file(train(stopped.replace(resume=True))) == weights_file(unbroken)


def test_a_finished_run_that_is_resumed_ends_at_once(unbroken, options, tmp_path, monkeypatch):
    copy = shutil.copytree(unbroken, tmp_path / "copy")
    monkeypatch.setattr(loop, "finish", None)
    model = train(options.replace(output=copy, resume=True))
    assert weights_file(model) == weights_file(unbroken / "model")


def test_training_stops_early_and_the_best_epoch_becomes_the_model(options, monkeypatch):
    rows = iter([(0.5, 0.5), (0.4, 0.5), (0.3, 0.5), (0.9, 0.9)])

    def validate(run):
        dice, accuracy = next(rows)
        averages.append({name: each.clone() for name, each in run.ema.module.state_dict().items()})
        return Tally(1.0, 10, 10 * dice, 10, 10 * accuracy)

    averages = []
    monkeypatch.setattr(loop, "validate", validate)
    model = train(options.replace(epochs=4, patience=2))
    assert len(history(options.output)) == 3
    assert load_config(model).training["kept_epoch"] == 1
    for name, weights in load_file(model / "model.safetensors").items():
        # A model folder has float16 weights.
        assert torch.allclose(weights.float(), averages[0][name].float(), rtol=1e-3, atol=1e-6), name


def test_out_of_memory_is_one_message_that_says_what_to_do(options, monkeypatch):
    def hungry(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(loop, "combined_loss", hungry)
    with pytest.raises(TrainingError, match=r"Out of memory: CUDA.*--accumulate"):
        train(options)


def test_a_loss_that_is_not_finite_names_the_images_that_have_it(options, monkeypatch):
    compute_loss, batches = loop.combined_loss, []

    def broken(output, batch, **keywords):
        batches.append(batch)
        return compute_loss(output, batch, **keywords).index_fill(0, torch.tensor([1]), torch.nan)

    monkeypatch.setattr(loop, "combined_loss", broken)
    with pytest.raises(TrainingError, match=r"The loss of epoch 1 is nan for: .*--learning-rate") as caught:
        train(options)
    image_ids = setup.load_images(options, load_prepared(options.data), progress=False)[0].image_ids
    assert image_ids[batches[0].index[1]] in caught.value.message
    assert not (options.output / "checkpoint.pt").exists()


@pytest.mark.parametrize(
    ("folder", "expected"),
    [("selected", "no checkpoint yet.*start again"), ("model", "checkpoint is intact.*--resume")],
)
def test_a_full_disk_is_one_line_that_says_what_is_left(options, monkeypatch, folder, expected):
    save_model = run_folder.save_model

    def full(path, *arguments):
        if path.name == folder:
            raise OSError(28, "No space left on device")
        save_model(path, *arguments)

    monkeypatch.setattr(run_folder, "save_model", full)
    with pytest.raises(TrainingError, match=rf"{options.output} cannot be written.*No space.*{expected}"):
        train(options.replace(epochs=1))


def test_another_fold_is_trained_as_if_it_had_been_prepared(options, prepared, tmp_path):
    rotated = tmp_path / "rotated"
    resplit(load_prepared(prepared), 2).save_to_disk(rotated)
    shutil.copy(prepared / RECORD_NAME, rotated)
    left = train(options.replace(epochs=1, fold=2))
    right = train(options.replace(epochs=1, data=rotated, output=tmp_path / "other"))
    assert weights_file(left) == weights_file(right)
    assert load_config(left).training["data"] == load_config(right).training["data"]
    assert load_config(left).training["data"]["folds"] == {"train": [0, 1, 4], "validation": [3], "test": [2]}


def test_without_validation_all_but_the_test_images_are_trained_on(options, prepared, monkeypatch):
    seen, compute_loss = set(), loop.combined_loss

    def spy(output, batch, **keywords):
        seen.update(batch.index.tolist())
        return compute_loss(output, batch, **keywords)

    monkeypatch.setattr(loop, "combined_loss", spy)
    config = load_config(train(options.replace(no_validation=True)))
    data = load_prepared(prepared)
    assert len(data["train"]) <= max(seen) < len(data["train"]) + len(data["validation"])
    assert not config.calibration.fitted
    assert config.training["validation"] is None
    assert config.training["kept_epoch"] == 2
    assert config.training["data"]["trained_on"] == ["train", "validation"]


def test_where_work_may_break_off_the_first_signal_does_so():
    with StopSignals(at_once=True) as signals:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        # The launcher's repeat must not cut short what says so.
        os.kill(os.getpid(), signal.SIGINT)
    assert signals.received == signal.SIGTERM
