import dataclasses
import shutil

import pytest
import torch
from safetensors.torch import load_file

from busi_unet.data.busi import load_prepared
from busi_unet.errors import UsageError
from busi_unet.inference.predictor import Predictor
from busi_unet.models.pretrained import load_config, save_config
from busi_unet.training.averaging import average_models
from busi_unet.training.loop import train
from busi_unet.training.options import TrainOptions


@pytest.fixture(scope="module")
def members(prepared, tmp_path_factory):
    """Two runs from the same start weights."""
    options = TrainOptions(
        data=prepared, fold=0, encoder="plain", width=4, size=32, epochs=1, batch_size=4, mixup=0
    )
    folder = tmp_path_factory.mktemp("members")
    return [train(options.replace(output=folder / name, augment=name)) for name in ("mild", "none")]


@pytest.fixture(scope="module")
def mean(members, prepared, tmp_path_factory):
    output = tmp_path_factory.mktemp("mean") / "model"
    return average_models(members, load_prepared(prepared), output, progress=False)


def test_weights_are_the_mean_and_batch_statistics_are_not(members, mean):
    first, second, averaged = (load_file(folder / "model.safetensors") for folder in (*members, mean))
    name = "decoder.convolve.0.0.weight"
    assert not torch.equal(first[name], second[name])
    torch.testing.assert_close(averaged[name], (first[name] + second[name]) / 2, atol=1e-3, rtol=0)
    statistics = "encoder.stages.0.1.running_var"
    assert (averaged[statistics] > 0).all()
    assert not torch.allclose(averaged[statistics], (first[statistics] + second[statistics]) / 2, rtol=1e-4)


def test_it_is_calibrated_and_records_its_members(members, mean, prepared):
    config = load_config(mean)
    assert config.calibration.fitted
    record = config.training
    assert [each["options"]["augment"] for each in record["average_of"]] == ["mild", "none"]
    assert record["options"]["encoder"] == "plain" and "augment" not in record["options"]
    assert record["data"] == load_config(members[0]).training["data"]
    image = load_prepared(prepared)["test"][0]["image"]
    assert Predictor.from_pretrained(mean).predict(image).mask.shape == (image.height, image.width)


@pytest.fixture
def edited(members, tmp_path):
    """Copy the second member with another record."""

    def edit(**changes):
        folder = shutil.copytree(members[1], tmp_path / f"edited-{'-'.join(changes)}")
        config = load_config(folder)
        save_config(folder, dataclasses.replace(config, training={**config.training, **changes}))
        return folder

    return edit


def test_refits_keep_what_was_calibrated_before(members, edited, prepared, tmp_path):
    data = load_prepared(prepared)
    made_on = {**load_config(members[0]).training["data"], "trained_on": ["train", "validation"]}
    refit = edited(data=made_on, refit_of={"of": "one model"})
    config = load_config(average_models([refit, refit], data, tmp_path / "mean", progress=False))
    before = load_config(refit)
    assert config.thresholds == before.thresholds
    assert config.calibration.temperature == before.calibration.temperature
    with pytest.raises(UsageError, match="another training images than"):
        average_models([members[0], refit], data, tmp_path / "mixed", progress=False)


def test_members_that_do_not_belong_together_are_refused(members, edited, prepared, tmp_path):
    data = load_prepared(prepared)
    training = load_config(members[0]).training
    with pytest.raises(UsageError, match="at least two models"):
        average_models(members[:1], data, tmp_path / "one")
    with pytest.raises(UsageError, match="exists already"):
        average_models(members, data, members[0])
    other_start = edited(options={**training["options"], "seed": 1})
    with pytest.raises(UsageError, match="another start than"):
        average_models([members[0], other_start], data, tmp_path / "mean")
    other_split = edited(data={**training["data"], "split_sha256": "other"})
    with pytest.raises(UsageError, match="another split"):
        average_models([members[0], other_split], data, tmp_path / "mean")
    data["test"] = data["test"].select(range(1))
    with pytest.raises(UsageError, match="on other data"):
        average_models(members, data, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
