"""Masks, measurements, comparisons and maps drawn over images; every drawing has the image's size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from busi_unet.errors import UsageError
from busi_unet.imaging.measure import Lesion, Line
from busi_unet.imaging.regions import bounding_box

# Okabe & Ito's palette without black: told apart with any colour vision, and none of them grey.
COLORS: dict[str, tuple[int, int, int]] = {
    "orange": (230, 159, 0),
    "sky blue": (86, 180, 233),
    "bluish green": (0, 158, 115),
    "yellow": (240, 228, 66),
    "blue": (0, 114, 178),
    "vermillion": (213, 94, 0),
    "reddish purple": (204, 121, 167),
}
_YELLOW = COLORS["yellow"]

# Viridis (van der Walt and Smith, public domain) at 17 even steps: perceptually uniform, and safe for
# any colour vision. Interpolated between them it is nowhere more than 6 of 255 off.
_STEPS = np.array(
    [
        (68, 1, 84), (72, 24, 106), (71, 45, 123), (66, 64, 134), (59, 82, 139), (51, 99, 141),
        (44, 114, 142), (38, 130, 142), (33, 145, 140), (31, 160, 136), (40, 174, 128), (63, 188, 115),
        (94, 201, 98), (132, 212, 75), (173, 220, 48), (216, 226, 25), (253, 231, 37),
    ]
)  # fmt: skip
_CHANNELS = [np.interp(np.linspace(0, 16, 256), range(17), channel) for channel in _STEPS.T]
_VIRIDIS = np.stack(_CHANNELS, axis=-1).round().astype(np.uint8)


def draw_overlay(
    image: np.ndarray, mask: np.ndarray, *, color: str = "orange", opacity: float = 0.25, contour: bool = True
) -> Image.Image:
    """Draw a mask over its image: tinted inside, outlined at the edge.

    Args:
        image: uint8 (H, W), or uint8 (H, W, 3) to draw over an earlier overlay.
        mask: bool (H, W).
        color: a name of `COLORS`.
        opacity: of the tint, from 0 (only the contour is left) to 1.
        contour: also draw the outline, a line of about 1/250 of the image's longer side.

    Returns:
        RGB image of size (W, H).

    Raises:
        ValueError: image and mask differ in size.
        UsageError: an unknown colour, or an opacity outside 0 to 1.
    """
    if color not in COLORS:
        raise UsageError(f"There is no colour {color!r}.", f"Choose one of {', '.join(COLORS)}.")
    canvas = _canvas(image, mask, opacity=opacity)
    _tint(canvas, mask, color, opacity)
    if contour:
        _tint(canvas, outline(mask), color)
    return canvas


def draw_band(
    image: np.ndarray, inner: np.ndarray, outer: np.ndarray, *, opacity: float = 0.25
) -> Image.Image:
    """Draw an inner outline, bool (H, W), orange, and an outer one, sky blue, with the band between tinted.

    Image, opacity and errors are as for `draw_overlay`.
    """
    canvas = _canvas(image, inner, outer, opacity=opacity)
    _tint(canvas, outer & ~inner, "sky blue", opacity)
    _tint(canvas, outline(outer), "sky blue")
    _tint(canvas, outline(inner), "orange")
    return canvas


def draw_agreement(image: np.ndarray, predicted: np.ndarray, reference: np.ndarray) -> Image.Image:
    """Draw where a predicted mask and a reference, bool (H, W), agree.

    What is in both is sky blue, in the predicted one alone vermillion, in the reference alone yellow.

    Raises:
        ValueError: image and masks differ in size.
    """
    canvas = _canvas(image, predicted, reference)
    lines = outline(predicted) | outline(reference)
    # They differ in lightness too, so that the image survives a grey print.
    for color, part in (
        ("sky blue", predicted & reference),
        ("vermillion", predicted & ~reference),
        ("yellow", reference & ~predicted),
    ):
        _tint(canvas, part, color, 0.5)
        _tint(canvas, part & lines, color)
    return canvas


def draw_heatmap(
    image: np.ndarray, values: np.ndarray, *, low: float = 0.0, high: float = 1.0, opacity: float = 0.5
) -> Image.Image:
    """Draw a map of probability, uncertainty or class activation over its image, in viridis.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        values: float (H, W), finite.
        low, high: the values of the darkest and the lightest colour; what lies beyond takes the nearer.
        opacity: from 0 to 1.

    Raises:
        ValueError: image and values differ in size.
        UsageError: an opacity outside 0 to 1.
    """
    canvas = _canvas(image, values, opacity=opacity)
    # A look-up per pixel and a blend in C: a slider redraws this while it moves.
    steps = np.clip((values - low) * (255.0 / (high - low)), 0, 255).astype(np.uint8)
    return Image.blend(canvas, Image.fromarray(_VIRIDIS[steps]), opacity)


def annotate_lesions(image: Image.Image, lesions: Sequence[Lesion], *, calipers: bool = False) -> Image.Image:
    """Number several lesions, each where it is deepest, and draw the lines of their diameters, in yellow.

    Args:
        image: RGB, an overlay; it is not changed.
        lesions: as measured on a mask of the image's size; the first is number 1. One alone has none.
        calipers: draw the longest diameter and, thinner, its perpendicular, with crosses at the ends.
    """
    drawn = image.convert("RGB")
    pen = ImageDraw.Draw(drawn)
    unit = max(1, round(max(drawn.size) / 250))
    if calipers:
        for lesion in lesions:
            for line, width in zip(lesion.calipers, (unit, max(1, unit // 2)), strict=True):
                _caliper(pen, line, width, reach=3 * unit)
    if len(lesions) > 1:
        font = ImageFont.load_default(max(10, 7 * unit))
        for number, lesion in enumerate(lesions, start=1):
            left, top, right, bottom = pen.textbbox((0, 0), str(number), font=font, stroke_width=unit)
            width, height = right - left, bottom - top
            # Around the deepest pixel, but never outside the image.
            x = min(max(0, lesion.deepest[0] - width / 2), max(0, drawn.width - width)) - left
            y = min(max(0, lesion.deepest[1] - height / 2), max(0, drawn.height - height)) - top
            pen.text((x, y), str(number), _YELLOW, font, stroke_width=unit, stroke_fill=(0, 0, 0))
    return drawn


def draw_banner(image: Image.Image, text: str) -> Image.Image:
    """Return the image with a line of text on a dark strip along its upper edge; it is not changed itself."""
    drawn = image.convert("RGB")
    pen = ImageDraw.Draw(drawn)
    font = _font(text, round(max(drawn.size) / 30), drawn.width)
    pen.rectangle([0, 0, drawn.width, round(1.6 * font.size)], fill=(0, 0, 0))
    pen.text((drawn.width / 2, 0.8 * font.size), text, fill=_YELLOW, font=font, anchor="mm")
    return drawn


def draw_caption(image: Image.Image, text: str) -> Image.Image:
    """Return the image with a line of text on a dark strip below it, RGB."""
    font = _font(text, round(max(image.size) / 32), image.width)
    drawn = Image.new("RGB", (image.width, image.height + round(1.6 * font.size)))
    drawn.paste(image)
    place = (image.width / 2, image.height + 0.8 * font.size)
    ImageDraw.Draw(drawn).text(place, text, (255, 255, 255), font, anchor="mm")
    return drawn


def _font(text: str, size: int, width: int) -> ImageFont.FreeTypeFont:
    """Return a font of a size in pixels, at least 10, or a smaller one in which a line fits the width."""
    size = max(10, size)
    while size > 6 and ImageFont.load_default(size).getlength(text) > width:
        size -= 1
    return ImageFont.load_default(size)


def outline(mask: np.ndarray) -> np.ndarray:
    """Return the outline of a bool (H, W) mask as a bool (H, W) line inside it."""
    width = max(1, round(max(mask.shape) / 250))
    line = np.zeros_like(mask)
    box = bounding_box(mask)
    # Steps to the outside, which begins beyond the image's edge too.
    depth = ndimage.distance_transform_cdt(np.pad(mask[box], 1), "taxicab")[1:-1, 1:-1]
    line[box] = mask[box] & (depth <= width)
    return line


def side_by_side(image: np.ndarray, overlay: Image.Image) -> Image.Image:
    """Join the original uint8 (H, W), at the left, and its overlay as one RGB image of size (2 W + 8, H)."""
    original = Image.fromarray(image).convert("RGB")
    joined = Image.new("RGB", (original.width + 8 + overlay.width, original.height), (255, 255, 255))
    joined.paste(original, (0, 0))
    joined.paste(overlay, (original.width + 8, 0))
    return joined


def _canvas(image: np.ndarray, *layers: np.ndarray, opacity: float = 1.0) -> Image.Image:
    """Return an image as RGB, once what is to be drawn on it is known to fit."""
    if any(layer.shape != image.shape[:2] for layer in layers):
        sizes = [layer.shape for layer in layers]
        raise ValueError(f"the image is {image.shape[:2]}, what is drawn on it {sizes}; all must be (H, W)")
    if not 0 <= opacity <= 1:
        raise UsageError(f"The opacity is {opacity}.", "Choose it between 0 (clear) and 1 (opaque).")
    return Image.fromarray(image).convert("RGB")


def _tint(canvas: Image.Image, where: np.ndarray, color: str, opacity: float = 1.0) -> None:
    rows, columns = box = bounding_box(where)
    layer = Image.fromarray(where[box].astype(np.uint8) * np.uint8(round(255 * opacity)))
    canvas.paste(COLORS[color], (columns.start, rows.start, columns.stop, rows.stop), layer)


def _caliper(pen: ImageDraw.ImageDraw, line: Line, width: int, reach: int) -> None:
    pen.line([*line[0], *line[1]], fill=_YELLOW, width=width)
    for x, y in line:
        pen.line([x - reach, y, x + reach, y], fill=_YELLOW, width=width)
        pen.line([x, y - reach, x, y + reach], fill=_YELLOW, width=width)
