"""A grey image to network input, and what comes out to a mask: as training and serving share it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from busi_unet.config import Preprocess, Thresholds
from busi_unet.imaging.regions import bounding_box, fill_holes, without_specks


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


def resize_map(
    values: np.ndarray, shape: tuple[int, int], box: tuple[slice, slice] | None = None
) -> np.ndarray:
    """Return float32 (h, w) resized to the shape (H, W), bilinear; of that, the part in a box where given."""
    image = Image.fromarray(values.astype(np.float32))
    rows, columns = box or (slice(0, shape[0]), slice(0, shape[1]))
    down, across = (before / after for before, after in zip(values.shape, shape, strict=True))
    place = (across * columns.start, down * rows.start, across * columns.stop, down * rows.stop)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR, place))


def mask_from_probability(
    probability: np.ndarray,
    lesion_probability: float,
    thresholds: Thresholds,
    shape: tuple[int, int] | None = None,
) -> np.ndarray:
    """Return the mask, bool (H, W), of a lesion probability map.

    It is empty where `lesion_probability` is below its threshold: a segmentation network alone draws
    something on most normal images. Connected regions (8-neighbourhood) smaller than `min_area` are
    dropped, and holes are filled.

    Args:
        probability: float (h, w) in [0, 1].
        lesion_probability: calibrated probability that the image shows any lesion.
        thresholds: from the model's `config.json`.
        shape: (H, W), to which the map is resized; its own by default.
    """
    shape = shape or probability.shape
    mask = np.zeros(shape, dtype=bool)
    found = probability >= thresholds.mask
    if lesion_probability < thresholds.lesion or not found.any():
        return mask
    # The map is resized where lesions are alone: an image may have 50 million pixels.
    box = tuple(
        _enlarged(side, *lengths)
        for side, *lengths in zip(bounding_box(found), found.shape, shape, strict=True)
    )
    filled = fill_holes(resize_map(probability, shape, box) >= thresholds.mask)
    mask[box] = without_specks(filled, thresholds.min_area * mask.size)
    return mask


def _enlarged(side: slice, coarse: int, fine: int) -> slice:
    """Return which of a side's `fine` pixels may depend on some of its `coarse` ones, and a rim around."""
    rim = 1 + math.ceil(max(1, coarse / fine))
    scale = fine / coarse
    start, stop = math.floor((side.start - rim) * scale), math.ceil((side.stop + rim) * scale)
    return slice(max(0, start), min(fine, stop))
