"""The encoders' networks; `encoders` names them without loading torch.

An encoder is an `nn.Module` with `channels`, the channel count of each feature map, and a `forward` that
returns the maps from fine to coarse, each half the size of the one before.
"""

from __future__ import annotations

import math
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

# kernel, stride, expansion, channels, repeats of the seven stages of EfficientNet-B0
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)


def double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two 3×3 convolutions, each followed by batch normalisation and ReLU; the size is kept."""
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers += [
            nn.Conv2d(channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class PlainEncoder(nn.Module):
    """The contracting path of U-Net (Ronneberger et al. 2015, arXiv:1505.04597).

    Padded convolutions and batch normalisation instead of cropping, so that the mask has the
    size of the input. Feature maps: strides 1, 2, 4, 8, 16.

    Args:
        width: channels of the first level; each level doubles them.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.channels = tuple(width * 2**level for level in range(5))
        self.stages = nn.ModuleList(
            double_conv(before, after)
            for before, after in zip((1, *self.channels), self.channels, strict=False)
        )
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return maps (N, channels[i], S / 2**i, S / 2**i) of x (N, 1, S, S)."""
        features = []
        for level, stage in enumerate(self.stages):
            x = stage(x if level == 0 else self.pool(x))
            features.append(x)
        return features


class EfficientNetLiteEncoder(nn.Module):
    """EfficientNet-Lite without its classification head.

    EfficientNet (Tan & Le 2019, arXiv:1905.11946) without squeeze-and-excitation, with ReLU6 and
    an unscaled stem, as published by its authors for mobile use. One input channel: the ImageNet
    stem summed over its three, which is the same function on a grey image. Feature maps:
    strides 2, 4, 8, 16, 32.

    Args:
        width_scale, depth_scale: multiply the channels and the repeats of EfficientNet-B0's stages.
    """

    def __init__(self, width_scale: float = 1.0, depth_scale: float = 1.0) -> None:
        super().__init__()
        self.stem = _conv_norm(1, 32, kernel=3, stride=2, activation=True)
        blocks: list[nn.Module] = []
        in_channels = 32
        # A block is tapped where the next one halves the size, and at the end.
        taps: list[int] = []
        channels: list[int] = []
        for index, (kernel, stride, expansion, base, repeats) in enumerate(_STAGES):
            out_channels = _round_channels(base * width_scale)
            scaled = index not in (0, len(_STAGES) - 1)
            for repeat in range(math.ceil(repeats * depth_scale) if scaled else repeats):
                block_stride = stride if repeat == 0 else 1
                if block_stride == 2:
                    taps.append(len(blocks) - 1)
                    channels.append(in_channels)
                blocks.append(InvertedResidual(in_channels, out_channels, kernel, block_stride, expansion))
                in_channels = out_channels
        self.blocks = nn.ModuleList(blocks)
        self.taps = frozenset((*taps, len(blocks) - 1))
        self.channels = (*channels, in_channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return maps (N, channels[i], S / 2**(i+1), S / 2**(i+1)) of x (N, 1, S, S)."""
        features = []
        x = self.stem(x)
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.taps:
                features.append(x)
        return features


class InvertedResidual(nn.Module):
    """MobileNetV2's block (Sandler et al. 2018): widen, convolve by channel, narrow, add."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.expand = (
            _conv_norm(in_channels, wide, kernel=1, activation=True) if expansion > 1 else nn.Identity()
        )
        self.depthwise = _conv_norm(wide, wide, kernel=kernel, stride=stride, groups=wide, activation=True)
        self.project = _conv_norm(wide, out_channels, kernel=1)
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class _DepthwiseConv(nn.Conv2d):
    """One filter per channel; trains in float32 where bfloat16 on a CPU would be the slower."""

    def forward(self, x: Tensor) -> Tensor:
        # oneDNN's backward pass in bfloat16 takes up to ten times as long for these shapes.
        slow = self.kernel_size[0] > 3 or self.stride[0] > 1
        if slow and self.training and x.is_cpu and x.dtype == torch.bfloat16:
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float()).to(x.dtype)
        return super().forward(x)


def _conv_norm(
    in_channels: int,
    out_channels: int,
    *,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    activation: bool = False,
) -> nn.Sequential:
    # The published weights expect TensorFlow's "same" padding, which at stride 2 is one pixel
    # larger to the right and below, and TensorFlow's epsilon.
    before, after = (kernel - stride) // 2, (kernel - stride + 1) // 2
    return nn.Sequential(
        nn.ZeroPad2d((before, after, before, after)) if before != after else nn.Identity(),
        (nn.Conv2d if groups == 1 else _DepthwiseConv)(
            in_channels,
            out_channels,
            kernel,
            stride,
            padding=before if before == after else 0,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(out_channels, eps=1e-3),
        nn.ReLU6(inplace=True) if activation else nn.Identity(),
    )


def _round_channels(channels: float) -> int:
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def load_lite(package: str, encoder: nn.Module) -> None:
    """Load the ImageNet weights in an installed package of one `.pth` file; the head is left out."""
    (path,) = Path(import_module(package).__file__).parent.rglob("*.pth")
    parts = {
        "_expand_conv": "expand.1",
        "_bn0": "expand.2",
        "_depthwise_conv": "depthwise.1",
        "_bn1": "depthwise.2",
        "_project_conv": "project.1",
        "_bn2": "project.2",
    }
    renamed = {}
    for key, tensor in torch.load(path, map_location="cpu", weights_only=True).items():
        if key == "_conv_stem.weight":
            renamed["stem.1.weight"] = tensor.sum(dim=1, keepdim=True)
        elif key.startswith("_bn0."):
            renamed[f"stem.2.{key.removeprefix('_bn0.')}"] = tensor
        elif key.startswith("_blocks."):
            _, index, part, leaf = key.split(".")
            renamed[f"blocks.{index}.{parts[part]}.{leaf}"] = tensor
    encoder.load_state_dict(renamed)
