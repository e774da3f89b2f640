"""A small network that redraws the lesions of an image after clicks, from its probability map.

Interactive segmentation by maps of clicks and of the mask so far (Xu et al. 2016, arXiv:1603.04042; Sofiiuk
et al. 2022, arXiv:2102.06583). It needs no features of the U-Net, so that one head serves every model;
research/clicks.py trains it.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

SIZE, STRIDE = 160, 4
WEIGHTS = Path(__file__).parents[1] / "weights" / "click_head.safetensors"
_WIDTHS = (24, 32, 48)


def _convolve(before: int, after: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


class ClickHead(nn.Module):
    """A U-Net of three levels at a quarter of the size, with sub-pixel convolutions at both ends."""

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = _WIDTHS
        self.fine = nn.Sequential(_convolve(3 * STRIDE**2 + 3, fine), _convolve(fine, fine))
        self.middle = nn.Sequential(_convolve(fine, middle, 2), _convolve(middle, middle))
        self.coarse = nn.Sequential(_convolve(middle, coarse, 2), _convolve(coarse, coarse))
        self.to_middle, self.to_fine = nn.Conv2d(coarse, middle, 1), nn.Conv2d(middle, fine, 1)
        self.up_middle, self.up_fine = _convolve(middle, middle), _convolve(fine, fine)
        self.out = nn.Conv2d(fine, STRIDE**2, 1)

    def forward(self, maps: Tensor, clicks: Tensor) -> Tensor:
        """Return lesion logits (N, 1, SIZE, SIZE).

        Args:
            maps: (N, 3, SIZE, SIZE) in [0, 1]: image, lesion probability, mask so far.
            clicks: (N, 3, SIZE / STRIDE, SIZE / STRIDE), see `click_maps`.
        """
        x = self.fine(torch.cat([F.pixel_unshuffle(maps - 0.5, STRIDE), clicks], 1))
        y = self.middle(x)
        y = self.up_middle(y + F.interpolate(self.to_middle(self.coarse(y)), scale_factor=2.0))
        x = self.up_fine(x + F.interpolate(self.to_fine(y), scale_factor=2.0))
        return F.pixel_shuffle(self.out(x), STRIDE)


def click_maps(
    points: list[tuple[float, float, bool]], box: tuple[float, float, float, float] | None
) -> np.ndarray:
    """Return float32 (3, SIZE / STRIDE, SIZE / STRIDE): closeness to clicks on lesion and on other, the box.

    Args:
        points: (row, column, whether it is lesion), pixels of the square of side SIZE.
        box: (top, left, bottom, right) around a lesion, in the same pixels, or None.
    """
    side = SIZE // STRIDE
    maps = np.zeros((3, side, side), dtype=np.float32)
    centres = (np.arange(side) + 0.5) * STRIDE
    for row, column, lesion in points:
        distance = np.hypot(centres[:, None] - row, centres - column)
        closeness = maps[0 if lesion else 1]
        np.maximum(closeness, np.exp(-distance / 20), out=closeness)
    if box is not None:
        top, left, bottom, right = box
        maps[2] = ((top <= centres) & (centres <= bottom))[:, None] & ((left <= centres) & (centres <= right))
    return maps


@functools.cache
def load_head(path: Path = WEIGHTS) -> ClickHead:
    """Return the trained head, ready to run."""
    head = ClickHead()
    head.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()}, strict=False)
    return head.eval()


def run_head(maps: np.ndarray, clicks: np.ndarray, head: ClickHead | None = None) -> np.ndarray:
    """Return the lesion probability, float32 (SIZE, SIZE); arguments as of `ClickHead.forward`, without N."""
    with torch.inference_mode():
        logits = (head or load_head())(torch.from_numpy(maps)[None], torch.from_numpy(clicks)[None])
    return logits.sigmoid()[0, 0].numpy()
