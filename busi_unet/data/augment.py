"""Random changes to a training image that leave its lesion and its class what they are.

Burnt-in annotations teach a network to look past them; drawn and painted out on purpose, they tell how far it
does (`busi_unet.evaluation.robustness`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from busi_unet.imaging.regions import bounding_box, label_regions
from busi_unet.inference.preprocess import Preprocessor

# A lesion of which less than this stays inside is a label that lies.
_MIN_INSIDE = 0.5
_SIDES = ("RT", "LT", "RIGHT", "LEFT")
_PLACES = ("BREAST", "AXILLA", "UOQ", "LOQ", "UIQ", "LIQ", "SA", *(f"{hour}" for hour in range(1, 13)))

# Burnt-in strokes are close to white, narrow, and far brighter than what lies beside them.
_STROKE_GREY, _STROKE_CONTRAST = 170, 70
_STROKE_WIDTH_PX = 5
_STROKE_HALO_PX = 2
# Screens draw an edge within one pixel; through the beam of a probe none is that steep.
_STEEP_STEP, _STEEP_SHARE = 120, 0.15


@dataclass(frozen=True)
class Augmentation:
    """Geometry and appearance as they differ between scanners, operators and settings.

    Every range is symmetric about "no change"; 0 switches a change off. Factors lie between 1 / (1 + share)
    and 1 + share.
    """

    flip: float = 0.5  # probability of a left-right flip; never upside down: depth has a direction
    rotation: float = 12.0  # largest turn, degrees
    zoom: float = 0.4  # largest change of scale, as a share
    shift: float = 0.1  # largest shift, as a share of the network input's side
    crop: float = 0.35  # probability of a random crop around the lesion
    gain: float = 0.1  # largest change of overall brightness, as a share of full scale
    contrast: float = 0.4  # largest change, as a share
    gamma: float = 0.65  # largest change of the exponent, as a share
    time_gain: float = 0.12  # largest change of brightness along depth, smooth, as a share of full scale
    speckle: float = 0.15  # largest standard deviation of multiplicative noise
    blur: float = 0.25  # probability of a Gaussian blur, and of a loss of resolution, each
    text: float = 0.1  # probability of burnt-in text, on any image alike
    calipers: float = 0.1  # probability of calipers, at the lesion or, as often, at a place without a meaning

    def __call__(
        self, image: np.ndarray, mask: np.ndarray, preprocessor: Preprocessor, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a changed uint8 (H, W) and bool (H, W) at the network's size: uint8 and bool (S, S)."""
        if mask.any() and generator.random() < self.crop:
            image, mask = _crop_around(image, mask, generator)
        image, mask = self._geometry(image, mask, preprocessor, generator)
        image = self._appearance(image, generator)
        if generator.random() < self.calipers:
            image = draw_calipers(image, mask if generator.random() < 0.5 else None, generator)
        if generator.random() < self.text:
            image = draw_text(image, generator)
        return image, mask

    def _geometry(
        self, image: np.ndarray, mask: np.ndarray, preprocessor: Preprocessor, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        size = preprocessor.config.size
        box = preprocessor.box(image.shape)
        fit = np.array([box.width / image.shape[1], box.height / image.shape[0]])
        angle = np.deg2rad(generator.uniform(-self.rotation, self.rotation))
        zoom = _around_one(generator, self.zoom)
        flip = -1.0 if generator.random() < self.flip else 1.0
        shift = generator.uniform(-self.shift, self.shift, size=2) * size
        cos, sin = np.cos(angle), np.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]]) @ np.diag([flip * zoom, zoom])
        moved, moved_mask = _warp(image, mask, turn @ np.diag(fit), shift, size)
        if moved_mask.sum() < _MIN_INSIDE * zoom**2 * fit.prod() * mask.sum():
            return _warp(image, mask, np.diag([flip, 1.0]) @ np.diag(fit), np.zeros(2), size)
        return moved, moved_mask

    def _appearance(self, image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        shown = image > 0
        grey = (image.astype(np.float32) / 255.0) ** _around_one(generator, self.gamma)
        mean = float(grey[shown].mean()) if shown.any() else 0.0
        contrast = _around_one(generator, self.contrast)
        grey = (grey - mean) * contrast + mean + generator.uniform(-self.gain, self.gain)
        knots = generator.uniform(-self.time_gain, self.time_gain, size=4)
        depth = np.linspace(0, 3, image.shape[0])
        grey += np.interp(depth, np.arange(4), knots).astype(np.float32)[:, None]
        noise = generator.standard_normal(image.shape, dtype=np.float32)
        noise = cv2.GaussianBlur(noise, (0, 0), generator.uniform(0.4, 1.4))
        grey *= 1 + noise / noise.std() * generator.uniform(0, self.speckle)
        kind = generator.random()
        if kind < self.blur:
            grey = cv2.GaussianBlur(grey, (0, 0), generator.uniform(0.3, 1.2))
        elif kind < 2 * self.blur:
            grey = _coarser(grey, generator.uniform(1.2, 2.2))
        # What lies outside the scanned sector is black whatever the gain.
        grey[~shown] = 0
        return np.round(np.clip(grey, 0, 1) * 255).astype(np.uint8)


AUGMENTATIONS: dict[str, Augmentation | None] = {"none": None, "full": Augmentation()}
"""By name, as `--augment` takes them."""


def normal_tissue(
    image: np.ndarray, mask: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """Make a normal image, uint8 (h, w), with its empty mask of a lesion image, uint8 (H, W), and its mask.

    Sources without normal images get theirs this way, so that the scanner does not tell the class. Half of
    them are parts of the image beside the lesion, in the others the lesion is painted over. None without room
    beside the lesion.
    """
    make = _part_beside if generator.random() < 0.5 else _painted_over
    normal = make(image, mask, generator)
    return None if normal is None else (normal, np.zeros(normal.shape, dtype=bool))


def _part_beside(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> np.ndarray | None:
    """Crop beside the lesion; the aspect ratio is like those of `Augmentation.crop`, and tells nothing."""
    height, width = mask.shape
    _, columns = bounding_box(mask)
    gap = max(2, round(0.03 * width))
    sides = [(0, columns.start - gap), (columns.stop + gap, width)]
    wide = [(left, right) for left, right in sides if right - left >= 0.28 * width]
    if not wide:
        return None
    left, right = wide[generator.integers(len(wide))]
    rows = round((right - left) / generator.uniform(0.6, 1.5))
    rows = int(np.clip(rows, 0.35 * height, height))
    top = int(generator.integers(height - rows + 1))
    return image[top : top + rows, left:right]


def _painted_over(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> np.ndarray | None:
    """Cover the lesion with the texture of the same depth beside it."""
    height, width = mask.shape
    margin = 6
    rows, columns = bounding_box(mask)
    top, bottom = max(0, rows.start - margin), min(height, rows.stop + margin)
    left, right = max(0, columns.start - margin), min(width, columns.stop + margin)
    wide = right - left
    starts = [start for start in (left - wide, right) if 0 <= start <= width - wide]
    if not starts:
        return None
    start = starts[generator.integers(len(starts))]
    texture = image[top:bottom, start : start + wide].astype(np.float32)
    if generator.random() < 0.5:
        texture = texture[:, ::-1]
    covered = cv2.dilate(mask.astype(np.float32), np.ones((7, 7), np.uint8))[top:bottom, left:right]
    share = cv2.GaussianBlur(covered, (0, 0), 3)
    painted = image.copy()
    under = painted[top:bottom, left:right]
    under[:] = np.round(share * texture + (1 - share) * under)
    return painted


def _crop_around(
    image: np.ndarray, mask: np.ndarray, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cut off a random part on each side of the lesions, none of which is touched."""
    part = tuple(
        slice(int(generator.integers(found.start + 1)), int(generator.integers(found.stop, side + 1)))
        for found, side in zip(bounding_box(mask), mask.shape, strict=True)
    )
    return image[part], mask[part]


def _warp(
    image: np.ndarray, mask: np.ndarray, linear: np.ndarray, shift: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Map (H, W) to (S, S), centre to centre plus a shift (x, y); `linear` is (2, 2), x first."""
    centre = (np.array(image.shape[::-1]) - 1) / 2
    offset = (size - 1) / 2 + shift - linear @ centre
    matrix = np.column_stack([linear, offset])
    scale = np.sqrt(abs(np.linalg.det(linear)))
    if scale < 0.8:
        # Without this a much larger image would come out aliased.
        image = cv2.GaussianBlur(image, (0, 0), 0.45 / scale)
    moved = cv2.warpAffine(np.ascontiguousarray(image), matrix, (size, size), flags=cv2.INTER_LINEAR)
    moved_mask = cv2.warpAffine(mask.astype(np.float32), matrix, (size, size), flags=cv2.INTER_LINEAR)
    return moved, moved_mask >= 0.5


def _coarser(grey: np.ndarray, factor: float) -> np.ndarray:
    """Lose resolution by a factor above 1, at the same size."""
    small = max(1, int(grey.shape[0] / factor))
    coarse = cv2.resize(grey, (small, small), interpolation=cv2.INTER_AREA)
    return cv2.resize(coarse, grey.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _around_one(generator: np.random.Generator, share: float) -> float:
    return float((1 + share) ** generator.uniform(-1, 1))


# --- Annotations ---------------------------------------------------------------------------------


def draw_text(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw a side and a place in capitals, near white, somewhere in the image; it may touch the edge."""
    height, width = image.shape
    words = f"{generator.choice(_SIDES)} {generator.choice(_PLACES)}"
    size = height * generator.uniform(0.03, 0.055)
    at = (width * generator.uniform(-0.05, 0.8), height * generator.uniform(0.02, 0.92))
    canvas = Image.fromarray(image)
    ImageDraw.Draw(canvas).text(
        at, words, fill=_near_white(generator), font=_font(size), stroke_width=round(size / 30)
    )
    return np.asarray(canvas)


def draw_calipers(image: np.ndarray, mask: np.ndarray | None, generator: np.random.Generator) -> np.ndarray:
    """Draw one or two dotted lines between crosses, numbered, as lesions are measured.

    The mask, bool (H, W), is what is measured; None, or an empty one, for some place without a meaning.
    """
    height, width = image.shape
    turn = generator.uniform(-0.35, 0.35)
    if mask is not None and mask.any():
        rows, columns = np.nonzero(mask)
        center = np.array([columns.mean(), rows.mean()])
        half = np.array([np.ptp(columns), np.ptp(rows)]) / 2 * generator.uniform(0.9, 1.15, size=2)
    else:
        center = generator.uniform(0.15, 0.85, size=2) * (width, height)
        half = generator.uniform(0.04, 0.2) * width * np.array([1.0, generator.uniform(0.5, 1.1)])
    axes = half[:, None] * np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    grey, arm, stroke = _near_white(generator), max(2.0, height * 0.013), max(1, round(height / 250))
    canvas = Image.fromarray(image)
    pen = ImageDraw.Draw(canvas)
    for number, axis in enumerate(axes[: generator.integers(1, 3)], start=1):
        ends = (center - axis, center + axis)
        for x, y in ends:
            pen.line((x - arm, y, x + arm, y), fill=grey, width=stroke)
            pen.line((x, y - arm, x, y + arm), fill=grey, width=stroke)
        dots = max(2, int(2 * np.linalg.norm(axis) / (2.5 * stroke)))
        for x, y in np.linspace(*ends, dots).round():
            pen.rectangle((x, y, x + stroke - 1, y + stroke - 1), fill=grey)
        pen.text(tuple(ends[1] + arm / 2), str(number), fill=grey, font=_font(height * 0.035))
    return np.asarray(canvas)


def find_strokes(image: np.ndarray) -> np.ndarray:
    """Return bool (H, W), True on what is near white, narrow and steep-edged: text, calipers, pictograms.

    Bright tissue is narrow and near white too, but blurred by the beam of the probe.
    """
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * _STROKE_WIDTH_PX + 1,) * 2)
    contrast = cv2.morphologyEx(image, cv2.MORPH_TOPHAT, kernel)
    core = ((image >= _STROKE_GREY) & (contrast >= _STROKE_CONTRAST)).astype(np.uint8)
    halo = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _STROKE_HALO_PX + 1,) * 2)
    strokes = cv2.dilate(core, halo).astype(bool)
    step = cv2.morphologyEx(image, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    pieces, number = label_regions(strokes)
    area = np.bincount(pieces.ravel(), minlength=number + 1)
    steep = np.bincount(pieces[strokes & (step >= _STEEP_STEP)], minlength=number + 1)
    sharp = steep >= _STEEP_SHARE * area
    sharp[0] = False
    return sharp[pieces]


def paint_out(image: np.ndarray) -> np.ndarray:
    """Return the image with its strokes filled in from beside them (Telea 2004)."""
    return cv2.inpaint(image, find_strokes(image).astype(np.uint8), 3, cv2.INPAINT_TELEA)


def _near_white(generator: np.random.Generator) -> int:
    return int(generator.integers(215, 256))


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(max(6.0, size))
