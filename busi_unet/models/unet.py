"""U-Net with a mask output and a class output in one forward pass."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from busi_unet.config import CLASS_NAMES, Architecture
from busi_unet.models.encoder_modules import double_conv
from busi_unet.models.encoders import encoder_entry

_HEAD_CHANNELS = 256


class UNetOutput(NamedTuple):
    """The mask logits (N, 1, S, S), lesion where above 0, and class logits (N, 3) of a forward pass."""

    mask_logits: Tensor
    class_logits: Tensor


class Explained(NamedTuple):
    """What a prediction is made of, with what tells how far to trust it.

    Attributes:
        probability: (N, S, S), of the lesion.
        class_logits: (N, 3).
        class_activation_maps: (N, 3, s, s), `ClassHead.class_activation_maps`.
        features: (N, D), the mean over the image of each channel of the second coarsest map.
    """

    probability: Tensor
    class_logits: Tensor
    class_activation_maps: Tensor
    features: Tensor


class UNet(nn.Module):
    """Encoder, decoder with skip connections, and a class head on the coarsest features.

    The plain encoder with width 64 is Ronneberger's network (arXiv:1505.04597), 31 M parameters.

    Raises:
        IncompatibleModelError: there is no such encoder, or its width is missing or not free.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        entry = encoder_entry(architecture)
        self.encoder = entry.build(architecture.width) if entry.free_width else entry.build()
        self.decoder = Decoder(self.encoder.channels, entry.decoder_widths)
        # Sub-pixel convolution (Shi et al. 2016, arXiv:1609.05158) from the decoder's stride to full
        # size: on the slim network, convolutions at full size took half of the training time.
        stride = entry.first_stride
        self.mask_head = nn.Sequential(
            nn.Conv2d(self.decoder.width, stride**2, kernel_size=1), nn.PixelShuffle(stride)
        )
        self.class_head = ClassHead(self.encoder.channels[-1])

    def forward(self, x: Tensor) -> UNetOutput:
        """Segment and classify x (N, 1, S, S), normalised; S a multiple of 32."""
        return self._heads(self.encoder(x))

    def explain(self, x: Tensor) -> Explained:
        """Run `forward`, and return what a prediction is made of."""
        features = self.encoder(x)
        # The second coarsest map: finer ones tell the scanner, the coarsest the class.
        pooled = features[-2].mean(dim=(2, 3))
        mask_logits, class_logits = self._heads(features)
        maps = self.class_head.class_activation_maps(features[-1])
        return Explained(mask_logits.sigmoid()[:, 0], class_logits, maps, pooled)

    def _heads(self, features: list[Tensor]) -> UNetOutput:
        return UNetOutput(self.mask_head(self.decoder(features)), self.class_head(features[-1]))


class Decoder(nn.Module):
    """The expanding path: upsample, concatenate the skip connection, convolve twice.

    Args:
        encoder_channels: channels of the encoder's maps, fine to coarse.
        widths: channels of the levels, coarse to fine, with nearest-neighbour upsampling; None makes each as
            wide as the encoder's and learns the upsampling, as in the original.
    """

    def __init__(self, encoder_channels: tuple[int, ...], widths: tuple[int, ...] | None = None) -> None:
        super().__init__()
        *skips, channels = encoder_channels
        skips.reverse()
        self.upsample = nn.ModuleList()
        self.convolve = nn.ModuleList()
        for skip, width in zip(skips, widths or skips, strict=True):
            if widths:
                self.upsample.append(nn.Upsample(scale_factor=2, mode="nearest"))
            else:
                self.upsample.append(nn.ConvTranspose2d(channels, width, kernel_size=2, stride=2))
                channels = width
            self.convolve.append(double_conv(channels + skip, width))
            channels = width
        self.width = channels

    def forward(self, features: list[Tensor]) -> Tensor:
        """Return (N, width, s, s) from the encoder's maps, fine to coarse; s is the side of the finest."""
        *skips, x = features
        for upsample, convolve, skip in zip(self.upsample, self.convolve, reversed(skips), strict=True):
            x = convolve(torch.cat([upsample(x), skip], dim=1))
        return x


class ClassHead(nn.Module):
    """Coarsest features to class logits: 1×1 convolution, global mean, dropout, linear."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Conv2d(channels, _HEAD_CHANNELS, 1, bias=False),
            nn.BatchNorm2d(_HEAD_CHANNELS),
            nn.ReLU(inplace=True),
        )
        self.dropout = nn.Dropout(0.2)
        self.linear = nn.Linear(_HEAD_CHANNELS, len(CLASS_NAMES))

    def forward(self, x: Tensor) -> Tensor:
        """Return the class logits (N, 3) of x (N, channels, s, s)."""
        pooled = F.adaptive_avg_pool2d(self.project(x), 1).flatten(1)
        return self.linear(self.dropout(pooled))

    def class_activation_maps(self, x: Tensor) -> Tensor:
        """Return the class activation maps (N, 3, s, s) of x (N, channels, s, s), arXiv:1512.04150.

        They are exact here: without dropout, their means over all places are the class logits.
        """
        return F.conv2d(self.project(x), self.linear.weight[:, :, None, None], self.linear.bias)
