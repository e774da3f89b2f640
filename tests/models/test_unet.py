import pytest
import torch

from busi_unet.config import Architecture
from busi_unet.models.encoders import ENCODERS
from busi_unet.models.unet import UNet


@pytest.mark.parametrize("name", ENCODERS)
def test_one_forward_pass_gives_mask_and_class_and_trains_every_parameter(name):
    model = UNet(Architecture(name, width=4 if ENCODERS[name].free_width else None))
    output = model(torch.randn(2, 1, 64, 64))
    assert output.mask_logits.shape == (2, 1, 64, 64)
    assert output.class_logits.shape == (2, 3)
    (output.mask_logits.square().mean() + output.class_logits.square().mean()).backward()
    assert [key for key, parameter in model.named_parameters() if parameter.grad is None] == []
