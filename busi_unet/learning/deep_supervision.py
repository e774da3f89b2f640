"""Mask outputs of the decoder's coarser levels, for training alone; no model folder holds them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from busi_unet.model.unet import UNet, UNetOutput


class SupervisedOutput(NamedTuple):
    """What one forward pass in training gives.

    Attributes:
        output: the network's own.
        coarse: mask logits (N, 1, s, s) of the decoder's coarser levels, coarse to fine; empty without deep
            supervision.
    """

    output: UNetOutput
    coarse: tuple[Tensor, ...] = ()


class DeepSupervision(nn.Module):
    """A network with a mask output at each decoder level (Lee et al. 2015, arXiv:1409.5185).

    Args:
        network: shares its weights with this module, and is trained by it.
    """

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network
        self.heads = nn.ModuleList(
            nn.Conv2d(width, 1, kernel_size=1) for width in network.decoder.widths[:-1]
        )

    def forward(self, x: Tensor) -> SupervisedOutput:
        """x (N, 1, S, S), normalised."""
        features = self.network.encoder(x)
        levels = self.network.decoder(features)
        coarse = (head(level) for head, level in zip(self.heads, levels[:-1], strict=True))
        return SupervisedOutput(self.network.outputs(features, levels), tuple(coarse))


def network_of(module: nn.Module) -> UNet:
    """The network itself, with or without deep supervision around it."""
    return module.network if isinstance(module, DeepSupervision) else module


def supervised(result: tuple) -> SupervisedOutput:
    """What a network returned, with or without deep supervision around it.

    Args:
        result: as accelerate passes it on, which may turn named tuples into plain ones.
    """
    if isinstance(result[0], tuple):
        output, coarse = result
        return SupervisedOutput(UNetOutput(*output), tuple(coarse))
    return SupervisedOutput(UNetOutput(*result))
