from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from busi_unet.config import Architecture, BundleConfig, Calibration, EdgeBand, PredictionSets, Thresholds
from busi_unet.data.busi import load_prepared, split_hash
from busi_unet.models.pretrained import load_config, save_bundle, save_config
from busi_unet.models.unet import UNet

main = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "calibrate.py"))["main"]
FITTED = Calibration(1.5, PredictionSets(0.9, 0.1), EdgeBand(0.9, 0.2, 0.4))


@pytest.fixture
def model(tmp_path) -> Path:
    architecture = Architecture("plain", 4)
    # Not beside `tiny_bundle` under one name: the two would be one.
    return save_bundle(tmp_path / "own", UNet(architecture), BundleConfig(architecture))


def test_what_another_model_states_is_taken_over(tiny_bundle, model, prepared, capsys):
    split = {"data": {"split_sha256": split_hash(load_prepared(prepared)), "folds": {"test": [0]}}}
    save_config(model, replace(load_config(model), training=split))
    save_config(
        tiny_bundle,
        replace(
            load_config(tiny_bundle),
            calibration=FITTED,
            thresholds=Thresholds(mask=0.35),
            preprocess=load_config(model).preprocess,
            training=split,
        ),
    )

    assert main([str(model), "--data", str(prepared), "--from", str(tiny_bundle)]) == 0

    config = load_config(model)
    assert config.calibration == FITTED
    assert config.thresholds == Thresholds(mask=0.35)
    printed = capsys.readouterr().out
    assert "cut at 0.100" in printed
    assert "within -0.20 and +0.40 radii" in printed
    assert "guard: none" in printed, "two dozen pictures are too few to tell what is usual"


def test_a_model_that_is_no_run_of_this_data_is_refused(model, prepared, capsys):
    other = {"data": {"split_sha256": "0" * 64, "folds": {"test": [0]}}}
    save_config(model, replace(load_config(model), training=other))
    before = load_config(model)

    assert main([str(model), "--data", str(prepared)]) == 2

    assert "was made on another split" in capsys.readouterr().err
    assert load_config(model) == before


def test_a_model_without_a_record_is_refused(model, prepared, capsys):
    assert main([str(model), "--data", str(prepared)]) == 2
    assert "does not tell which data it was made on" in capsys.readouterr().err


def test_nothing_is_taken_from_a_model_that_is_not_calibrated(tiny_bundle, model, prepared, capsys):
    split = {"data": {"split_sha256": split_hash(load_prepared(prepared)), "folds": {"test": [0]}}}
    save_config(model, replace(load_config(model), training=split, calibration=FITTED))
    before = load_config(model)
    assert main([str(model), "--data", str(prepared), "--from", str(tiny_bundle)]) == 2
    assert "is not calibrated itself" in capsys.readouterr().err
    assert load_config(model) == before
