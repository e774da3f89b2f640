"""Masks, measurements, comparisons and maps drawn over images; every drawing has the image's size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from busi_unet.errors import UsageError
from busi_unet.imaging.measure import Lesion

Color = tuple[int, int, int]

# Okabe & Ito's palette without black: told apart with any colour vision, and none of them grey.
COLORS: dict[str, Color] = {
    "orange": (230, 159, 0),
    "sky blue": (86, 180, 233),
    "bluish green": (0, 158, 115),
    "yellow": (240, 228, 66),
    "blue": (0, 114, 178),
    "vermillion": (213, 94, 0),
    "reddish purple": (204, 121, 167),
}
ORANGE = COLORS["orange"]
SKY_BLUE = COLORS["sky blue"]

# Three that also differ in lightness, so that the image survives a grey print.
AGREEMENT_COLORS: dict[str, Color] = {
    "true positive": COLORS["sky blue"],
    "false positive": COLORS["vermillion"],
    "false negative": COLORS["yellow"],
}
"""Legend of `draw_agreement`: in both masks, only in the predicted one, only in the reference."""

# Viridis (van der Walt and Smith, public domain) at 17 even steps: perceptually uniform, and safe for
# any colour vision. Interpolated between them it is nowhere more than 6 of 255 off.
_VIRIDIS = np.array(
    [
        (68, 1, 84), (72, 24, 106), (71, 45, 123), (66, 64, 134), (59, 82, 139), (51, 99, 141),
        (44, 114, 142), (38, 130, 142), (33, 145, 140), (31, 160, 136), (40, 174, 128), (63, 188, 115),
        (94, 201, 98), (132, 212, 75), (173, 220, 48), (216, 226, 25), (253, 231, 37),
    ]
)  # fmt: skip


def color_named(name: str | Color) -> Color:
    """Return the RGB of a name of `COLORS`; an RGB triple is passed on.

    Raises:
        UsageError: no such name.
    """
    if not isinstance(name, str):
        return name
    if name not in COLORS:
        raise UsageError(f"There is no colour {name!r}.", f"Choose one of {', '.join(COLORS)}.")
    return COLORS[name]


def draw_overlay(
    image: np.ndarray,
    mask: np.ndarray,
    *,
    color: str | Color = ORANGE,
    opacity: float = 0.25,
    contour: bool = True,
) -> Image.Image:
    """Draw a mask over its image: tinted inside, outlined at the edge.

    Args:
        image: uint8 (H, W), or uint8 (H, W, 3) to draw over an earlier overlay.
        mask: bool (H, W).
        color: a name of `COLORS`, or RGB, 0 to 255.
        opacity: of the tint, from 0 (only the contour is left) to 1.
        contour: also draw the outline, a line of about 1/250 of the image's longer side.

    Returns:
        RGB image of size (W, H).

    Raises:
        ValueError: image and mask differ in size.
        UsageError: an unknown colour, or an opacity outside 0 to 1.
    """
    canvas = _canvas(image, mask)
    _tint(canvas, mask, color_named(color), opacity)
    if contour:
        _tint(canvas, outline(mask), color_named(color))
    return canvas


def draw_band(
    image: np.ndarray,
    inner: np.ndarray,
    outer: np.ndarray,
    *,
    inner_color: str | Color = ORANGE,
    outer_color: str | Color = SKY_BLUE,
    opacity: float = 0.25,
) -> Image.Image:
    """Draw an inner and an outer outline, as of a map at a high and a low threshold, with the band tinted.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        inner: bool (H, W), what is almost certainly lesion.
        outer: bool (H, W), what might be.
        inner_color, outer_color: of the lines; the band between them takes the outer one's.
        opacity: of the band, from 0 to 1.

    Raises:
        ValueError, UsageError: as for `draw_overlay`.
    """
    canvas = _canvas(image, inner, outer)
    _tint(canvas, outer & ~inner, color_named(outer_color), opacity)
    _tint(canvas, outline(outer), color_named(outer_color))
    _tint(canvas, outline(inner), color_named(inner_color))
    return canvas


def draw_agreement(
    image: np.ndarray, predicted: np.ndarray, reference: np.ndarray, *, opacity: float = 0.5
) -> Image.Image:
    """Draw where a predicted mask and a reference agree, in the colours of `AGREEMENT_COLORS`.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        predicted: bool (H, W).
        reference: bool (H, W).
        opacity: of the colours, from 0 to 1; both outlines stay.

    Raises:
        ValueError, UsageError: as for `draw_overlay`.
    """
    canvas = _canvas(image, predicted, reference)
    parts = (predicted & reference, predicted & ~reference, reference & ~predicted)
    lines = outline(predicted) | outline(reference)
    for part, color in zip(parts, AGREEMENT_COLORS.values(), strict=True):
        _tint(canvas, part, color, opacity)
        _tint(canvas, part & lines, color)
    return canvas


def draw_heatmap(
    image: np.ndarray, values: np.ndarray, *, low: float = 0.0, high: float = 1.0, opacity: float = 0.5
) -> Image.Image:
    """Draw a map of probability, uncertainty or class activation over its image, in viridis.

    Args:
        image: uint8 (H, W) or (H, W, 3).
        values: float (H, W); NaN is left clear.
        low, high: the values of the darkest and the lightest colour; what lies beyond takes the nearer.
        opacity: from 0 to 1.

    Raises:
        ValueError: image and values differ in size.
        UsageError: `high` not above `low`, or an opacity outside 0 to 1.
    """
    if not high > low:
        raise UsageError(f"A scale from {low} to {high} has no length.", "Give a high above low.")
    canvas = _canvas(image, values)
    _check_opacity(opacity)
    # A look-up per pixel and a blend in C: a slider redraws this while it moves.
    steps = np.clip((np.nan_to_num(values) - low) * (255.0 / (high - low)), 0, 255).astype(np.uint8)
    heat = Image.fromarray(viridis(np.linspace(0, 1, 256))[steps])
    blended = Image.blend(canvas, heat, opacity)
    if np.isnan(values).any():
        blended.paste(canvas, mask=Image.fromarray(np.isnan(values)))
    return blended


def viridis(share: np.ndarray) -> np.ndarray:
    """Return colours uint8 (..., 3) of shares (...) of the scale, from 0 (dark violet) to 1 (yellow)."""
    steps = np.linspace(0, 1, len(_VIRIDIS))
    channels = [np.interp(share, steps, _VIRIDIS[:, channel]) for channel in range(3)]
    return np.round(np.stack(channels, axis=-1)).astype(np.uint8)


def annotate_lesions(
    image: Image.Image,
    lesions: Sequence[Lesion],
    *,
    numbers: bool = True,
    calipers: bool = False,
    color: str | Color = "yellow",
) -> Image.Image:
    """Number several lesions, each where it is deepest, and draw the lines of their diameters.

    Args:
        image: RGB, an overlay; it is not changed.
        lesions: as measured on a mask of the image's size; the first is number 1. One alone has none.
        numbers: draw them.
        calipers: draw the longest diameter and, thinner, its perpendicular, with crosses at the ends.
        color: a name of `COLORS`, or RGB.
    """
    drawn = image.convert("RGB")
    pen = ImageDraw.Draw(drawn)
    rgb = color_named(color)
    unit = max(1, round(max(drawn.size) / 250))
    if calipers:
        for lesion in lesions:
            for line, width in zip(lesion.calipers, (unit, max(1, unit // 2)), strict=True):
                _caliper(pen, line, rgb, width, reach=3 * unit)
    if numbers and len(lesions) > 1:
        font = ImageFont.load_default(max(10, 7 * unit))
        for number, lesion in enumerate(lesions, start=1):
            left, top, right, bottom = pen.textbbox((0, 0), str(number), font=font, stroke_width=unit)
            width, height = right - left, bottom - top
            # Around the deepest pixel, but never outside the image.
            x = min(max(0, lesion.deepest[0] - width / 2), max(0, drawn.width - width))
            y = min(max(0, lesion.deepest[1] - height / 2), max(0, drawn.height - height))
            pen.text(
                (x - left, y - top),
                str(number),
                fill=rgb,
                font=font,
                stroke_width=unit,
                stroke_fill=(0, 0, 0),
            )
    return drawn


def draw_banner(image: Image.Image, text: str) -> Image.Image:
    """Return the image with a line of text on a dark strip along its upper edge; it is not changed itself."""
    drawn = image.convert("RGB")
    pen = ImageDraw.Draw(drawn)
    size = max(10, round(max(drawn.size) / 30))
    font = ImageFont.load_default(size)
    while size > 6 and pen.textlength(text, font=font) > drawn.width:
        size -= 1
        font = ImageFont.load_default(size)
    pen.rectangle([0, 0, drawn.width, round(1.6 * size)], fill=(0, 0, 0))
    pen.text((drawn.width / 2, 0.8 * size), text, fill=COLORS["yellow"], font=font, anchor="mm")
    return drawn


def outline(mask: np.ndarray, width: int | None = None) -> np.ndarray:
    """Return the outline of a bool (H, W) mask as a bool (H, W) line inside it, `width` pixels wide."""
    width = width or max(1, round(max(mask.shape) / 250))
    line = np.zeros_like(mask)
    # Within the mask's box alone: beyond it there is nothing to erode.
    for box in ndimage.find_objects(mask.astype(np.uint8)):
        line[box] = mask[box] & ~ndimage.binary_erosion(mask[box], iterations=width)
    return line


def side_by_side(image: np.ndarray, overlay: Image.Image, *, gap: int = 8) -> Image.Image:
    """Join the original uint8 (H, W), at the left, and its overlay as one RGB image."""
    original = Image.fromarray(image).convert("RGB")
    joined = Image.new("RGB", (original.width + gap + overlay.width, original.height), (255, 255, 255))
    joined.paste(original, (0, 0))
    joined.paste(overlay, (original.width + gap, 0))
    return joined


def _canvas(image: np.ndarray, *layers: np.ndarray) -> Image.Image:
    for layer in layers:
        if image.shape[:2] != layer.shape:
            raise ValueError(
                f"the image is {image.shape[:2]} and the mask {layer.shape}; both must be (H, W)"
            )
    return Image.fromarray(image).convert("RGB")


def _tint(canvas: Image.Image, where: np.ndarray, color: Color, opacity: float = 1.0) -> None:
    _check_opacity(opacity)
    canvas.paste(color, mask=Image.fromarray(where.astype(np.uint8) * np.uint8(round(255 * opacity))))


def _check_opacity(opacity: float) -> None:
    if not 0 <= opacity <= 1:
        raise UsageError(f"The opacity is {opacity}.", "Choose it between 0 (clear) and 1 (opaque).")


def _caliper(
    pen: ImageDraw.ImageDraw,
    line: tuple[tuple[float, float], tuple[float, float]],
    color: Color,
    width: int,
    reach: int,
) -> None:
    pen.line([*line[0], *line[1]], fill=color, width=width)
    for x, y in line:
        pen.line([x - reach, y, x + reach, y], fill=color, width=width)
        pen.line([x, y - reach, x, y + reach], fill=color, width=width)
