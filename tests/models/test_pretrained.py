import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from busi_unet.config import Architecture, BundleConfig, Preprocess
from busi_unet.errors import IncompatibleBundleError
from busi_unet.models.ood import Guard, guard_shapes
from busi_unet.models.pretrained import CONFIG_NAME, WEIGHTS_NAME, load_bundle, save_bundle, save_config
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
    config = BundleConfig(architecture=architecture, preprocess=Preprocess(size=64), training={"seed": 0})
    loaded, loaded_config, _ = load_bundle(save_bundle(tmp_path, model, config))
    assert loaded_config == config
    assert not loaded.training
    torch.testing.assert_close(outputs(loaded), outputs(model), rtol=0.02, atol=0.02)
    # What was rounded to half precision once is stored exactly from then on.
    again, _, _ = load_bundle(save_bundle(tmp_path / "again", loaded, config))
    assert torch.equal(outputs(again), outputs(loaded))


def test_nothing_but_the_two_files_is_left(tiny_bundle):
    assert sorted(path.name for path in tiny_bundle.iterdir()) == [CONFIG_NAME, WEIGHTS_NAME]


def test_weights_take_two_bytes_each(tmp_path):
    architecture = Architecture("plain", 16)
    model = UNet(architecture)
    save_bundle(tmp_path, model, BundleConfig(architecture=architecture))
    count = sum(parameter.numel() for parameter in model.parameters())
    assert (tmp_path / WEIGHTS_NAME).stat().st_size < 2.2 * count


def test_a_config_of_another_network_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="the config says"):
        save_bundle(tmp_path, UNet(Architecture("plain", 4)), BundleConfig())
    assert not any(tmp_path.iterdir())


def tamper(folder, change):
    tensors = load_file(folder / WEIGHTS_NAME)
    change(tensors)
    save_file(tensors, folder / WEIGHTS_NAME)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: tensors.pop("mask_head.0.bias"), "misses mask_head.0.bias"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "unknown tensor extra"),
        (lambda tensors: tensors.update({"mask_head.0.bias": torch.zeros(3)}), r"\(3,\), expected \(1,\)"),
        (lambda tensors: tensors["mask_head.0.bias"].fill_(torch.nan), "NaN"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tiny_bundle, change, said):
    tamper(tiny_bundle, change)
    with pytest.raises(IncompatibleBundleError, match=said):
        load_bundle(tiny_bundle)


def test_damaged_files_are_named(tiny_bundle):
    weights, config = tiny_bundle / WEIGHTS_NAME, tiny_bundle / CONFIG_NAME
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(IncompatibleBundleError, match=r"model\.safetensors is damaged"):
        load_bundle(tiny_bundle)
    weights.unlink()
    with pytest.raises(IncompatibleBundleError, match=r"no model\.safetensors"):
        load_bundle(tiny_bundle)
    for no_json in ("{", "[" * 200_000, "1" * 5000):
        config.write_text(no_json, encoding="utf-8")
        with pytest.raises(IncompatibleBundleError, match=r"config\.json is not JSON"):
            load_bundle(tiny_bundle)
    config.unlink()
    with pytest.raises(IncompatibleBundleError, match=r"no config\.json"):
        load_bundle(tiny_bundle)


def test_a_run_named_for_its_model_is_told_apart(tiny_bundle, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(IncompatibleBundleError) as nothing_there:
        load_bundle(run)
    assert "model/ of a run" in nothing_there.value.hint
    tiny_bundle.rename(run / "model")
    with pytest.raises(IncompatibleBundleError) as of_a_run:
        load_bundle(run)
    assert of_a_run.value.hint == f"It is a run; name {run / 'model'}."


def test_a_pickle_is_never_opened(tiny_bundle):
    (tiny_bundle / WEIGHTS_NAME).rename(tiny_bundle / "pytorch_model.bin")
    with pytest.raises(IncompatibleBundleError, match=r"no model\.safetensors"):
        load_bundle(tiny_bundle)


def test_a_bad_value_names_the_file(tiny_bundle):
    path = tiny_bundle / CONFIG_NAME
    data = json.loads(path.read_text(encoding="utf-8"))
    data["architecture"]["encoder"] = "vgg16"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(IncompatibleBundleError, match=r"config\.json: .*vgg16.*efficientnet_lite0"):
        load_bundle(tiny_bundle)


def test_a_guard_travels_with_the_weights(tmp_path):
    architecture = Architecture("plain", 4)
    model, config = UNet(architecture), BundleConfig(architecture, Preprocess(size=64))
    shapes = guard_shapes(sum(model.encoder.channels))
    generator = np.random.default_rng(0)
    guard = Guard(**{name: generator.random(shape, dtype=np.float32) for name, shape in shapes.items()})
    guarded = replace(config, calibration=replace(config.calibration, refuse_beyond=2.5))

    loaded = load_bundle(save_bundle(tmp_path, model, guarded, guard))

    assert loaded.config.calibration.refuse_beyond == 2.5
    for name, array in guard.tensors().items():
        np.testing.assert_array_equal(loaded.guard.tensors()[name], array)

    save_config(tmp_path, config)
    with pytest.raises(IncompatibleBundleError, match=r"unknown tensor guard\."):
        load_bundle(tmp_path)
    with pytest.raises(ValueError, match="belong together"):
        save_bundle(tmp_path, model, guarded)
    save_bundle(tmp_path, model, config)
    save_config(tmp_path, guarded)
    with pytest.raises(IncompatibleBundleError, match=r"misses guard\."):
        load_bundle(tmp_path)
