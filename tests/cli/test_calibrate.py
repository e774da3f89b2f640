import shutil
from dataclasses import replace

import pytest

from busi_unet.cli import main
from busi_unet.config import Architecture, ModelConfig
from busi_unet.data.prepared import load_prepared, resplit, split_hash
from busi_unet.models.folder import load_config, save_config
from busi_unet.models.pretrained import save_model
from busi_unet.models.unet import UNet


@pytest.fixture
def model(tmp_path):
    """A model folder whose name is not that of `tiny_model`."""
    architecture = Architecture("plain", 4)
    return save_model(tmp_path / "own", UNet(architecture), ModelConfig(architecture))


def test_fits_to_what_siblings_say_of_images_they_have_not_seen(model, prepared, tmp_path, capsys):
    data = load_prepared(prepared)
    sibling = shutil.copytree(model, tmp_path / "sibling")
    for folder, fold in ((sibling, 1), (model, 0)):
        split = {"data": {"split_sha256": split_hash(resplit(data, fold)), "folds": {"test": [fold]}}}
        save_config(folder, replace(load_config(folder), training=split))
    command = ["calibrate", str(model), "--data", str(prepared), "--left-out"]
    assert main([*command, str(model)]) == 2, "its own test images are kept back"

    assert main([*command, str(sibling)]) == 0

    config = load_config(model)
    assert config.calibration.fitted
    assert config.training == split
    assert f"{config.thresholds.mask:.2f}" in capsys.readouterr().out


def test_a_model_without_a_record_of_its_data_is_refused(model, prepared, capsys):
    before = load_config(model)
    assert main(["calibrate", str(model), "--data", str(prepared)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert load_config(model) == before
