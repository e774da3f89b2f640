import dataclasses

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState

from busi_unet.data.prepared import load_prepared, resplit
from busi_unet.errors import DataLayoutError, UsageError
from busi_unet.models.folder import load_config, load_model, save_config
from busi_unet.training.options import TrainOptions
from busi_unet.training.setup import (
    build_accelerator,
    build_ema,
    build_model,
    build_optimizer,
    build_schedule,
    check_data,
    load_images,
)


@pytest.fixture
def on_cpu(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    for state in (AcceleratorState, PartialState):  # They keep the precision of the first in a process.
        monkeypatch.setattr(state, "_shared_state", {})


@pytest.mark.usefixtures("on_cpu")
def test_half_precision_that_the_device_cannot_is_refused():
    with pytest.raises(UsageError, match="--precision fp32"):
        build_accelerator(TrainOptions(precision="fp16"))


def test_a_batch_that_cannot_be_shared_or_filled_is_refused(prepared):
    with pytest.raises(UsageError, match="accumulation steps"):
        build_accelerator(TrainOptions(batch_size=4, accumulate=3))
    with pytest.raises(UsageError, match="more than the"):
        load_images(TrainOptions(batch_size=4096), load_prepared(prepared), progress=False)


def test_processes_that_would_train_apart_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="ACCELERATE_USE_CPU"):
        build_accelerator(TrainOptions())


def test_a_class_without_images_is_named_and_an_empty_split_refused(prepared, capsys):
    data = load_prepared(prepared)
    data["train"] = data["train"].filter(lambda row: row["label"] != 2)
    check_data(TrainOptions(), data)
    assert "malignant" in capsys.readouterr().err
    data["validation"] = data["validation"].select([])
    with pytest.raises(DataLayoutError, match="validation: no images"):
        check_data(TrainOptions(), data)
    check_data(TrainOptions(no_validation=True), data)


def test_images_without_a_mask_and_a_class_teach_nothing(prepared):
    data = load_prepared(prepared)
    data["train"] = data["train"].map(lambda row: {"label": -1}, features=data["train"].features)
    check_data(TrainOptions(), data)
    data["train"] = data["train"].map(lambda row: {"mask": None}, features=data["train"].features)
    with pytest.raises(DataLayoutError, match="no image has a mask or a class"):
        check_data(TrainOptions(), data)


PLAIN = TrainOptions(encoder="plain", width=4, size=64)


def test_a_model_folder_gives_the_start_weights(trained, prepared):
    data = load_prepared(prepared)
    start = build_model(PLAIN.replace(init=str(trained)), data).state_dict()
    model, _, _ = load_model(trained)
    assert all(torch.equal(start[name], tensor) for name, tensor in model.state_dict().items())
    with pytest.raises(UsageError, match=r"holds another network\. Use --encoder plain --width 4\."):
        build_model(PLAIN.replace(width=8, init=str(trained)), data)
    with pytest.raises(UsageError, match="--init imagnet is not a model folder"):
        build_model(PLAIN.replace(init="imagnet"), data)


def test_weights_that_may_know_the_test_images_are_refused(trained, prepared):
    data = load_prepared(prepared)
    options = PLAIN.replace(init=str(trained))
    with pytest.raises(UsageError, match="another split"):
        build_model(options, resplit(data, 2))
    config = load_config(trained)
    save_config(trained, dataclasses.replace(config, training={}))
    with pytest.raises(UsageError, match="has no record of what it was trained on"):
        build_model(options, data)
    whole = {"data": {**config.training["data"], "trained_on": ["train", "validation"]}}
    save_config(trained, dataclasses.replace(config, training=whole))
    with pytest.raises(UsageError, match="was trained on the validation images too"):
        build_model(options, data)
    build_model(options.replace(no_validation=True), data)


def test_biases_and_norms_do_not_decay():
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    decay = {
        id(each): group["weight_decay"]
        for group in build_optimizer(model, TrainOptions(weight_decay=0.5)).param_groups
        for each in group["params"]
    }
    assert [decay[id(each)] for each in model.parameters()] == [0.5, 0, 0, 0]


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
    assert schedule.get_last_lr()[0] == pytest.approx(0.0)


def test_the_average_forgets_the_start_soon_and_keeps_its_decay_later():
    model = torch.nn.Linear(1, 1, bias=False)

    def kept(steps: int, decay: float) -> float:
        """Return what is left of the weights of the first step once they jumped."""
        torch.nn.init.ones_(model.weight)
        average = build_ema(model, decay)
        average.update_parameters(model)
        torch.nn.init.zeros_(model.weight)
        for _ in range(steps):
            average.update_parameters(model)
        return average.module.weight.item()

    assert kept(30, 0.99) < 1e-4, "a fixed decay would keep .74 of them"
    assert kept(1, 0.0) == 0
    assert kept(1001, 0.99) / kept(1000, 0.99) == pytest.approx(0.99)
