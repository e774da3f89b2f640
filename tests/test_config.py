import json

import pytest

from busi_unet.config import (
    Architecture,
    BundleConfig,
    Calibration,
    PredictionSets,
    Preprocess,
    Thresholds,
)
from busi_unet.errors import IncompatibleBundleError


@pytest.fixture
def config() -> BundleConfig:
    return BundleConfig(
        architecture=Architecture("plain", 8),
        preprocess=Preprocess(size=64, mean=0.3, std=0.2),
        thresholds=Thresholds(0.45, 0.6, 0.001),
        calibration=Calibration(1.7),
        training={"seed": 3, "nested": {"list": [1, 2]}},
    )


def test_round_trip_through_json(config):
    assert BundleConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def changed(config: BundleConfig, path: str, value) -> dict:
    data = json.loads(json.dumps(config.to_dict()))
    *parents, last = path.split(".")
    block = data
    for name in parents:
        block = block[name]
    block[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("architecture.encoder", "resnet50"),
        ("architecture.width", None),
        ("architecture.width", 0),
        ("architecture.width", "64"),
        ("architecture.extra", 1),
        ("preprocess.size", 100),
        ("preprocess.size", 64.0),
        ("preprocess.size", True),
        ("preprocess.std", 0),
        ("thresholds.mask", 1.5),
        ("thresholds", [0.5]),
        ("calibration.temperature", 0),
        ("calibration.temperature", None),
        ("class_names", ["benign", "normal", "malignant"]),
        ("training", "none"),
        ("surprise", 1),
        ("calibration.temperature", float("inf")),
        ("calibration.refuse_beyond", 0),
        ("calibration.temperature", float("nan")),
        ("calibration.temperature", -1.0),
        ("calibration.refuse_beyond", float("nan")),
        ("preprocess.std", float("inf")),
        ("thresholds.malignant", float("nan")),
        ("format_version", "2"),
    ],
)
def test_what_does_not_fit_is_named(config, path, value):
    with pytest.raises(IncompatibleBundleError, match=path.replace(".", r"\.")):
        BundleConfig.from_dict(changed(config, path, value))


@pytest.mark.parametrize("path", ["calibration", "preprocess.mean", "format_version"])
def test_missing_keys_are_named(config, path):
    data = changed(config, path, None)
    *parents, last = path.split(".")
    block = data
    for name in parents:
        block = block[name]
    del block[last]
    with pytest.raises(IncompatibleBundleError, match=f"misses the key {path}"):
        BundleConfig.from_dict(data)


@pytest.mark.parametrize(
    ("block", "value", "named"),
    [
        ("prediction_sets", {"coverage": 0.9, "cut": float("nan")}, "prediction_sets.cut"),
        ("prediction_sets", {"coverage": 0.9}, "calibration.prediction_sets.cut"),
        ("edge_band", {"coverage": 0.9, "inner": -1.0, "outer": 0.1}, "edge_band.inner"),
        ("edge_band", {"coverage": 0.9, "inner": 0.1, "outer": float("inf")}, "edge_band.outer"),
        ("edge_band", {"coverage": 1.0, "inner": 0.1, "outer": 0.1}, "edge_band.coverage"),
    ],
)
def test_half_a_statement_is_none(config, block, value, named):
    with pytest.raises(IncompatibleBundleError, match=named.replace(".", r"\.")):
        BundleConfig.from_dict(changed(config, f"calibration.{block}", value))


def test_calibration_is_told_from_its_absence():
    assert not Calibration().fitted
    assert not Calibration(refuse_beyond=2.0).fitted, "the guard says nothing about probabilities"
    assert Calibration(1.2).fitted
    assert Calibration(prediction_sets=PredictionSets(0.9, 0.1)).fitted


def test_a_newer_format_is_told_apart_from_a_damaged_one(config):
    data = {**changed(config, "new_block", {}), "format_version": 3}
    with pytest.raises(IncompatibleBundleError, match=r"format_version 3.*reads 1 to 2"):
        BundleConfig.from_dict(data)


@pytest.mark.parametrize("data", [None, [], "text"])
def test_other_json_is_no_config(data):
    with pytest.raises(IncompatibleBundleError, match="expected an object"):
        BundleConfig.from_dict(data)


def test_format_1_lacked_what_trust_needs_and_nothing_else(config):
    data = {**changed(config, "calibration", {"temperature": 1.5}), "format_version": 1}
    del data["thresholds"]["malignant"]
    assert BundleConfig.from_dict(data).calibration == Calibration(1.5)

    data["calibration"]["refuse_beyond"] = 2.0
    with pytest.raises(IncompatibleBundleError, match=r"expected 2 with calibration\.refuse_beyond"):
        BundleConfig.from_dict(data)
