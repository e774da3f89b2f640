"""Named changes of an image that leave its lesion and its class what they are.

Shortcuts are things that a model could go by and should not: annotations, borders, the size and the shape of
the file. Text and calipers are drawn, and painted out, by `busi_unet.data.annotations`, as in training with
annotated or strong augmentation: to withstand these tells that it worked, not what other annotations would
do.

Scanners imitate another scanner: other beam geometry, other grey values, other grain. None of their operators
is one of `busi_unet.data.augment`, on purpose: to withstand what was trained on proves nothing about a
scanner that was not. They do not replace images from another hospital.

A change takes an image, uint8 (H, W), its mask, bool (H, W), and a generator for whatever it leaves open. It
returns both changed, perhaps in another size, or None where there is nothing to change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

import numpy as np
from PIL import Image
from scipy import ndimage

from busi_unet.data.annotations import draw_calipers, draw_text, paint_out
from busi_unet.imaging.quality import has_annotations

Pair = tuple[np.ndarray, np.ndarray]
Change = Callable[[np.ndarray, np.ndarray, np.random.Generator], Pair | None]

_BORDER = 0.12
_NEARLY_BLACK, _LIT_SHARE, _MARGIN = 8, 0.02, 0.02
_CUT = 0.2
_TRIES = 30


@dataclass(frozen=True)
class Disturbance:
    """One change: its name, what it imitates, what is done in one line, and what does it."""

    name: str
    kind: Literal["shortcut", "scanner"]
    meaning: str
    change: Change


DISTURBANCES: dict[str, Disturbance] = {}
"""By name, in the order in which they are shown."""


def _disturbance(kind: Literal["shortcut", "scanner"], meaning: str) -> Callable[[Change], Change]:
    def register(change: Change) -> Change:
        DISTURBANCES[change.__name__] = Disturbance(change.__name__, kind, meaning, change)
        return change

    return register


def generator_for(seed: int, name: str, image_id: str) -> np.random.Generator:
    """Return the generator of one disturbance of one image, whatever else is disturbed before it."""
    digest = sha256(f"{seed}\t{name}\t{image_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8]))


@_disturbance("shortcut", "a side and a place burnt in, anywhere")
def text_in(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    return draw_text(image, generator), mask


@_disturbance("shortcut", "the lesion is measured: dotted lines between crosses")
def calipers_on_lesion(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair | None:
    return (draw_calipers(image, mask, generator), mask) if mask.any() else None


@_disturbance("shortcut", "the same, beside the lesion or without one")
def calipers_elsewhere(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    # A lesion can fill the image so far that every place touches it: then the best of those tried.
    best, least = image, np.inf
    for _ in range(_TRIES):
        candidate = draw_calipers(image, None, generator)
        touched = ((candidate != image) & mask).sum()
        if touched < least:
            best, least = candidate, touched
        if not touched:
            break
    return best, mask


@_disturbance("shortcut", "text, calipers and pictograms painted out, where there are some")
def strokes_out(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair | None:
    return (paint_out(image), mask) if has_annotations(image) else None


@_disturbance("shortcut", "black bars at the left and the right, 12 % each")
def borders_in(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    columns = ((0, 0), (round(_BORDER * image.shape[1]),) * 2)
    return np.pad(image, columns), np.pad(mask, columns)


@_disturbance("shortcut", "black margins cut away, where there are some")
def borders_out(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair | None:
    lit = []
    for axis in (1, 0):
        # A lesion never lies in the margin.
        used = ((image > _NEARLY_BLACK).mean(axis) >= _LIT_SHARE) | mask.any(axis)
        places = np.flatnonzero(used)
        lit.append(slice(places[0], places[-1] + 1) if places.size else slice(None))
    kept = image[tuple(lit)]
    narrower = any(side <= (1 - _MARGIN) * whole for side, whole in zip(kept.shape, image.shape, strict=True))
    return (kept, mask[tuple(lit)]) if narrower else None


@_disturbance("shortcut", "half the pixels a side")
def half_size(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    height, width = image.shape
    return _resized(image, mask, (round(height / 2), round(width / 2)))


@_disturbance("shortcut", "stretched to a square")
def square(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    side = round((image.shape[0] * image.shape[1]) ** 0.5)
    return _resized(image, mask, (side, side))


def _resized(image: np.ndarray, mask: np.ndarray, shape: tuple[int, int]) -> Pair:
    size = shape[::-1]
    # PIL's filters widen where they shrink, so that nothing aliases.
    grey = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
    share = Image.fromarray(mask.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(grey), np.asarray(share) >= 0.5


@_disturbance("shortcut", "the deepest fifth cut away, where no lesion reaches into it")
def upper_crop(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair | None:
    kept = round((1 - _CUT) * image.shape[0])
    return None if mask[kept:].any() else (image[:kept], mask[:kept])


@_disturbance("scanner", "fanned out as by a convex probe, black outside")
def scanner_convex(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    """Columns become beams that fan out from a curved face, rows become arcs; nothing is lost."""
    height, width = image.shape
    half_angle = generator.uniform(0.3, 0.5)
    # At half depth a beam is as far from the next as before; a tall image gets a face of some size still.
    face = max(width / (2 * half_angle) - height / 2, 0.3 * height)
    reach, top = face + height - 1, face * np.cos(half_angle)
    sideways = int(np.ceil(reach * np.sin(half_angle)))
    y, x = np.mgrid[top : reach + 1, -sideways : sideways + 1]
    depth = np.hypot(x, y) - face
    beam = (np.arctan2(x, y) / half_angle + 1) / 2 * (width - 1)
    fan = [
        ndimage.map_coordinates(plane.astype(np.float32), [depth, beam], order=1) for plane in (image, mask)
    ]
    return np.round(fan[0]).astype(np.uint8), fan[1] >= 0.5


@_disturbance("scanner", "S-shaped grey map and local contrast")
def scanner_greys(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    """The local contrast is CLAHE (Zuiderveld, Graphics Gems IV, 1994)."""
    import cv2

    middle, slope = generator.uniform(0.3, 0.45), generator.uniform(3.5, 5.5)
    curve = 1 / (1 + np.exp(-slope * (np.arange(256) / 255 - middle)))
    curve = np.round(255 * (curve - curve[0]) / (curve[-1] - curve[0])).astype(np.uint8)
    local = cv2.createCLAHE(clipLimit=generator.uniform(0.8, 1.4), tileGridSize=(4, 4)).apply(image)
    # What was not scanned stays black.
    return np.where(image == 0, np.uint8(0), curve[local]), mask


@_disturbance("scanner", "beams that widen with depth, coarser fresh speckle")
def scanner_grain(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    """The speckle is coarser sideways than along the beam.

    Its amplitude is Rayleigh-distributed (Wagner et al., IEEE Trans. Sonics Ultrason. 30:156-163, 1983); log
    compression turns it into something added to the grey value, alike wherever there is signal.
    """
    height, width = image.shape
    widest = generator.uniform(0.004, 0.008) * width
    grey = image.astype(np.float32)
    # Between images of three beam widths, for a blur that grows row by row.
    widths = widest * np.linspace(0.2, 1, 3)
    blurred = np.stack([ndimage.gaussian_filter1d(grey, sigma, axis=1) for sigma in widths])
    level = np.linspace(0, 2, height)[:, None]
    weights = np.clip(1 - np.abs(level[None] - np.arange(3)[:, None, None]), 0, 1)
    grey = (weights * blurred).sum(0)
    axial = generator.uniform(0.7, 1.1)
    grain = (axial, axial * generator.uniform(2.0, 3.0))
    parts = (ndimage.gaussian_filter(generator.standard_normal(image.shape), grain) for _ in range(2))
    speckle = np.log(np.hypot(*parts) + 1e-12)
    speckle = (speckle - speckle.mean()) / speckle.std()
    # Less in shadows, which lie at the floor of the dynamic range.
    grey += generator.uniform(9.0, 15.0) * np.maximum(speckle, -3) * grey / (grey + 25)
    grey[image == 0] = 0
    return np.round(np.clip(grey, 0, 255)).astype(np.uint8), mask


@_disturbance("scanner", "grain, grey map and fan together")
def scanner(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    # In the order of a scanner: the beam, the grey map, the scan conversion.
    for change in (scanner_grain, scanner_greys, scanner_convex):
        image, mask = change(image, mask, generator)
    return image, mask
