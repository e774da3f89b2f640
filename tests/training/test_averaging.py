import dataclasses

import pytest
import torch
from safetensors.torch import load_file
from torch.optim.swa_utils import update_bn

from busi_unet.data.busi import load_prepared
from busi_unet.data.torch_dataset import EpochOrder
from busi_unet.errors import UsageError
from busi_unet.evaluation.evaluate import evaluate
from busi_unet.inference.predictor import Predictor
from busi_unet.models.pretrained import load_bundle, load_config
from busi_unet.training.averaging import average_models
from busi_unet.training.loop import train
from busi_unet.training.options import TrainOptions
from busi_unet.training.setup import load_pictures


@pytest.fixture(scope="module")
def options(prepared):
    return TrainOptions(data=prepared, fold=0, encoder="plain", width=4, size=32, epochs=2, batch_size=4)


@pytest.fixture(scope="module")
def members(options, tmp_path_factory):
    """Two runs from the same start weights."""
    folder = tmp_path_factory.mktemp("members")
    changes = {"mild": {"augment": "mild"}, "none": {"augment": "none", "mixup": 0.0}}
    return [
        train(dataclasses.replace(options, output=folder / name, **change))
        for name, change in changes.items()
    ]


@pytest.fixture(scope="module")
def soup(members, prepared, tmp_path_factory):
    output = tmp_path_factory.mktemp("soup") / "model"
    return average_models(members, load_prepared(prepared), output, progress=False)


def test_weights_are_the_mean_and_batch_statistics_are_not(members, soup):
    first, second, mean = (load_file(folder / "model.safetensors") for folder in (*members, soup))
    name = "decoder.convolve.0.0.weight"
    assert not torch.equal(first[name], second[name])
    torch.testing.assert_close(mean[name], (first[name] + second[name]) / 2, atol=1e-3, rtol=0)
    statistics = "encoder.stages.0.1.running_var"
    assert (mean[statistics] > 0).all()
    assert not torch.allclose(mean[statistics], (first[statistics] + second[statistics]) / 2, rtol=1e-4)


def test_batch_statistics_are_those_of_shuffled_training_batches(soup, members, prepared, options):
    """Row by row, the batches would hold one class each, and their variances lack that between classes."""
    model, config, _ = load_bundle(soup)
    assert config.preprocess.size == 32
    own = dataclasses.replace(options, augment="mild")
    pictures, _ = load_pictures(own, load_prepared(prepared), progress=False)
    batches = []
    for pictures.epoch in range(20):
        order = list(EpochOrder(pictures, options.batch_size))
        for start in range(0, len(order), options.batch_size):
            chosen = [pictures[index].image for index in order[start : start + options.batch_size]]
            batches.append(torch.stack(chosen))
    norm = model.class_head.project[1]
    taken = norm.running_var.clone()
    update_bn(batches, model)
    ratio = (taken / norm.running_var).median().item()
    assert ratio == pytest.approx(1, abs=0.15)
    by_class = sorted(range(len(pictures)), key=lambda index: pictures.labels[index])
    sorted_batches = [
        torch.stack([pictures[index].image for index in by_class[start : start + options.batch_size]])
        for start in range(0, len(by_class) - 3, options.batch_size)
    ]
    expected = norm.running_var.clone()
    update_bn(sorted_batches, model)
    assert not torch.allclose(norm.running_var, expected, rtol=0.02), "the order tells nothing here"


def test_it_is_calibrated_and_can_be_judged_as_any_model(members, soup, prepared):
    config = load_config(soup)
    assert config.calibration.fitted
    record = config.training
    assert [each["options"]["augment"] for each in record["average_of"]] == ["mild", "none"]
    assert record["options"]["encoder"] == "plain" and "augment" not in record["options"]
    assert record["data"] == load_config(members[0]).training["data"]
    split = load_prepared(prepared)["test"]
    assert evaluate(Predictor.from_pretrained(soup), split, progress=False, resamples=1).rows


def test_refits_keep_what_was_fitted_before(members, options, prepared, tmp_path):
    refits = [
        train(
            dataclasses.replace(
                options, refit=str(members[0]), seed=seed, epochs=1, output=tmp_path / f"refit-{seed}"
            )
        )
        for seed in (1, 2)
    ]
    mean = load_config(average_models(refits, load_prepared(prepared), tmp_path / "mean", progress=False))
    before = load_config(members[0])
    assert mean.thresholds == before.thresholds
    assert mean.calibration.temperature == before.calibration.temperature
    assert mean.training["data"]["trained_on"] == ["train", "validation"]
    with pytest.raises(UsageError, match="another training images than"):
        average_models([members[0], refits[0]], load_prepared(prepared), tmp_path / "mixed", progress=False)


def test_mistakes_are_named(members, options, prepared, tmp_path):
    data = load_prepared(prepared)
    with pytest.raises(UsageError, match="One model is its own average"):
        average_models(members[:1], data, tmp_path / "one")
    with pytest.raises(UsageError, match="exists already"):
        average_models(members, data, members[0])
    other = train(dataclasses.replace(options, seed=1, epochs=1, output=tmp_path / "seed"))
    with pytest.raises(UsageError, match="another start than"):
        average_models([members[0], other], data, tmp_path / "mean")
    refits = [
        train(dataclasses.replace(options, refit=str(model), epochs=1, output=tmp_path / f"refit-{number}"))
        for number, model in enumerate((members[0], other))
    ]
    with pytest.raises(UsageError, match="another start than"):
        average_models(refits, data, tmp_path / "mean")
    other = train(dataclasses.replace(options, fold=1, epochs=1, output=tmp_path / "fold"))
    with pytest.raises(UsageError, match="another split"):
        average_models([members[0], other], data, tmp_path / "mean")
    other = train(dataclasses.replace(options, width=8, epochs=1, output=tmp_path / "width"))
    with pytest.raises(UsageError, match="another network"):
        average_models([members[0], other], data, tmp_path / "mean")
    data["test"] = data["test"].select(range(1))
    with pytest.raises(UsageError, match="on other data"):
        average_models(members, data, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
