import pytest
import torch

from busi_unet.config import Architecture
from busi_unet.models.encoders import ENCODERS
from busi_unet.models.unet import UNet


def small(name: str) -> Architecture:
    return Architecture(name, width=4 if ENCODERS[name].free_width else None)


@pytest.mark.parametrize("name", ENCODERS)
def test_one_forward_pass_gives_mask_and_class_and_trains_every_parameter(name):
    model = UNet(small(name))
    output = model(torch.randn(2, 1, 64, 64))
    assert output.mask_logits.shape == (2, 1, 64, 64)
    assert output.class_logits.shape == (2, 3)
    (output.mask_logits.square().mean() + output.class_logits.square().mean()).backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []


def test_the_mask_follows_the_image():
    """The receptive field of a mask pixel is centred: a bright spot changes the logits around itself."""
    torch.manual_seed(0)
    model = UNet(small("plain")).eval()
    dark = torch.zeros(1, 1, 64, 64)
    lit = dark.clone()
    lit[0, 0, 20, 44] = 50.0
    with torch.inference_mode():
        change = (model(lit).mask_logits - model(dark).mask_logits).abs()[0, 0]
    row, column = divmod(int(change.argmax()), 64)
    assert abs(row - 20) <= 4
    assert abs(column - 44) <= 4
