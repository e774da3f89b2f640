"""Annotations burnt into images, text and calipers: drawn, found and painted out.

Drawn at random, they teach a network to look past them; drawn and painted out on purpose, they tell how far
it does (`busi_unet.evaluation.robustness`). Images are uint8 (H, W) throughout, and never changed in place.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

_SIDES = ("RT", "LT", "RIGHT", "LEFT")
_PLACES = ("BREAST", "AXILLA", "UOQ", "LOQ", "UIQ", "LIQ", "SA", *(f"{hour}" for hour in range(1, 13)))

# Burnt-in strokes are close to white, narrow, and far brighter than what lies beside them.
_STROKE_GREY, _STROKE_CONTRAST = 170, 70
_STROKE_WIDTH_PX = 5
_STROKE_HALO_PX = 2
# Screens draw an edge within one pixel; through the beam of a probe none is that steep.
_STEEP_STEP, _STEEP_SHARE = 120, 0.15


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

    Args:
        image: to draw on.
        mask: bool (H, W), what is measured; None, or an empty one, for some place without a meaning.
        generator: decides whatever is left open.
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
    import cv2

    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * _STROKE_WIDTH_PX + 1,) * 2)
    contrast = cv2.morphologyEx(image, cv2.MORPH_TOPHAT, kernel)
    core = ((image >= _STROKE_GREY) & (contrast >= _STROKE_CONTRAST)).astype(np.uint8)
    halo = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _STROKE_HALO_PX + 1,) * 2)
    strokes = cv2.dilate(core, halo).astype(bool)
    step = cv2.morphologyEx(image, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    pieces, number = ndimage.label(strokes, structure=np.ones((3, 3)))
    area = np.bincount(pieces.ravel(), minlength=number + 1)
    steep = np.bincount(pieces[strokes & (step >= _STEEP_STEP)], minlength=number + 1)
    sharp = steep >= _STEEP_SHARE * area
    sharp[0] = False
    return sharp[pieces]


def paint_out(image: np.ndarray) -> np.ndarray:
    """Return the image with its strokes filled in from beside them (Telea 2004)."""
    import cv2

    return cv2.inpaint(image, find_strokes(image).astype(np.uint8), 3, cv2.INPAINT_TELEA)


def _near_white(generator: np.random.Generator) -> int:
    return int(generator.integers(215, 256))


def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(max(6.0, size))
