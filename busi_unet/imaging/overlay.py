"""Masks drawn over pictures."""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

# Okabe & Ito's palette: told apart with any colour vision, and none of them grey.
ORANGE = (230, 159, 0)
SKY_BLUE = (86, 180, 233)


def draw_overlay(
    frame: np.ndarray,
    mask: np.ndarray,
    *,
    color: tuple[int, int, int] = ORANGE,
    opacity: float = 0.25,
    contour: bool = True,
) -> Image.Image:
    """A mask laid over its frame: tinted inside, outlined at the edge.

    Args:
        frame: uint8 (H, W), or uint8 (H, W, 3) to draw over an earlier overlay.
        mask: bool (H, W).
        color: RGB, 0 to 255.
        opacity: of the tint, from 0 to 1.
        contour: also draw the outline, a line of about 1/250 of the picture's longer side.

    Returns:
        RGB image of size (W, H).

    Raises:
        ValueError: frame and mask differ in size.
    """
    if frame.shape[:2] != mask.shape:
        raise ValueError(f"the frame is {frame.shape[:2]} and the mask {mask.shape}; both must be (H, W)")
    canvas = np.repeat(frame[:, :, None], 3, axis=2) if frame.ndim == 2 else frame.copy()
    tint = np.array(color, dtype=float)
    canvas[mask] = np.round(canvas[mask] * (1 - opacity) + tint * opacity).astype(np.uint8)
    if contour:
        canvas[outline(mask)] = color
    return Image.fromarray(canvas)


def outline(mask: np.ndarray, width: int | None = None) -> np.ndarray:
    """The edge of a bool (H, W) mask as a bool (H, W) line inside it, `width` pixels wide."""
    width = width or max(1, round(max(mask.shape) / 250))
    return mask & ~ndimage.binary_erosion(mask, iterations=width)


def side_by_side(frame: np.ndarray, overlay: Image.Image, *, gap: int = 8) -> Image.Image:
    """The original uint8 (H, W) at the left, its overlay at the right, as one RGB picture."""
    original = Image.fromarray(frame).convert("RGB")
    joined = Image.new("RGB", (original.width + gap + overlay.width, original.height), (255, 255, 255))
    joined.paste(original, (0, 0))
    joined.paste(overlay, (original.width + gap, 0))
    return joined
