from dataclasses import replace

import pytest

from busi_unet.config import ModelConfig
from busi_unet.data.prepared import load_prepared, resplit
from busi_unet.errors import DataLayoutError
from busi_unet.evaluation.leakage import ALL, model_and_images, split_for
from busi_unet.models.folder import load_config, save_config
from busi_unet.training.options import TrainOptions
from busi_unet.training.setup import record_of


def made_on(data, test: int) -> dict:
    return {"data": record_of(TrainOptions(), resplit(data, test))}


@pytest.fixture
def data(prepared):
    return load_prepared(prepared)


@pytest.mark.parametrize("fold", [0, 2])
def test_a_model_gets_its_own_split(data, fold):
    split = split_for(ModelConfig(training=made_on(data, fold)), data)
    assert split.own and not split.doubt("test")
    assert all(split.doubt(name) for name in ("validation", "train", ALL))
    assert set(split.data["test"]["fold"]) == {fold}
    assert set(split.data["validation"]["fold"]) == {fold + 1}


def test_a_model_of_other_data_is_told_apart(data):
    split = split_for(ModelConfig(), data)
    assert (split.data, split.own) == (data, None) and split.doubt("test")
    record = made_on(data, 1)
    record["data"]["split_sha256"] = "other"
    split = split_for(ModelConfig(training=record), data)
    assert split.own is False and split.doubt("test")
    assert set(split.data["test"]["fold"]) == {1}
    # Another hospital's images cannot have been trained on.
    record["data"]["sources"] = {"train": ["elsewhere"], "validation": ["elsewhere"], "test": []}
    assert not split_for(ModelConfig(training=record), data).doubt(ALL)


def test_a_refit_has_seen_its_validation_images(data):
    training = made_on(data, 0)
    training["data"]["trained_on"] = ["train", "validation"]
    split = split_for(ModelConfig(training=training), data)
    assert split.doubt("validation") == split.doubt("train")
    assert not split.doubt("test")


def test_images_come_with_what_their_metrics_suffer_from(tiny_model, data):
    def warnings():
        return model_and_images(str(tiny_model), data, "test")[2]["warnings"]

    training = made_on(data, 0)
    save_config(tiny_model, replace(load_config(tiny_model), training=training))
    _, images, provenance = model_and_images(str(tiny_model), data, "test")
    assert (len(images), len(provenance["warnings"])) == (len(data["test"]), 1), "uncalibrated"
    assert len(model_and_images(str(tiny_model), data, ALL)[1]) == sum(map(len, data.values()))
    training["data"]["folds_from"] = "image by image"
    save_config(tiny_model, replace(load_config(tiny_model), training=training))
    assert len(warnings()) == 2
    data["test"] = data["test"].select([])
    with pytest.raises(DataLayoutError, match="no test images"):
        warnings()
