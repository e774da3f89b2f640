"""A grey frame to network input and back: the one implementation that training and serving share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from busi_unet.config import Preprocess


@dataclass(frozen=True)
class Preprocessor:
    """Forward and inverse geometry and the grey-value normalisation that a config names.

    A frame is stretched to the square network input, whatever its aspect; the probability map
    is stretched back, so it lies over the frame pixel by pixel.

    Args:
        config: the `preprocess` block of `config.json`.
    """

    config: Preprocess

    def resize_frame(self, frame: np.ndarray) -> np.ndarray:
        """uint8 (H, W) to uint8 (S, S): bilinear, antialiased."""
        return np.asarray(Image.fromarray(frame).resize(self._square, Image.Resampling.BILINEAR))

    def resize_mask(self, mask: np.ndarray) -> np.ndarray:
        """bool (H, W) to bool (S, S): foreground where it covers half of the new pixel or more."""
        grey = Image.fromarray(mask.astype(np.uint8) * 255)
        return np.asarray(grey.resize(self._square, Image.Resampling.BOX)) >= 128

    def normalise(self, resized: np.ndarray) -> np.ndarray:
        """uint8 (..., S, S) to float32 of the same shape, centred and scaled for the network."""
        return (resized.astype(np.float32) / 255.0 - self.config.mean) / self.config.std

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """uint8 (H, W) to float32 (1, S, S), ready for the network."""
        return self.normalise(self.resize_frame(frame))[None]

    def restore(self, probability: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """float32 (S, S) in [0, 1] to float32 (H, W) for a frame of the given (H, W)."""
        return np.clip(resize_map(probability, shape), 0.0, 1.0)

    @property
    def _square(self) -> tuple[int, int]:
        return (self.config.size, self.config.size)


def resize_map(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """float32 (h, w) stretched to float32 of the given shape (H, W), bilinear."""
    height, width = shape
    stretched = Image.fromarray(values.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(stretched)
