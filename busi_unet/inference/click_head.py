"""A small network that redraws the lesions of an image after clicks, from its probability map.

Interactive segmentation by maps of clicks and of the mask so far (Xu et al. 2016, arXiv:1603.04042; Sofiiuk
et al. 2022, arXiv:2102.06583). It needs no features of the U-Net, so that one head serves every model;
research/clicks.py trains it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

SIZE, STRIDE = 160, 4
HEAD = Path(__file__).parents[1] / "weights" / "click_head.onnx"

# The lesion probability, float32 (SIZE, SIZE), of float32 (3, SIZE, SIZE) in [0, 1], that is image, lesion
# probability and mask so far, and of what `click_maps` gives.
Head = Callable[[np.ndarray, np.ndarray], np.ndarray]


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
def load_head(path: Path = HEAD) -> Head:
    """Return the trained head, ready to run."""
    # Only who corrects needs it.
    from busi_unet.inference.onnx_runtime import open_session

    session = open_session(path)

    def run(maps: np.ndarray, clicks: np.ndarray) -> np.ndarray:
        return session.run(["probability"], {"maps": maps[None], "clicks": clicks[None]})[0][0, 0]

    return run
