"""Named changes of an image that leave its lesion and its class what they are, to see how a model answers
them.

Shortcuts are things that a model could go by and should not: annotations, borders, the size and the shape of
the file. Text and calipers are drawn, and painted out, by `busi_unet.data.annotations`, as in training with
annotated or strong augmentation: to withstand these tells that it worked, not what other annotations would
do.

Scanners imitate another scanner: other beam geometry, other grey values, other grain. None of their operators
is one of `busi_unet.data.augment`, on purpose: to withstand what was trained on proves nothing about a
scanner that was not. They do not replace images from another hospital.

Images are uint8 (H, W), masks bool (H, W) throughout, at native resolution, and never changed in place;
what comes back may have another size.
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

_BORDER = 0.12
_NEARLY_BLACK, _LIT_SHARE, _MARGIN = 8, 0.02, 0.02
_CUT = 0.2
_TRIES = 30


@dataclass(frozen=True)
class Disturbance:
    """One change.

    Attributes:
        name: as `--only` takes it.
        kind: what it imitates.
        meaning: one line, what is done.
        change: image, mask and generator to the changed image and the mask that fits it.
        applies: whether this image and mask have something to change.
    """

    name: str
    kind: Literal["shortcut", "scanner"]
    meaning: str
    change: Callable[[np.ndarray, np.ndarray, np.random.Generator], Pair]
    applies: Callable[[np.ndarray, np.ndarray], bool] = lambda image, mask: True

    def __call__(self, image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair | None:
        """Return the changed pair, or None where there is nothing to change.

        Args:
            image: uint8 (H, W).
            mask: bool (H, W).
            generator: decides whatever the change leaves open; see `generator_for`.
        """
        return self.change(image, mask, generator) if self.applies(image, mask) else None


def generator_for(seed: int, name: str, image_id: str) -> np.random.Generator:
    """Return the generator of one disturbance of one image, whatever else is disturbed before it."""
    digest = sha256(f"{seed}\t{name}\t{image_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8]))


# --- Shortcuts -----------------------------------------------------------------------------------


def _text_in(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    return draw_text(image, generator), mask


def _has_lesion(image: np.ndarray, mask: np.ndarray) -> bool:
    return bool(mask.any())


def _calipers_on_lesion(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    return draw_calipers(image, mask, generator), mask


def _calipers_elsewhere(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    # A lesion can fill the image so far that every place touches it: then the best of those tried.
    drawn = (draw_calipers(image, None, generator) for _ in range(_TRIES))
    best, least = image, np.inf
    for candidate in drawn:
        touched = ((candidate != image) & mask).sum()
        if touched < least:
            best, least = candidate, touched
        if not touched:
            break
    return best, mask


def _has_marks(image: np.ndarray, mask: np.ndarray) -> bool:
    return has_annotations(image)


def _strokes_out(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    return paint_out(image), mask


def _borders_in(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    columns = ((0, 0), (round(_BORDER * image.shape[1]),) * 2)
    return np.pad(image, columns), np.pad(mask, columns)


def _lit(image: np.ndarray, mask: np.ndarray) -> tuple[slice, slice]:
    """What lies within the black margins; a lesion always does."""
    spans = []
    for axis in (1, 0):
        used = ((image > _NEARLY_BLACK).mean(axis) >= _LIT_SHARE) | mask.any(axis)
        places = np.flatnonzero(used)
        spans.append(slice(places[0], places[-1] + 1) if places.size else slice(None))
    return spans[0], spans[1]


def _has_margins(image: np.ndarray, mask: np.ndarray) -> bool:
    kept = image[_lit(image, mask)].shape
    return any(side <= (1 - _MARGIN) * whole for side, whole in zip(kept, image.shape, strict=True))


def _borders_out(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    lit = _lit(image, mask)
    return image[lit], mask[lit]


def _half_size(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    height, width = image.shape
    return _resized(image, mask, (round(height / 2), round(width / 2)))


def _square(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    side = round((image.shape[0] * image.shape[1]) ** 0.5)
    return _resized(image, mask, (side, side))


def _resized(image: np.ndarray, mask: np.ndarray, shape: tuple[int, int]) -> Pair:
    size = shape[::-1]
    # PIL's filters widen where they shrink, so that nothing aliases.
    grey = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
    share = Image.fromarray(mask.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(grey), np.asarray(share) >= 0.5


def _depth_kept(image: np.ndarray) -> int:
    return round((1 - _CUT) * image.shape[0])


def _nothing_deep(image: np.ndarray, mask: np.ndarray) -> bool:
    return not mask[_depth_kept(image) :].any()


def _upper_crop(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    kept = _depth_kept(image)
    return image[:kept], mask[:kept]


# --- Scanners ------------------------------------------------------------------------------------


def _scanner_convex(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
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


def _scanner_greys(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    """An S-shaped grey map and local contrast (CLAHE; Zuiderveld, Graphics Gems IV, 1994)."""
    import cv2

    middle, slope = generator.uniform(0.3, 0.45), generator.uniform(3.5, 5.5)
    curve = 1 / (1 + np.exp(-slope * (np.arange(256) / 255 - middle)))
    curve = np.round(255 * (curve - curve[0]) / (curve[-1] - curve[0])).astype(np.uint8)
    local = cv2.createCLAHE(clipLimit=generator.uniform(0.8, 1.4), tileGridSize=(4, 4)).apply(image)
    # What was not scanned stays black.
    return np.where(image == 0, np.uint8(0), curve[local]), mask


def _scanner_grain(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    """Beams that widen with depth, and fresh speckle that is coarser sideways than along the beam.

    The amplitude of speckle is Rayleigh-distributed (Wagner et al., IEEE Trans. Sonics Ultrason. 30:156-163,
    1983); log compression turns it into something added to the grey value, alike wherever there is signal.
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


def _scanner(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Pair:
    # In the order of a scanner: the beam, the grey map, the scan conversion.
    for change in (_scanner_grain, _scanner_greys, _scanner_convex):
        image, mask = change(image, mask, generator)
    return image, mask


DISTURBANCES: dict[str, Disturbance] = {
    each.name: each
    for each in (
        Disturbance("text_in", "shortcut", "a side and a place burnt in, anywhere", _text_in),
        Disturbance(
            "calipers_on_lesion",
            "shortcut",
            "the lesion is measured: dotted lines between crosses",
            _calipers_on_lesion,
            applies=_has_lesion,
        ),
        Disturbance(
            "calipers_elsewhere",
            "shortcut",
            "the same, beside the lesion or without one",
            _calipers_elsewhere,
        ),
        Disturbance(
            "strokes_out",
            "shortcut",
            "text, calipers and pictograms painted out, where there are some",
            _strokes_out,
            applies=_has_marks,
        ),
        Disturbance("borders_in", "shortcut", "black bars at the left and the right, 12 % each", _borders_in),
        Disturbance(
            "borders_out",
            "shortcut",
            "black margins cut away, where there are some",
            _borders_out,
            applies=_has_margins,
        ),
        Disturbance("half_size", "shortcut", "half the pixels a side", _half_size),
        Disturbance("square", "shortcut", "stretched to a square", _square),
        Disturbance(
            "upper_crop",
            "shortcut",
            "the deepest fifth cut away, where no lesion reaches into it",
            _upper_crop,
            applies=_nothing_deep,
        ),
        Disturbance(
            "scanner_convex",
            "scanner",
            "fanned out as by a convex probe, black outside",
            _scanner_convex,
        ),
        Disturbance("scanner_greys", "scanner", "S-shaped grey map and local contrast", _scanner_greys),
        Disturbance(
            "scanner_grain", "scanner", "beams that widen with depth, coarser fresh speckle", _scanner_grain
        ),
        Disturbance("scanner", "scanner", "grain, grey map and fan together", _scanner),
    )
}
"""By name, in the order in which they are shown."""
