import csv
import dataclasses
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from busi_unet.bundle import load_bundle
from busi_unet.errors import TrainingError, UsageError
from busi_unet.learning import training
from busi_unet.learning.options import TrainOptions
from busi_unet.learning.training import Tally, build_schedule, train
from busi_unet.predictor import Predictor


@pytest.fixture
def options(prepared, tmp_path) -> TrainOptions:
    return TrainOptions(
        data=prepared, output=tmp_path / "run", encoder="plain", width=4, size=64, epochs=2, batch_size=4
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_a_run_leaves_a_model_that_predicts_and_a_record(options, prepared):
    from busi_unet.data.busi import load_prepared

    folder = train(options)
    model, config = load_bundle(folder)
    assert model.architecture.width == 4
    assert config.training["options"]["seed"] == options.seed
    assert config.training["data"]["folds"]["test"] == [0]
    image = load_prepared(prepared)["test"][0]["image"]
    assert Predictor.from_pretrained(folder).predict(image).mask.shape == (image.height, image.width)

    manifest = json.loads((options.output / "manifest.json").read_text(encoding="utf-8"))
    assert manifest == config.training
    with (options.output / "history.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[1]["train_loss"]) < float(rows[0]["train_loss"])
    assert (options.output / "curves.png").stat().st_size > 0


def test_a_resumed_run_ends_where_an_unbroken_one_does(options, tmp_path, monkeypatch):
    unbroken = train(options)

    class Stopped(Exception):
        pass

    broken = dataclasses.replace(options, output=tmp_path / "broken")
    keep = training.keep

    def keep_and_stop(run, row):
        keep(run, row)
        raise Stopped

    monkeypatch.setattr(training, "keep", keep_and_stop)
    with pytest.raises(Stopped):
        train(broken)
    monkeypatch.undo()
    resumed = train(dataclasses.replace(broken, resume=True))

    left, right = weights(unbroken), weights(resumed)
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert load_bundle(unbroken)[1].thresholds == load_bundle(resumed)[1].thresholds
    with (broken.output / "history.csv").open(newline="", encoding="utf-8") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


def test_training_learns_the_phantoms(options):
    """More than a smoke test: after some epochs the loss on seen pictures has clearly fallen."""
    train(dataclasses.replace(options, epochs=8, augment="none", learning_rate=5e-3, ema_decay=0.5))
    with (options.output / "history.csv").open(newline="", encoding="utf-8") as file:
        losses = [float(row["train_loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < 0.75 * losses[0]


def test_two_runs_are_not_mixed(options):
    train(dataclasses.replace(options, epochs=1))
    with pytest.raises(UsageError, match="already holds a run"):
        train(options)
    with pytest.raises(UsageError, match="--epochs was 1"):
        train(dataclasses.replace(options, resume=True))


def test_resuming_nothing_is_an_error(options):
    with pytest.raises(TrainingError, match="no checkpoint"):
        train(dataclasses.replace(options, resume=True))


def test_a_loss_that_is_no_number_names_the_images(options, monkeypatch):
    combined_loss = training.combined_loss

    def broken_loss(*args, **kwargs):
        parts = combined_loss(*args, **kwargs)
        return parts._replace(total=parts.total * torch.nan)

    monkeypatch.setattr(training, "combined_loss", broken_loss)
    with pytest.raises(TrainingError, match=r"loss of epoch 1 is nan; the batch was: .*\(\d+\)"):
        train(options)
    assert not (options.output / "checkpoint.pt").exists()


def test_a_batch_that_cannot_be_had_is_refused(options):
    with pytest.raises(UsageError, match="more than the"):
        train(dataclasses.replace(options, batch_size=4096))
    with pytest.raises(UsageError, match="accumulation steps"):
        train(dataclasses.replace(options, accumulate=3, output=options.output / "other"))


def test_the_schedule_counts_the_steps_that_accumulation_leaves(options, monkeypatch):
    rates = []
    keep = training.keep

    def spy(run, row):
        rates.append((run.scheduler.last_epoch, run.scheduler.get_last_lr()[0]))
        keep(run, row)

    monkeypatch.setattr(training, "keep", spy)
    # 14 images in batches of 1: 14 passes, so 4 steps an epoch, the last of them on two images.
    train(dataclasses.replace(options, accumulate=4, epochs=2))
    assert [steps for steps, _ in rates] == [4, 8]
    assert rates[0][1] > 0
    assert rates[1][1] == pytest.approx(0, abs=1e-9)


def test_weights_that_may_know_the_test_images_are_refused(options, phantom_root, tmp_path):
    from busi_unet.data.busi import prepare

    first = train(dataclasses.replace(options, epochs=1))
    rotated = tmp_path / "rotated"
    prepare(phantom_root, rotated, test_fold=2, progress=False)
    for start in ({"refit": str(first)}, {"init": str(first)}):
        with pytest.raises(UsageError, match="another split"):
            train(dataclasses.replace(options, data=rotated, output=tmp_path / "next", **start))
    with pytest.raises(UsageError, match="tuned for --size 64"):
        train(dataclasses.replace(options, size=96, output=tmp_path / "next", refit=str(first)))


def test_processes_that_would_train_apart_are_refused(options, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="ACCELERATE_USE_CPU"):
        train(options)


def test_a_model_folder_can_be_trained_on(options, tiny_bundle, tmp_path):
    run = dataclasses.replace(options, epochs=1, init=str(tiny_bundle), learning_rate=1e-9, ema_decay=0.0)
    before, after = weights(tiny_bundle), weights(train(run))
    assert torch.equal(before["mask_head.0.weight"], after["mask_head.0.weight"])
    with pytest.raises(UsageError, match="holds another network"):
        train(dataclasses.replace(run, width=8, output=tmp_path / "wider"))
    with pytest.raises(UsageError, match="is no model folder"):
        train(dataclasses.replace(run, init="imagnet", output=tmp_path / "typo"))


def test_a_refit_adds_the_validation_images_and_keeps_what_was_tuned(options, prepared, tmp_path):
    from busi_unet.bundle import save_config
    from busi_unet.config import Calibration, Thresholds
    from busi_unet.data.busi import load_prepared

    first = train(dataclasses.replace(options, epochs=1))
    tuned = dataclasses.replace(
        load_bundle(first)[1], calibration=Calibration(1.5), thresholds=Thresholds(0.4, 0.3, 0.01)
    )
    save_config(first, tuned)
    seen = set()
    add = training.add_to_tally

    def spy(tally, accelerator, output, batch, loss):
        seen.update(batch.index.tolist())
        add(tally, accelerator, output, batch, loss)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "add_to_tally", spy)
        folder = train(dataclasses.replace(options, refit=str(first), output=tmp_path / "refit", epochs=2))
    data = load_prepared(prepared)
    assert max(seen) >= len(data["train"])
    assert max(seen) < len(data["train"]) + len(data["validation"])
    config = load_bundle(folder)[1]
    assert (config.calibration, config.thresholds) == (tuned.calibration, tuned.thresholds)
    assert config.training["validation"] is None
    assert config.training["best_epoch"] == 2
    assert config.training["refit_of"] == tuned.training


def test_the_schedule_warms_up_and_ends_at_zero():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = build_schedule(optimizer, TrainOptions(epochs=4, warmup=1.0), steps_per_epoch=10)
    rates = []
    for _ in range(40):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[0] < 0.1
    assert max(rates) == rates[10] == pytest.approx(1.0)
    assert rates[-1] < 0.01
    assert schedule.get_last_lr()[0] == pytest.approx(0.0)


def test_a_tally_leaves_lesion_free_images_out_of_the_dice():
    tally = Tally()
    tally.add(torch.tensor([1.0, 3.0]), torch.tensor([0.5, torch.nan]), torch.tensor([True, False]))
    assert tally.means("x") == {"x_loss": 2.0, "x_dice": 0.5, "x_accuracy": 0.5}
    none = Tally()
    none.add(torch.tensor([1.0]), torch.tensor([torch.nan]), torch.tensor([True]))
    assert none.means("x")["x_dice"] is None


def test_tensorboard_receives_the_epochs(options):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(dataclasses.replace(options, tracker="tensorboard"))
    log = EventAccumulator(str(options.output / "busi_unet")).Reload()
    assert [event.step for event in log.Scalars("validation_dice")] == [1, 2]
    assert {"train_loss", "validation_accuracy", "learning_rate"} <= set(log.Tags()["scalars"])


def test_trackio_receives_the_epochs(options, monkeypatch):
    from accelerate.tracking import TrackioTracker

    logged = []
    log = TrackioTracker.log

    def spy(self, values, step=None, **kwargs):
        logged.append((step, values))
        log(self, values, step=step, **kwargs)

    monkeypatch.setattr(TrackioTracker, "log", spy)
    train(dataclasses.replace(options, epochs=1, tracker="trackio"))
    assert [step for step, _ in logged] == [1]
    assert {"train_loss", "validation_dice", "learning_rate"} <= logged[0][1].keys()
