"""Random changes to a training picture that leave its lesion and its class what they are."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from busi_unet.data.overlays import draw_calipers, draw_text, outside_sector


@dataclass(frozen=True)
class Augmentation:
    """Geometry and appearance as they differ between scanners, operators and settings.

    Every range is symmetric about "no change"; 0, the default, switches a change off.

    Args:
        flip: probability of a left-right flip. Never upside down: depth has a direction.
        rotation: largest turn, degrees.
        zoom: largest change of scale, as a share (0.25: from 1/1.25 to 1.25).
        aspect: largest change of width against height, as a share.
        shift: largest shift, as a share of the side.
        gain: largest change of overall brightness, as a share of full scale.
        contrast: largest change of contrast, as a share.
        gamma: largest change of the exponent, as a share.
        time_gain: largest brightness change of a smooth curve over depth, as a share of full scale
            (the scanner's time-gain compensation).
        speckle: largest standard deviation of multiplicative noise, grain of one to three pixels.
        blur: largest Gaussian blur, pixels of the network input.
        sector: probability of a black outside of a sector; not where it would hide a part of the lesion.
        text: probability of burnt-in text, on any picture alike.
        calipers: probability of burnt-in calipers, at the lesion or, as often, at a place without a meaning.
        paint_out: probability that what is burnt in already is painted out first (`LesionDataset`).
    """

    flip: float = 0.0
    rotation: float = 0.0
    zoom: float = 0.0
    aspect: float = 0.0
    shift: float = 0.0
    gain: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    time_gain: float = 0.0
    speckle: float = 0.0
    blur: float = 0.0
    sector: float = 0.0
    text: float = 0.0
    calipers: float = 0.0
    paint_out: float = 0.0

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """uint8 (S, S) and bool (S, S) to a new pair of the same kinds; the inputs stay as they are."""
        image, mask = self._geometry(image, mask, generator)
        return self._burn_in(self._appearance(image, generator), mask, generator), mask

    def _geometry(
        self, image: np.ndarray, mask: np.ndarray, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        angle = np.deg2rad(generator.uniform(-self.rotation, self.rotation))
        zoom = _around_one(generator, self.zoom)
        stretch = _around_one(generator, self.aspect) ** 0.5
        shift = generator.uniform(-self.shift, self.shift, size=2) * image.shape
        flip = -1.0 if generator.random() < self.flip else 1.0
        cos, sin = np.cos(angle), np.sin(angle)
        # Output to input coordinates, about the centre; rows first.
        matrix = np.array([[cos, -sin], [sin, cos]]) @ np.diag([stretch / zoom, flip / (stretch * zoom)])
        center = (np.array(image.shape) - 1) / 2
        offset = center - matrix @ (center + shift)
        moved_mask = ndimage.affine_transform(mask.astype(np.float32), matrix, offset, order=1) >= 0.5
        if mask.any() and not moved_mask.any():
            # The lesion would have left the picture, and the label would be a lie.
            return image, mask
        return ndimage.affine_transform(image, matrix, offset, order=1), moved_mask

    def _appearance(self, image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        background = image == 0
        grey = image.astype(np.float32) / 255.0
        grey **= _around_one(generator, self.gamma)
        contrast = _around_one(generator, self.contrast)
        grey = (grey - grey.mean()) * contrast + grey.mean() + generator.uniform(-self.gain, self.gain)
        knots = generator.uniform(-self.time_gain, self.time_gain, size=4)
        depth = np.linspace(0, 3, image.shape[0])
        grey += np.interp(depth, np.arange(4), knots).astype(np.float32)[:, None]
        grain = generator.uniform(0.4, 1.2)
        noise = ndimage.gaussian_filter(generator.standard_normal(image.shape, dtype=np.float32), grain)
        grey *= 1 + noise / noise.std() * generator.uniform(0, self.speckle)
        blur = generator.uniform(-self.blur, self.blur)
        if blur > 0:
            grey = ndimage.gaussian_filter(grey, blur)
        # What lies outside the scanned sector is black whatever the gain.
        grey[background] = 0
        return np.round(np.clip(grey, 0, 1) * 255).astype(np.uint8)

    def _burn_in(self, image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        if happens(self.sector, generator):
            outside = outside_sector(image.shape, generator)
            if not (outside & mask).any():
                image = np.where(outside, np.uint8(0), image)
        if happens(self.calipers, generator):
            image = draw_calipers(image, mask if generator.random() < 0.5 else None, generator)
        if happens(self.text, generator):
            image = draw_text(image, generator)
        return image


def happens(probability: float, generator: np.random.Generator) -> bool:
    """Draws only where there is something to decide: what is off leaves all other changes as they were."""
    return probability > 0 and generator.random() < probability


# Grey values as one scanner varies them by itself; geometry as operators and settings differ.
_MILD = Augmentation(
    flip=0.5,
    rotation=15.0,
    zoom=0.25,
    aspect=0.12,
    shift=0.1,
    gain=0.08,
    contrast=0.12,
    gamma=0.2,
    time_gain=0.08,
    speckle=0.05,
    blur=0.5,
)
# Pictures of all classes alike, so that what is burnt in tells nothing of the class.
_ANNOTATED = replace(_MILD, text=0.25, calipers=0.2, paint_out=0.5)
# As far as other scanners and settings differ, too.
_STRONG = replace(
    _ANNOTATED,
    aspect=0.15,
    gain=0.1,
    contrast=0.18,
    gamma=0.3,
    time_gain=0.12,
    speckle=0.1,
    blur=0.8,
    sector=0.1,
)
AUGMENTATIONS: dict[str, Augmentation | None] = {
    "none": None,
    "mild": _MILD,
    "annotated": _ANNOTATED,
    "strong": _STRONG,
}
"""By name, as `--augment` takes them."""


def _around_one(generator: np.random.Generator, share: float) -> float:
    return float((1 + share) ** generator.uniform(-1, 1))
