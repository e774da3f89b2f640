"""Segment and classify breast ultrasound images with a U-Net.

>>> from busi_unet import Predictor
>>> predictor = Predictor.from_pretrained()          # the embedded weights, no network needed
>>> prediction = predictor.predict("image.png")
>>> prediction.label, prediction.mask.shape
"""

from typing import TYPE_CHECKING, Any

from busi_unet.version import __version__

if TYPE_CHECKING:
    from busi_unet.errors import BusiUNetError
    from busi_unet.inference.prediction import Prediction
    from busi_unet.inference.predictor import Predictor
    from busi_unet.models.unet import UNet

_HOMES = {
    "BusiUNetError": "busi_unet.errors",
    "Prediction": "busi_unet.inference.prediction",
    "Predictor": "busi_unet.inference.predictor",
    "UNet": "busi_unet.models.unet",
}

__all__ = ["BusiUNetError", "Prediction", "Predictor", "UNet", "__version__"]


def __getattr__(name: str) -> Any:
    # Names load on first use, so that `import busi_unet` stays quick and free of torch.
    if name not in _HOMES:
        raise AttributeError(f"module 'busi_unet' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
