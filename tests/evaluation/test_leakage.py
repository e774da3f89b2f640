from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from busi_unet.config import ModelConfig
from busi_unet.data.prepared import load_prepared, resplit, split_hash
from busi_unet.errors import UsageError
from busi_unet.evaluation.leakage import cross_validated, split_for, subject
from busi_unet.models.pretrained import load_config, save_config


def made_on(data, test: int, validation: int | None = None) -> dict:
    split = resplit(data, test, validation)
    folds = {name: sorted(set(split[name]["fold"])) for name in ("train", "validation", "test")}
    return {"data": {"split_sha256": split_hash(split), "folds": folds}}


@pytest.fixture
def data(prepared: Path):
    return load_prepared(prepared)


@pytest.fixture
def runs(tmp_path: Path, tiny_model: Path, data) -> Path:
    """A cross-validation, of untrained networks."""
    folder = tmp_path / "cv"
    for fold in range(5):
        model = folder / f"fold-{fold}" / "model"
        shutil.copytree(tiny_model, model)
        save_config(model, replace(load_config(model), training=made_on(data, fold)))
    return folder


@pytest.mark.parametrize("folds", [(0, None), (2, None), (2, 0)])
def test_a_model_gets_its_own_split(data, folds):
    split = split_for(ModelConfig(training=made_on(data, *folds)), data)
    assert split.own and not split.doubt("test")
    assert "chosen on these images" in split.doubt("validation")
    assert "was trained on these images" in split.doubt("train")
    assert set(split.data["test"]["fold"]) == {folds[0]}
    assert set(split.data["validation"]["fold"]) == {(folds[0] + 1) % 5 if folds[1] is None else folds[1]}


def test_a_model_of_other_data_is_told_apart(data):
    split = split_for(ModelConfig(), data)
    assert (split.data, split.own) == (data, None)
    assert "does not tell" in split.doubt("test")
    record = made_on(data, 1)
    record["data"]["split_sha256"] = "other"
    split = split_for(ModelConfig(training=record), data)
    assert split.own is False and "another split" in split.doubt("test")
    assert set(split.data["test"]["fold"]) == {1}


def test_training_without_validation_has_seen_the_validation_images(data):
    training = made_on(data, 0)
    training = {"data": {**training["data"], "trained_on": ["train", "validation"]}}
    split = split_for(ModelConfig(training=training), data)
    assert "was trained on these images" in split.doubt("validation")
    assert not split.doubt("test")


def test_folds_that_ignore_copies_are_a_doubt(runs, data):
    model = runs / "fold-0" / "model"
    leak = "trained on copies of these images"
    assert not any(leak in doubt for doubt in subject(str(model), data, "test").doubts)
    training = made_on(data, 0)
    training["data"]["folds_from"] = "image by image"
    save_config(model, replace(load_config(model), training=training))
    assert any(leak in doubt for doubt in subject(str(model), data, "test").doubts)


def test_every_image_has_the_network_that_kept_it(runs, data):
    pairs = cross_validated(runs, data)
    assert [model for model, _ in pairs] == [runs / f"fold-{fold}" / "model" for fold in range(5)]
    assert [set(split["fold"]) for _, split in pairs] == [{fold} for fold in range(5)]
    seen = [image for _, split in pairs for image in split["image_id"]]
    assert sorted(seen) == sorted(image for split in data.values() for image in split["image_id"])


def test_what_is_no_cross_validation_of_these_data(runs, data, tmp_path):
    with pytest.raises(UsageError, match=r"no folder .*nowhere"):
        cross_validated(tmp_path / "nowhere", data)
    save_config(runs / "fold-3" / "model", ModelConfig(training=made_on(data, 2)))
    with pytest.raises(UsageError, match=r"fold-3.model was not made to be tested on fold 3"):
        cross_validated(runs, data)
    shutil.rmtree(runs / "fold-1" / "model")
    with pytest.raises(UsageError, match=r"no complete cross-validation: there is no .*fold-1.model"):
        cross_validated(runs, data)
