import json

import pytest

from busi_unet.config import (
    Architecture,
    Calibration,
    ClassCalibration,
    ModelConfig,
    OnnxTwin,
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
        onnx=OnnxTwin("a" * 64, "b" * 64, 2e-6, 3),
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
    if value is ...:
        del block[last]
    return data


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("architecture.width", "64"),
        ("architecture.extra", 1),
        ("preprocess.size", 100),
        ("preprocess.size", True),
        ("preprocess.std", 0),
        ("thresholds.mask", 1.5),
        ("thresholds.malignant", float("nan")),
        ("thresholds", [0.5]),
        ("calibration.classes.malignant_head", -0.5),
        ("calibration.classes.lesion_bias", float("inf")),
        ("calibration.ood_threshold", 0),
        ("calibration.prediction_sets", {"coverage": 0.9}),
        ("calibration.boundary_band", {"coverage": 0.9, "inner": -1.0, "outer": 0.1}),
        ("class_names", ["benign", "normal", "malignant"]),
        ("training", "none"),
        ("onnx.sha256", "A" * 64),
        ("onnx.difference", -1.0),
        ("surprise", 1),
        ("format_version", "2"),
    ],
)
def test_what_does_not_fit_is_named(config, path, value):
    with pytest.raises(IncompatibleModelError, match=path.replace(".", r"\.")):
        ModelConfig.from_json(json.dumps(changed(config, path, value)))


@pytest.mark.parametrize("path", ["calibration", "preprocess.mean", "onnx", "format_version"])
def test_missing_keys_are_named(config, path):
    data = changed(config, path, ...)
    with pytest.raises(IncompatibleModelError, match=f"lacks the key {path}"):
        ModelConfig.from_json(json.dumps(data))


def test_a_newer_format_is_told_apart_from_a_damaged_one(config):
    data = {**changed(config, "new_block", {}), "format_version": 3}
    with pytest.raises(IncompatibleModelError, match=r"format_version 3.*reads 2"):
        ModelConfig.from_json(json.dumps(data))


@pytest.mark.parametrize(("text", "said"), [("[]", "config.json"), ("{", "is not JSON")])
def test_other_text_is_no_config(text, said):
    with pytest.raises(IncompatibleModelError, match=said):
        ModelConfig.from_json(text)
