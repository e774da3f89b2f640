import csv
import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from busi_unet.config import Architecture, Calibration, Thresholds
from busi_unet.data.busi import load_prepared
from busi_unet.errors import TrainingError, TrainingStopped, UsageError
from busi_unet.inference.predictor import Predictor
from busi_unet.models.pretrained import load_bundle, load_config, save_bundle, save_config
from busi_unet.models.unet import UNet
from busi_unet.training import curves, loop, run_folder
from busi_unet.training.calibrate import recalibrate
from busi_unet.training.loop import train
from busi_unet.training.options import TrainOptions

PROGRAM = Path(__file__).parents[1] / "fakes" / "training_run.py"


def small(data: Path, output: Path) -> TrainOptions:
    return TrainOptions(data=data, output=output, encoder="plain", width=4, size=64, epochs=2, batch_size=4)


@pytest.fixture
def options(prepared, tmp_path) -> TrainOptions:
    return small(prepared, tmp_path / "run")


@pytest.fixture(autouse=True)
def undrawn(request, monkeypatch) -> None:
    """Drawing the curves takes half the time of a run this small; one test looks at them."""
    if request.function is not test_a_run_leaves_a_model_that_predicts_and_a_record:
        monkeypatch.setattr(curves, "_draw", lambda *_: None)


@pytest.fixture(scope="module")
def unbroken(prepared, tmp_path_factory) -> Path:
    """The run folder that the `options` give when nothing comes between."""
    options = small(prepared, tmp_path_factory.mktemp("unbroken") / "run")
    train(options)
    return options.output


def weights_file(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def epochs_in(output: Path) -> list[str]:
    with (output / "history.csv").open(newline="", encoding="utf-8") as file:
        return [row["epoch"] for row in csv.DictReader(file)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_a_run_leaves_a_model_that_predicts_and_a_record(options, prepared):
    folder = train(options)
    model, config, _ = load_bundle(folder)
    assert model.architecture.width == 4
    assert config.training["options"]["seed"] == options.seed
    assert config.training["data"]["folds"]["test"] == [0]
    assert config.training["data"]["folds_from"] == "computed"
    image = load_prepared(prepared)["test"][0]["image"]
    assert Predictor.from_pretrained(folder).predict(image).mask.shape == (image.height, image.width)

    manifest = json.loads((options.output / "manifest.json").read_text(encoding="utf-8"))
    assert manifest == config.training
    with (options.output / "history.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[1]["train_loss"]) < float(rows[0]["train_loss"])
    assert (options.output / "curves.png").stat().st_size > 0


@pytest.mark.slow
def test_a_run_killed_twice_ends_with_the_weights_of_an_unbroken_one(options, tmp_path):
    """SIGKILL in the middle of an optimizer step, at steps drawn at random."""
    options = dataclasses.replace(options, epochs=4, checkpoint_minutes=1e-6)
    unbroken = train(options)
    killed = dataclasses.replace(options, output=tmp_path / "killed")
    draw = random.Random(0)

    def run(*accident: str, **changes) -> int:
        text = json.dumps(dataclasses.replace(killed, **changes).to_dict())
        command = [sys.executable, str(PROGRAM), text, *accident]
        return subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())})

    # 3 steps an epoch; the first two programs die before they are through.
    assert run("kill", str(draw.randint(2, 6))).returncode == -signal.SIGKILL
    assert run("kill", str(draw.randint(2, 6)), resume=True).returncode == -signal.SIGKILL
    assert not (killed.output / "model").exists()
    assert run(resume=True).returncode == 0
    assert weights_file(killed.output / "model") == weights_file(unbroken)
    assert epochs_in(killed.output) == ["1", "2", "3", "4"]


def after_step(monkeypatch, number: int, action) -> None:
    """Calls `action` in the optimizer step with this number, from 1."""
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
    [(2, signal.SIGTERM, (0, 2)), (3, signal.SIGINT, (0, 3)), (4, signal.SIGTERM, (1, 1))],
    ids=["within an epoch", "at the end of one", "in the next"],
)
def test_a_signal_ends_the_step_and_the_run_goes_on_from_there(
    options, unbroken, monkeypatch, step, number, progress
):
    with monkeypatch.context() as patch:
        after_step(patch, step, lambda: os.kill(os.getpid(), number))
        assert_stopped(options, number, progress)
    assert_resumes_to(unbroken, options)


@pytest.mark.parametrize("stage", ["last validation", "calibration"])
def test_a_signal_after_the_last_step_ends_the_run_which_then_needs_no_step(
    options, unbroken, monkeypatch, stage
):
    module, name = (loop, "validate") if stage == "last validation" else (run_folder, "tune_on")
    work, calls = getattr(module, name), []

    def interrupted(*arguments):
        calls.append(name)
        if len(calls) == (options.epochs if name == "validate" else 1):
            os.kill(os.getpid(), signal.SIGTERM)
        return work(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, interrupted)
        assert_stopped(options, signal.SIGTERM, (2, 0))
    assert not (options.output / "model").exists()
    monkeypatch.setattr(loop, "train_epoch", None)
    assert_resumes_to(unbroken, options)


def assert_stopped(options: TrainOptions, number: signal.Signals, progress: tuple[int, int]) -> None:
    """The training ends with a checkpoint of these epochs and steps, and says how to go on."""
    before = signal.getsignal(number)
    with pytest.raises(TrainingStopped, match=f"{number.name} came") as caught:
        train(options)
    assert signal.getsignal(number) is before
    assert caught.value.exit_code == 128 + number
    assert str(caught.value).endswith("--resume")
    state = torch.load(options.output / "checkpoint.pt", weights_only=True)["progress"]
    assert (state["epoch"], state["step"]) == progress
    assert state["tally"][1] == 4 * progress[1]


def assert_resumes_to(unbroken: Path, options: TrainOptions) -> None:
    """Resumed, it ends like the run that nothing broke."""
    resumed = train(dataclasses.replace(options, resume=True))
    assert weights_file(unbroken / "model") == weights_file(resumed)
    assert load_bundle(unbroken / "model")[1].thresholds == load_bundle(resumed)[1].thresholds
    left, right = (
        [{**row, "seconds": None} for row in csv.DictReader(text.splitlines())]
        for text in (
            (folder / "history.csv").read_text(encoding="utf-8") for folder in (unbroken, options.output)
        )
    )
    assert left == right


def test_a_finished_run_that_is_resumed_ends_at_once_and_stays_what_it_is(
    unbroken, options, tmp_path, monkeypatch
):
    copy = shutil.copytree(unbroken, tmp_path / "copy")

    def fail(*_):
        raise AssertionError("finished again")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "finish", fail)
        model = train(dataclasses.replace(options, output=copy, resume=True))
    assert weights_file(model) == weights_file(unbroken / "model")
    # Stopped before its manifest, it is not finished.
    (copy / "manifest.json").unlink()
    shutil.rmtree(model)
    again = train(dataclasses.replace(options, output=copy, resume=True))
    assert weights_file(again) == weights_file(unbroken / "model")


def test_the_last_epoch_becomes_the_model_where_that_is_asked_for_before_the_end(unbroken, options, tmp_path):
    copy = shutil.copytree(unbroken, tmp_path / "copy")
    last = dataclasses.replace(options, output=copy, resume=True, select="last")
    with pytest.raises(UsageError, match="--select was best"):
        train(last)
    (copy / "manifest.json").unlink()
    model, config, _ = load_bundle(copy / "best")
    for parameter in model.parameters():
        parameter.data.zero_()
    save_bundle(copy / "best", model, config)

    model, config, _ = load_bundle(train(last))

    trained = torch.load(copy / "checkpoint.pt", weights_only=True)["ema"]
    for name, kept in model.state_dict().items():
        # A model folder has float16 weights.
        assert torch.allclose(kept, trained[f"module.{name}"], rtol=1e-3, atol=1e-6), name
    assert config.training["kept_epoch"] == options.epochs
    last_row = list(csv.DictReader((copy / "history.csv").read_text(encoding="utf-8").splitlines()))[-1]
    assert config.training["validation"]["dice"] == round(float(last_row["validation_dice"]), 4)


def test_accumulation_survives_a_stop_within_an_epoch(options, tmp_path, monkeypatch):
    options = dataclasses.replace(options, accumulate=2)
    unbroken = train(options)
    stopped = dataclasses.replace(options, output=tmp_path / "stopped")
    with monkeypatch.context() as patch:
        after_step(patch, 2, lambda: os.kill(os.getpid(), signal.SIGTERM))
        with pytest.raises(TrainingStopped):
            train(stopped)
    assert weights_file(train(dataclasses.replace(stopped, resume=True))) == weights_file(unbroken)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ],
    ids=["CUDA", "CPU"],
)
def test_out_of_memory_halves_the_images_per_pass_and_keeps_the_batch(options, monkeypatch, capsys, error):
    sizes, steps = [], []
    forward = loop.combined_loss

    def hungry(output, *arguments, **keywords):
        sizes.append(len(output.mask_logits))
        # More than one image fits for the first epoch only, as where memory is shared.
        if len(output.mask_logits) > (1 if steps else 2):
            raise error
        return forward(output, *arguments, **keywords)

    keep_epoch = loop.keep_epoch

    def spy(run):
        steps.append((run.scheduler.last_epoch, run.options.accumulate))
        keep_epoch(run)

    monkeypatch.setattr(loop, "combined_loss", hungry)
    monkeypatch.setattr(loop, "keep_epoch", spy)
    monkeypatch.setattr(loop, "validate", lambda run: loop.Tally(1.0, 1, 0.5, 1, 1))
    monkeypatch.setattr(loop, "finish", lambda *_: None)
    train(options)
    printed = capsys.readouterr().err
    assert "Out of memory with 4 images per pass: going on with 2" in printed
    assert "Out of memory with 2 images per pass: going on with 1, as --accumulate 4 would" in printed
    assert "still sees 4 images, batch norm only 1" in printed
    # The second epoch goes on from the checkpoint of the first, with as many steps.
    assert steps == [(3, 2), (6, 4)]
    assert sizes == [4, *[2] * 6, 2, *[1] * 12]


def test_when_not_one_image_fits_it_is_said(options, monkeypatch):
    def hungry(*arguments, **keywords):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(loop, "combined_loss", hungry)
    with pytest.raises(TrainingError, match=r"memory with 1 images per pass.*smaller --size"):
        train(dataclasses.replace(options, batch_size=2))


def test_training_learns_the_phantoms(options):
    """More than a smoke test: after some epochs the loss on seen pictures has clearly fallen."""
    still = {"augment": "none", "mixup": 0.0}
    train(dataclasses.replace(options, size=32, epochs=8, learning_rate=5e-3, ema_decay=0.5, **still))
    with (options.output / "history.csv").open(newline="", encoding="utf-8") as file:
        losses = [float(row["train_loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.75 * losses[0]


@pytest.mark.parametrize("mixup", [0.0, 0.4])
@pytest.mark.parametrize("broken", [[1], [0, 1, 2, 3]], ids=["one image", "all"])
def test_a_loss_that_is_no_number_names_the_images_that_have_it(options, monkeypatch, broken, mixup):
    combined_loss, check_loss = loop.combined_loss, loop.check_loss
    batches = []

    def broken_loss(*args, **kwargs):
        loss = combined_loss(*args, **kwargs)
        return loss.index_fill(0, torch.tensor(broken), torch.nan)

    def spy(run, loss, batch):
        image_ids = run.train_loader.dataset.image_ids
        pairs = zip(batch.index.tolist(), batch.partner.tolist(), strict=True)
        names = [[image_ids[index] for index in dict.fromkeys(pair)] for pair in pairs]
        batches.append([" mixed with ".join(pair) for pair in names])
        check_loss(run, loss, batch)

    monkeypatch.setattr(loop, "combined_loss", broken_loss)
    monkeypatch.setattr(loop, "check_loss", spy)
    with pytest.raises(TrainingError, match="in another --output with a lower --learning-rate") as caught:
        train(dataclasses.replace(options, mixup=mixup))
    names = ", ".join(batches[-1][index] for index in broken)
    assert caught.value.message == f"The loss of epoch 1 is nan for: {names}."
    assert any("mixed with" in name for name in batches[-1]) == (mixup > 0)
    assert not (options.output / "checkpoint.pt").exists()


@pytest.mark.parametrize(
    ("folder", "expected"),
    [("best", "no checkpoint yet.*start again"), ("model", "checkpoint is intact.*--resume")],
)
def test_a_full_disk_is_one_line_that_says_what_is_left(options, monkeypatch, folder, expected):
    save_bundle = run_folder.save_bundle

    def full(path, *arguments):
        if path.name == folder:
            raise OSError(28, "No space left on device")
        save_bundle(path, *arguments)

    monkeypatch.setattr(run_folder, "save_bundle", full)
    with pytest.raises(TrainingError, match=rf"{options.output} cannot be written.*No space.*{expected}"):
        train(dataclasses.replace(options, epochs=1))


def test_a_batch_that_cannot_be_had_is_refused(options):
    with pytest.raises(UsageError, match="more than the"):
        train(dataclasses.replace(options, batch_size=4096))
    with pytest.raises(UsageError, match="accumulation steps"):
        train(dataclasses.replace(options, accumulate=3, output=options.output / "other"))


def test_another_fold_is_trained_as_if_it_had_been_prepared(options, phantom_root, tmp_path):
    from busi_unet.data.busi import prepare

    rotated = tmp_path / "rotated"
    prepare(phantom_root, rotated, test_fold=2, progress=False)
    left = train(dataclasses.replace(options, epochs=1, fold=2))
    right = train(dataclasses.replace(options, epochs=1, data=rotated, output=tmp_path / "other"))
    assert weights_file(left) == weights_file(right)
    made_on, expected = (load_bundle(folder)[1].training["data"] for folder in (left, right))
    assert made_on == expected
    assert made_on["folds"] == {"train": [0, 1, 4], "validation": [3], "test": [2]}
    with pytest.raises(UsageError, match="no fold 7"):
        train(dataclasses.replace(options, fold=7, output=tmp_path / "none"))


def test_checkpoints_within_an_epoch_come_as_often_as_told(options, monkeypatch):
    saved = []
    save_checkpoint = loop.save_checkpoint

    def spy(output, parts):
        saved.append((parts["progress"].epoch, parts["progress"].step))
        save_checkpoint(output, parts)

    monkeypatch.setattr(loop, "save_checkpoint", spy)
    train(dataclasses.replace(options, epochs=1, checkpoint_minutes=0))
    assert saved == [(0, 1), (0, 2), (0, 3), (1, 0)]


def test_weights_that_may_know_the_test_images_are_refused(options, phantom_root, tmp_path):
    from busi_unet.data.busi import prepare

    first = train(dataclasses.replace(options, epochs=1))
    rotated = tmp_path / "rotated"
    prepare(phantom_root, rotated, test_fold=2, progress=False)
    for model in (first, options.output / "best"):
        for start in ({"refit": str(model)}, {"init": str(model)}):
            with pytest.raises(UsageError, match="another split"):
                train(dataclasses.replace(options, data=rotated, output=tmp_path / "next", **start))
    with pytest.raises(UsageError, match="started on another split"):
        train(dataclasses.replace(options, epochs=1, data=rotated, resume=True))
    with pytest.raises(UsageError, match="tuned for --size 64"):
        train(dataclasses.replace(options, size=96, output=tmp_path / "next", refit=str(first)))


def test_processes_that_would_train_apart_are_refused(options, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="ACCELERATE_USE_CPU"):
        train(options)


def test_a_model_folder_can_be_trained_on(options, tiny_bundle, tmp_path, capsys):
    run = dataclasses.replace(options, epochs=1, init=str(tiny_bundle), learning_rate=1e-9, ema_decay=0.0)
    before, after = weights(tiny_bundle), weights(train(run))
    assert f"--init {tiny_bundle} does not tell what it was trained on" in capsys.readouterr().err
    with pytest.raises(UsageError, match=f"--refit {tiny_bundle} does not tell what it was trained on"):
        train(dataclasses.replace(options, refit=str(tiny_bundle), output=tmp_path / "refit"))
    assert torch.equal(before["mask_head.0.weight"], after["mask_head.0.weight"])
    with pytest.raises(UsageError, match=r"holds another network\. Use --encoder plain --width 4\."):
        train(dataclasses.replace(run, width=8, output=tmp_path / "wider"))
    with pytest.raises(UsageError, match="is no model folder"):
        train(dataclasses.replace(run, init="imagnet", output=tmp_path / "typo"))
    made_on = load_config(options.output / "model").training["data"]
    refit = {"data": {**made_on, "trained_on": ["train", "validation"]}}
    save_config(tiny_bundle, dataclasses.replace(load_config(tiny_bundle), training=refit))
    with pytest.raises(UsageError, match="was trained on the validation images too"):
        train(dataclasses.replace(run, output=tmp_path / "after_a_refit"))


def test_calibration_can_be_fitted_again(prepared, options, tmp_path):
    folder = train(options)
    tuned = load_config(folder)
    changed = dataclasses.replace(tuned, calibration=Calibration(3.0), thresholds=Thresholds(mask=0.9))
    save_config(folder, changed)
    assert recalibrate(folder, load_prepared(prepared)) == load_config(folder) == tuned

    training = {**tuned.training, "data": {**tuned.training["data"], "trained_on": ["train", "validation"]}}
    save_config(folder, dataclasses.replace(tuned, training=training))
    with pytest.raises(UsageError, match="validation images too"):
        recalibrate(folder, load_prepared(prepared))
    other = train(dataclasses.replace(options, fold=1, epochs=1, output=tmp_path / "other"))
    with pytest.raises(UsageError, match="has another split than"):
        recalibrate(folder, load_prepared(prepared), other=other)
    assert load_config(folder).calibration == tuned.calibration


def test_depthwise_filters_can_be_kept(options):
    options = dataclasses.replace(
        options,
        encoder="efficientnet_lite0",
        width=TrainOptions.width,
        size=32,
        epochs=1,
        freeze_depthwise=True,
    )
    start = UNet(Architecture("efficientnet_lite0"))
    start.encoder.load_imagenet()
    before, after = start.state_dict(), load_bundle(train(options))[0].state_dict()
    same = {
        name
        for name in before
        if torch.allclose(after[name], before[name].to(after[name]), rtol=1e-3, atol=1e-5)
    }
    frozen = {name for name, _ in start.named_parameters() if "depthwise.1.weight" in name}
    assert len(frozen) == 16
    assert frozen <= same
    assert "encoder.blocks.1.project.1.weight" not in same


def test_a_refit_adds_the_validation_images_and_keeps_what_was_tuned(options, prepared, tmp_path):
    first = train(dataclasses.replace(options, epochs=1))
    tuned = dataclasses.replace(
        load_bundle(first)[1], calibration=Calibration(1.5), thresholds=Thresholds(0.4, 0.3, 0.01)
    )
    save_config(first, tuned)
    seen, decoded = set(), []
    add, load_pictures = loop.add_to_tally, loop.load_pictures

    def spy(tally, output, batch, loss):
        seen.update(batch.index.tolist())
        add(tally, output, batch, loss)

    def load(*arguments, **keywords):
        decoded.extend(load_pictures(*arguments, **keywords))
        return decoded

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "add_to_tally", spy)
        patch.setattr(loop, "load_pictures", load)
        folder = train(dataclasses.replace(options, refit=str(first), output=tmp_path / "refit", epochs=2))
    assert decoded[1] is None
    data = load_prepared(prepared)
    assert max(seen) >= len(data["train"])
    assert max(seen) < len(data["train"]) + len(data["validation"])
    config = load_bundle(folder)[1]
    assert (config.calibration, config.thresholds) == (tuned.calibration, tuned.thresholds)
    assert config.training["validation"] is None
    assert config.training["kept_epoch"] == 2
    assert config.training["refit_of"] == tuned.training
