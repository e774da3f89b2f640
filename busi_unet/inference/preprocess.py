"""A grey image to network input, and what comes out to a mask: as training and serving share it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from busi_unet.config import Preprocess, Thresholds
from busi_unet.imaging.regions import bounding_box, fill_holes, label_regions


class Box(NamedTuple):
    """Where an image lies in the square network input, pixels."""

    top: int
    left: int
    height: int
    width: int

    def crop(self, square: np.ndarray) -> np.ndarray:
        """Return the part of (..., S, S) that shows the image."""
        return square[..., self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True)
class Preprocessor:
    """Forward and inverse geometry, and the normalisation of grey values.

    An image is scaled so that its longer side fills the square network input, and centred on black
    (letterbox): its aspect ratio, a sign of malignancy, is kept.
    """

    config: Preprocess

    def box(self, shape: tuple[int, int]) -> Box:
        """Return where an image of shape (H, W) lies in the network input."""
        size = self.config.size
        scale = size / max(shape)
        height, width = (max(1, round(scale * side)) for side in shape)
        return Box((size - height) // 2, (size - width) // 2, height, width)

    def resize_image(self, image: np.ndarray) -> np.ndarray:
        """Fit uint8 (H, W) into uint8 (S, S): bilinear, antialiased."""
        return self._fit(image, Image.Resampling.BILINEAR)

    def resize_mask(self, mask: np.ndarray) -> np.ndarray:
        """Fit bool (H, W) into bool (S, S): foreground where it covers half of the new pixel or more."""
        return self._fit(mask.astype(np.uint8) * 255, Image.Resampling.BOX) >= 128

    def normalise(self, resized: np.ndarray) -> np.ndarray:
        """Centre and scale uint8 (..., S, S) for the network; float32 of the same shape."""
        return (resized.astype(np.float32) / 255.0 - self.config.mean) / self.config.std

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Turn uint8 (H, W) into float32 (1, S, S), ready for the network."""
        return self.normalise(self.resize_image(image))[None]

    def restore(self, probability: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Return float32 (S, S) in [0, 1] as float32 (H, W), for an image of that shape."""
        return np.clip(resize_map(self.box(shape).crop(probability), shape), 0.0, 1.0)

    def crop_map(self, coarse: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Return the part of a coarse map (s, s) that shows an image of that shape, at the network's size."""
        size = self.config.size
        return self.box(shape).crop(resize_map(coarse, (size, size)))

    def _fit(self, image: np.ndarray, resampling: Image.Resampling) -> np.ndarray:
        box = self.box(image.shape)
        square = np.zeros((self.config.size, self.config.size), dtype=np.uint8)
        box.crop(square)[:] = Image.fromarray(image).resize((box.width, box.height), resampling)
        return square


def resize_map(values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return float32 (h, w) resized to the shape (H, W), bilinear."""
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize(shape[::-1], Image.Resampling.BILINEAR))


def mask_from_probability(
    probability: np.ndarray, lesion_probability: float, thresholds: Thresholds
) -> np.ndarray:
    """Return the mask, bool (H, W), of a lesion probability map.

    It is empty where `lesion_probability` is below its threshold: a segmentation network alone draws
    something on most normal images. Connected regions (8-neighbourhood) smaller than `min_area` are
    dropped, and holes are filled.

    Args:
        probability: float (H, W) in [0, 1], at the size of the image.
        lesion_probability: calibrated probability that the image shows any lesion.
        thresholds: from the model's `config.json`.
    """
    mask = np.zeros(probability.shape, dtype=bool)
    if lesion_probability < thresholds.lesion:
        return mask
    found = probability >= thresholds.mask
    # Beyond it there is nothing to fill or to drop, and an image may have 50 million pixels.
    box = bounding_box(found)
    regions, count = label_regions(fill_holes(found[box]))
    areas = np.bincount(regions.ravel(), minlength=count + 1)
    kept = areas >= max(1.0, thresholds.min_area * mask.size)
    kept[0] = False
    mask[box] = kept[regions]
    return mask
