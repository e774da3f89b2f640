import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from busi_unet.config import CONFIG_NAME, WEIGHTS_NAME, Architecture, ModelConfig, Preprocess
from busi_unet.errors import IncompatibleModelError
from busi_unet.models.folder import load_model, save_config, save_model
from busi_unet.models.ood import OodDetector, ood_shapes
from busi_unet.models.unet import UNet


def outputs(model: UNet) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        output = model.eval()(torch.randn(2, 1, 64, 64, generator=generator))
    return torch.cat([output.mask_logits.flatten(), output.class_logits.flatten()])


@pytest.mark.parametrize("architecture", [Architecture("plain", 4), Architecture("efficientnet_lite0")])
def test_a_loaded_model_computes_what_the_saved_one_did(tmp_path, architecture):
    torch.manual_seed(0)
    model = UNet(architecture)
    config = ModelConfig(architecture=architecture, preprocess=Preprocess(size=64), training={"seed": 0})
    loaded, loaded_config, _ = load_model(save_model(tmp_path, model, config))
    assert loaded_config == config
    assert not loaded.training
    torch.testing.assert_close(outputs(loaded), outputs(model), rtol=0.02, atol=0.02)
    # What was rounded to half precision once is stored exactly from then on.
    again, _, _ = load_model(save_model(tmp_path / "again", loaded, config))
    assert torch.equal(outputs(again), outputs(loaded))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("mask_head.0.bias"), "misses mask_head.0.bias"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "unknown tensor extra"),
        (lambda tensors: tensors.update({"mask_head.0.bias": torch.zeros(3)}), r"\(3,\), expected \(1,\)"),
        (lambda tensors: tensors["mask_head.0.bias"].fill_(torch.nan), "NaN"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tiny_model, change, said):
    path = tiny_model / WEIGHTS_NAME
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    with pytest.raises(IncompatibleModelError, match=said):
        load_model(tiny_model)


def test_damaged_files_are_named(tiny_model):
    weights, config = tiny_model / WEIGHTS_NAME, tiny_model / CONFIG_NAME
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(IncompatibleModelError, match=r"model\.safetensors is damaged"):
        load_model(tiny_model)
    weights.rename(tiny_model / "pytorch_model.bin")
    with pytest.raises(IncompatibleModelError, match=r"no model\.safetensors"):
        load_model(tiny_model)
    for no_json in ("{", "[" * 200_000, "1" * 5000):
        config.write_text(no_json, encoding="utf-8")
        with pytest.raises(IncompatibleModelError, match=r"config\.json is not JSON"):
            load_model(tiny_model)
    config.unlink()
    with pytest.raises(IncompatibleModelError, match=r"no config\.json"):
        load_model(tiny_model)


def test_a_bad_value_names_the_file(tiny_model):
    path = tiny_model / CONFIG_NAME
    data = json.loads(path.read_text(encoding="utf-8"))
    data["architecture"]["encoder"] = "vgg16"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(IncompatibleModelError, match=r"config\.json: .*vgg16.*efficientnet_lite0"):
        load_model(tiny_model)


def test_the_ood_detector_travels_with_the_weights(tmp_path):
    architecture = Architecture("plain", 4)
    model, config = UNet(architecture), ModelConfig(architecture, Preprocess(size=64))
    shapes = ood_shapes(model.encoder.channels[-2])
    generator = np.random.default_rng(0)
    ood = OodDetector(**{name: generator.random(shape, dtype=np.float32) for name, shape in shapes.items()})
    with_ood = replace(config, calibration=replace(config.calibration, ood_threshold=2.5))

    loaded = load_model(save_model(tmp_path, model, with_ood, ood))

    assert loaded.config.calibration.ood_threshold == 2.5
    for name, array in vars(ood).items():
        np.testing.assert_array_equal(vars(loaded.ood)[name], array)

    save_config(tmp_path, config)
    with pytest.raises(IncompatibleModelError, match=r"unknown tensor ood\."):
        load_model(tmp_path)
    save_model(tmp_path, model, config)
    save_config(tmp_path, with_ood)
    with pytest.raises(IncompatibleModelError, match=r"misses ood\."):
        load_model(tmp_path)
