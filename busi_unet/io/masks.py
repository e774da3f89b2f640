"""What a mask file means: one rule for every reader of masks.

1. Up to 8 distinct values or colours: all but the background, the darkest, are lesion.
2. More grey values, nearly all of them at the two ends, as smoothing and JPEG leave them: lesion is what is
   lighter than half of the range.
3. Anything else is not a mask, nor is one that covers over 60 % of its image or reaches all four borders, as
   an inverted one does, nor one that equals its image.

The limits reject no mask of BUSI, BUS-BRA and BrEaST, where no lesion covers over 58 % or reaches more than
three borders.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from busi_unet.errors import UnreadableImageError
from busi_unet.io.decode import ImageSource, load_pixels, name_of
from busi_unet.io.pillow_files import over_black

MAX_VALUES = 8
_MAX_SHARE = 0.6
_END = 0.04  # of the range, beside each end of it
_MAX_BETWEEN = 0.2  # share of the pixels that are at neither end
_SEVERAL = "several values, all but the background taken as lesion"
_HINT = "Use a mask with the lesion white and the rest black, or with a value for each lesion."


@dataclass(frozen=True)
class Mask:
    """A mask and how it was read.

    Attributes:
        pixels: bool (H, W), true in the lesions.
        remark: "" for an ordinary mask; otherwise what it has, to follow "has" or "with".
    """

    pixels: np.ndarray
    remark: str = ""


def decode_mask(source: ImageSource, *, name: str | None = None) -> np.ndarray:
    """Return the lesions of a mask as bool (H, W); see `read_mask`."""
    return read_mask(source, name=name).pixels


def read_mask(source: ImageSource, *, image: np.ndarray | None = None, name: str | None = None) -> Mask:
    """Read a segmentation mask by the rule of this module.

    Args:
        source: as for `decode_image`; of any mode and bit depth. Transparency is laid over black.
        image: uint8 (H, W), that of the mask; a mask equal to it is refused.
        name: how errors name the mask; by default its path.

    Raises:
        UnreadableImageError: as for `decode_image`, without the lower size limit; or it is not a mask.
    """
    name = name or name_of(source)
    values = _values(load_pixels(source, name=name).pixels, name)
    if image is not None and values.shape == image.shape and image.any() and np.array_equal(values, image):
        raise UnreadableImageError(f"{name} is the image itself, not a mask.", _HINT)
    mask = _from_greys(values, name) if values.ndim == 2 else _from_colours(values, name)
    check_mask(mask.pixels, name)
    return mask


def _from_greys(values: np.ndarray, name: str) -> Mask:
    distinct = np.unique(values)
    # JPEG of a black-and-white mask leaves values beside both ends, not only at them.
    low, high = float(distinct[0]), float(distinct[-1])
    margin = _END * (high - low)
    noisy = ((distinct > low) & (distinct <= low + margin)).any() and (
        (distinct < high) & (distinct >= high - margin)
    ).any()
    if len(distinct) <= MAX_VALUES and not noisy:
        background = min(low, 0) if len(distinct) == 1 else low
        return Mask(values != background, _SEVERAL if len(distinct) > 2 else "")
    if ((values > low + margin) & (values < high - margin)).mean() > _MAX_BETWEEN:
        raise UnreadableImageError(
            f"{name} is not a mask: it has {len(distinct)} values, as an image has.", _HINT
        )
    return Mask(values > (low + high) / 2, "grey edges, what is lighter than half taken as lesion")


def _from_colours(pixels: np.ndarray, name: str) -> Mask:
    if pixels.dtype not in (np.uint8, np.uint16):
        raise UnreadableImageError(f"{name} holds colours as {pixels.dtype}.", _HINT)
    # Up to one too many; np.unique sorts them all, for minutes where an image is large.
    found, left = [], pixels.reshape(-1, 3)
    while left.size and len(found) <= MAX_VALUES:
        found.append(left[0])
        left = left[(left != left[0]).any(axis=1)]
    if left.size:
        raise UnreadableImageError(f"{name} is not a mask: it has many colours, as an image has.", _HINT)
    background = min(found, key=np.sum) if len(found) > 1 else 0
    return Mask((pixels != background).any(axis=2), _SEVERAL if len(found) > 2 else "")


def check_mask(mask: np.ndarray, name: str) -> None:
    """Refuse a mask, bool (H, W), that no lesion has.

    Raises:
        UnreadableImageError: it covers over 60 % of the image, or reaches all four borders.
    """
    share = mask.mean()
    if share > _MAX_SHARE:
        raise UnreadableImageError(f"{name} covers {share:.0%} of its image. Is it inverted?", _HINT)
    if mask[0].any() and mask[-1].any() and mask[:, 0].any() and mask[:, -1].any():
        raise UnreadableImageError(f"{name} reaches all four borders of its image. Is it inverted?", _HINT)


def _values(pixels: Image.Image | np.ndarray, name: str) -> np.ndarray:
    """Return grey values (H, W), or colours (H, W, 3)."""
    if isinstance(pixels, np.ndarray) and pixels.shape[2:] == (4,) and pixels.dtype == np.uint8:
        pixels = Image.fromarray(pixels)
    if isinstance(pixels, Image.Image):
        shown = pixels if pixels.mode == "1" else over_black(pixels)[0]
        pixels = np.asarray(shown if shown.mode in ("1", "L") else shown.convert("RGB"))
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3) or pixels.size == 0:
        raise UnreadableImageError(f"{name} is an array of shape {pixels.shape}.", _HINT)
    if pixels.dtype == bool:
        return pixels.astype(np.uint8)
    if not np.isfinite(pixels).all():
        raise UnreadableImageError(f"{name} holds values that are not finite.", _HINT)
    if pixels.ndim == 3 and all(np.array_equal(pixels[:, :, 0], pixels[:, :, other]) for other in (1, 2)):
        return pixels[:, :, 0]
    return pixels
