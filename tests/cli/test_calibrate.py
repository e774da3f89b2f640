from dataclasses import replace

import pytest

from busi_unet.cli import main
from busi_unet.config import Architecture, Calibration, ModelConfig, PredictionSets, Thresholds
from busi_unet.data.prepared import load_prepared, split_hash
from busi_unet.models.pretrained import load_config, save_config, save_model
from busi_unet.models.unet import UNet

FITTED = Calibration(ClassCalibration(1.5), PredictionSets(0.9, 0.1))


@pytest.fixture
def model(tmp_path):
    """A model folder whose name is not that of `tiny_model`."""
    architecture = Architecture("plain", 4)
    return save_model(tmp_path / "own", UNet(architecture), ModelConfig(architecture))


def test_takes_over_what_another_model_states(tiny_model, model, prepared, capsys):
    split = {"data": {"split_sha256": split_hash(load_prepared(prepared)), "folds": {"test": [0]}}}
    save_config(model, replace(load_config(model), training=split))
    other = replace(
        load_config(tiny_model),
        calibration=FITTED,
        thresholds=Thresholds(mask=0.35),
        preprocess=load_config(model).preprocess,
        training=split,
    )
    save_config(tiny_model, other)

    assert main(["calibrate", str(model), "--data", str(prepared), "--from", str(tiny_model)]) == 0

    assert load_config(model).calibration == FITTED
    assert load_config(model).thresholds == Thresholds(mask=0.35)
    printed = capsys.readouterr().out
    assert "1.500" in printed and "0.35" in printed


def test_a_model_without_a_record_of_its_data_is_refused(model, prepared, capsys):
    before = load_config(model)
    assert main(["calibrate", str(model), "--data", str(prepared)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert load_config(model) == before
