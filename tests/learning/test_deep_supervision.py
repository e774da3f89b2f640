import dataclasses

import pytest
import torch
from safetensors.torch import load_file

from busi_unet.config import Architecture
from busi_unet.learning.deep_supervision import DeepSupervision, network_of, supervised
from busi_unet.learning.options import TrainOptions
from busi_unet.learning.training import train
from busi_unet.model.unet import UNet


@pytest.mark.parametrize("architecture", [Architecture("plain", 4), Architecture("efficientnet_lite0")])
def test_each_coarser_level_of_the_decoder_has_an_output(architecture):
    network = UNet(architecture).eval()
    deep = DeepSupervision(network).eval()
    x = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        output, coarse = deep(x)
        own = network(x)
    for part, expected in zip(output, own, strict=True):
        torch.testing.assert_close(part, expected)
    finest = 64 // network.encoder.first_stride
    assert [tuple(logits.shape) for logits in coarse] == [(2, 1, finest // k, finest // k) for k in (8, 4, 2)]


def test_what_comes_back_has_one_form():
    network = UNet(Architecture("plain", 4)).eval()
    deep = DeepSupervision(network).eval()
    assert network_of(network) is network_of(deep) is network
    x = torch.rand(1, 1, 32, 32)
    with torch.no_grad():
        assert supervised(network(x)).coarse == ()
        passed_on = tuple(tuple(part) for part in deep(x))
        output, coarse = supervised(passed_on)
    assert output.class_logits.shape == (1, 3)
    assert len(coarse) == 3


def test_coarse_outputs_teach_the_decoder():
    network = UNet(Architecture("plain", 4))
    deep = DeepSupervision(network)
    coarse = deep(torch.rand(2, 1, 32, 32)).coarse
    coarse[0].sum().backward()
    reached = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert any(name.startswith("decoder.convolve.0") for name in reached)
    assert not any(name.startswith("decoder.convolve.1") for name in reached)


def test_a_run_leaves_the_network_alone_and_goes_on_from_its_checkpoint(prepared, tmp_path):
    options = TrainOptions(
        data=prepared, output=tmp_path / "a", encoder="plain", width=4, size=32, epochs=2, batch_size=4
    )
    deep = dataclasses.replace(options, deep_supervision=0.5, output=tmp_path / "b")
    plain, trained = (load_file(train(each) / "model.safetensors") for each in (options, deep))
    assert plain.keys() == trained.keys()
    assert any(not torch.equal(plain[name], trained[name]) for name in plain)
    saved = torch.load(tmp_path / "b" / "checkpoint.pt", weights_only=True)
    assert any(name.startswith("heads.") for name in saved["model"])
    again = train(dataclasses.replace(deep, resume=True))
    resumed = load_file(again / "model.safetensors")
    assert all(torch.equal(trained[name], resumed[name]) for name in trained)
