import json

import pytest

from busi_unet.config import (
    Architecture,
    Calibration,
    ClassCalibration,
    ModelConfig,
    PredictionSets,
    Preprocess,
    Thresholds,
)
from busi_unet.errors import IncompatibleModelError


@pytest.fixture
def config() -> ModelConfig:
    return ModelConfig(
        architecture=Architecture("plain", 8),
        preprocess=Preprocess(size=64, mean=0.3, std=0.2),
        thresholds=Thresholds(0.45, 0.6, 0.001),
        calibration=Calibration(ClassCalibration(1.7)),
        training={"seed": 3, "nested": {"list": [1, 2]}},
    )


def test_round_trip_through_json(config):
    assert ModelConfig.from_json(config.to_json()) == config


def changed(config: ModelConfig, path: str, value) -> dict:
    data = json.loads(config.to_json())
    *parents, last = path.split(".")
    block = data
    for name in parents:
        block = block[name]
    block[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("architecture.encoder", None),
        ("architecture.width", 0),
        ("architecture.width", "64"),
        ("architecture.extra", 1),
        ("preprocess.size", 100),
        ("preprocess.size", 64.0),
        ("preprocess.size", True),
        ("preprocess.std", 0),
        ("thresholds.mask", 1.5),
        ("thresholds", [0.5]),
        ("calibration.classes.malignant_head", -0.5),
        ("calibration.classes.lesion_bias", None),
        ("class_names", ["benign", "normal", "malignant"]),
        ("training", "none"),
        ("surprise", 1),
        ("calibration.classes.lesion_bias", float("inf")),
        ("calibration.ood_threshold", 0),
        ("calibration.classes.lesion_map", float("nan")),
        ("calibration.classes.lesion_head", -1.0),
        ("calibration.ood_threshold", float("nan")),
        ("preprocess.std", float("inf")),
        ("thresholds.malignant", float("nan")),
        ("format_version", "2"),
    ],
)
def test_what_does_not_fit_is_named(config, path, value):
    with pytest.raises(IncompatibleModelError, match=path.replace(".", r"\.")):
        ModelConfig.from_json(json.dumps(changed(config, path, value)))


@pytest.mark.parametrize("path", ["calibration", "preprocess.mean", "format_version"])
def test_missing_keys_are_named(config, path):
    data = changed(config, path, None)
    *parents, last = path.split(".")
    block = data
    for name in parents:
        block = block[name]
    del block[last]
    with pytest.raises(IncompatibleModelError, match=f"misses the key {path}"):
        ModelConfig.from_json(json.dumps(data))


@pytest.mark.parametrize(
    ("block", "value", "named"),
    [
        ("prediction_sets", {"coverage": 0.9, "threshold": float("nan")}, "prediction_sets.threshold"),
        ("prediction_sets", {"coverage": 0.9}, "calibration.prediction_sets.threshold"),
        ("boundary_band", {"coverage": 0.9, "inner": -1.0, "outer": 0.1}, "boundary_band.inner"),
        ("boundary_band", {"coverage": 0.9, "inner": 0.1, "outer": float("inf")}, "boundary_band.outer"),
        ("boundary_band", {"coverage": 1.0, "inner": 0.1, "outer": 0.1}, "boundary_band.coverage"),
    ],
)
def test_half_a_statement_is_none(config, block, value, named):
    with pytest.raises(IncompatibleModelError, match=named.replace(".", r"\.")):
        ModelConfig.from_json(json.dumps(changed(config, f"calibration.{block}", value)))


def test_calibration_is_told_from_its_absence():
    assert not Calibration().fitted
    assert not Calibration(ood_threshold=2.0).fitted, "the OOD detector says nothing about probabilities"
    assert Calibration(ClassCalibration(1.2)).fitted
    assert Calibration(prediction_sets=PredictionSets(0.9, 0.1)).fitted


def test_a_newer_format_is_told_apart_from_a_damaged_one(config):
    data = {**changed(config, "new_block", {}), "format_version": 3}
    with pytest.raises(IncompatibleModelError, match=r"format_version 3.*reads 2"):
        ModelConfig.from_json(json.dumps(data))


@pytest.mark.parametrize("data", [None, [], "text"])
def test_other_json_is_no_config(data):
    with pytest.raises(IncompatibleModelError, match="expected an object"):
        ModelConfig.from_json(json.dumps(data))
