"""Any image to 8-bit grey pixels."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageChops
from scipy import ndimage

from busi_unet.errors import UnreadableImageError, UsageError
from busi_unet.io.dicom import is_dicom, read_dicom, read_header
from busi_unet.io.dicom_pixels import by_depth
from busi_unet.io.loaded import Loaded, check_index, check_size
from busi_unet.io.pillow_files import HINT, load_upright, open_pages, over_black, read_file, read_page
from busi_unet.io.scale import Spacing, spacing_in_regions

ImageSource = Image.Image | np.ndarray | str | os.PathLike | bytes | IO[bytes]

MIN_SIDE = 16
MAX_FRAMES = 1000
EXTENSIONS = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".dcm"}
)
_COLOUR_GAP, _COLOUR_PIXELS = 60, 40


@dataclass(frozen=True)
class DecodedImage(Loaded):
    """Grey pixels and what their file says of them.

    Attributes:
        pixels: uint8 (H, W), 0 black to 255 white.
        index: which of its frames this is, from 0.
        doppler: the file shows colour Doppler: areas of red or blue that a tint of the grey levels does not
            explain, of at least 40 pixels in all. Thin lines and yellow marks do not count.
    """

    pixels: np.ndarray
    index: int = 0
    doppler: bool = False

    def crop(self, box: tuple[int, int, int, int]) -> DecodedImage:
        """Return the part in a box (left, top, right, bottom), its scale kept.

        Raises:
            UnreadableImageError: it is smaller than 16 pixels a side.
        """
        left, top = max(0, box[0]), max(0, box[1])
        part = self.pixels[top : max(0, box[3]), left : max(0, box[2])]
        if min(part.shape) < MIN_SIDE:
            raise UnreadableImageError(
                "The part is too small to analyse.", f"Choose one of at least {MIN_SIDE} pixels a side."
            )
        regions = tuple(
            replace(region, box=tuple(side - (left, top)[i % 2] for i, side in enumerate(region.box)))
            for region in self.regions
        )
        return replace(self, pixels=part.copy(), regions=regions)

    def spacing_of(self, mask: np.ndarray) -> tuple[Spacing | None, tuple[str, ...]]:
        """Return the spacing where a mask, bool (H, W), lies, and a remark where its regions give none."""
        if not self.regions or not mask.any():
            return self.spacing_mm, ()
        return spacing_in_regions(self.regions, mask)


def decode_image(source: ImageSource, *, name: str | None = None) -> np.ndarray:
    """Return an image as grey pixels uint8 (H, W), of several frames the first; see `read_image`."""
    return read_image(source, name=name).pixels


def read_image(source: ImageSource, *, index: int = 0, name: str | None = None) -> DecodedImage:
    """Read an image as grey pixels, upright, the way both training and serving see it.

    Colour becomes luma (ITU-R 601); transparency is laid over black, the background of an
    ultrasound screen, unless all is; EXIF rotation is applied; palettes are resolved. Of pages of
    different sizes the largest is taken. Images of more than 8 bits are scaled from the smallest usual
    bit depth (8, 10, 12, 14, 16) that holds their largest value, because neither PNG nor TIFF says how
    many of the 16 bits are in use.

    Args:
        source: PIL image, array, path, encoded bytes or binary file. Arrays are (H, W), (H, W, 1), (H, W, 3)
            or (H, W, 4); bool, uint8, uint16, or float in [0, 1].
        index: of the frame or page, from 0.
        name: how errors name this image; by default its path.

    Raises:
        UnreadableImageError: not an image, empty, damaged, smaller than 16 pixels a side or larger than
            50 million pixels.
        UsageError: there is no frame of this index.
    """
    name = name or name_of(source)
    return decoded(load_pixels(source, index=index, name=name), index, name)


def read_frames(
    source: ImageSource, *, name: str | None = None
) -> Iterator[DecodedImage | UnreadableImageError]:
    """Yield all frames of a clip in their order, of which one at a time is in memory.

    Args:
        source, name: as for `read_image`; an image of one frame is a clip of one.

    Yields:
        A frame, or the error where one after the first cannot be read.

    Raises:
        UnreadableImageError: the first frame cannot be read.
        UsageError: more than 1,000 frames.
    """
    name = name or name_of(source)
    if not isinstance(source, (Image.Image, np.ndarray)):
        source = _content(source, name)
    first = decoded(load_pixels(source, name=name), 0, name)
    frames = first.frames
    if frames > MAX_FRAMES:
        raise UsageError(
            f"{name} has {frames:,} frames; one run takes at most {MAX_FRAMES:,}.", "Export a shorter clip."
        )
    yield first
    if frames == 1:
        return
    # Opened once: to reach a frame, Pillow decodes those before it.
    with contextlib.nullcontext() if is_dicom(source) else open_pages(source) as pages:
        for index in range(1, frames):
            called = f"Frame {index + 1} of {frames} of {name}"
            try:
                if pages is None:
                    loaded = read_dicom(source, index=index, name=called)
                else:
                    loaded = replace(read_page(pages, source, index, called), frames=frames)
                yield decoded(loaded, index, called)
            except UnreadableImageError as error:
                yield error


def milliseconds_per_frame(source: Path | bytes) -> int | None:
    """Return how long a file shows each frame of its clip: DICOM's own times, or those of an animation.

    None where it does not say, or names less than 10 or more than 1,000.
    """
    # The frames themselves could be read, so that what is wrong with their timing is no error.
    with contextlib.suppress(Exception):
        content = _content(source, "")
        if is_dicom(content):
            header = read_header(content, tags=["FrameTime", "CineRate", "RecommendedDisplayFrameRate"])
            rates = (header.get("CineRate"), header.get("RecommendedDisplayFrameRate"))
            told = [header.get("FrameTime"), *(1000 / rate for rate in rates if rate)]
        else:
            with open_pages(content) as pages:
                # The first frame may stand longer than the others.
                pages.seek(1)
                pages.load()
                told = [pages.info.get("duration")]
        return next((round(time) for time in told if time and 10 <= time <= 1000), None)
    return None


def decoded(loaded: Loaded, index: int, name: str) -> DecodedImage:
    """Return what `load_pixels` found as grey pixels; arguments and errors are those of `read_image`."""
    pixels, remarks = loaded.pixels, loaded.remarks
    if isinstance(pixels, np.ndarray):
        eight_bit, more = _to_uint8(pixels, name)
        pixels, remarks = Image.fromarray(eight_bit), remarks + more
    shown, more = over_black(pixels)
    remarks += more
    if shown.mode not in ("1", "L"):
        shown = shown.convert("RGB")
    width, height = shown.size
    if min(height, width) < MIN_SIDE:
        raise UnreadableImageError(
            f"{name} is {width}×{height} pixels, too small to analyse.",
            f"Use an image of at least {MIN_SIDE} pixels a side.",
        )
    if loaded.frames > 1:
        remarks = (f"This is frame {index + 1} of {loaded.frames}.", *remarks)
    doppler = shown.mode == "RGB" and _shows_doppler(shown)
    told = vars(loaded) | {"pixels": np.array(shown.convert("L")), "remarks": remarks}
    return DecodedImage(**told, index=index, doppler=doppler)


def pixel_count(path: str | Path) -> int:
    """Return how many pixels a file says it has, without reading them; 0 for DICOM and what is no image."""
    try:
        with open_pages(Path(path)) as image:
            return image.width * image.height
    except Exception:
        return 0


def load_pixels(source: ImageSource, *, index: int = 0, name: str) -> Loaded:
    """Return what a file holds, upright, before it becomes grey.

    Raises:
        UnreadableImageError, UsageError: as for `read_image`, without the lower size limit.
    """
    if not isinstance(source, (Image.Image, np.ndarray)):
        content = _content(source, name)
        return (read_dicom if is_dicom(content) else read_file)(content, index=index, name=name)
    check_index(index, 1, name)
    return Loaded(source) if isinstance(source, np.ndarray) else load_upright(source, None, name)


def name_of(source: ImageSource) -> str:
    """Return how errors name a source: its path, where it has one."""
    if isinstance(source, (str, os.PathLike)):
        return str(source)
    named = getattr(source, "name", None) or getattr(source, "filename", None)
    return str(named) if named else "the image"


def _content(source: Any, name: str) -> Path | bytes:
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if not path.exists():
            raise UnreadableImageError(f"{name} does not exist.", "Check the path.")
        if path.is_dir():
            raise UnreadableImageError(f"{name} is a folder, not an image.", "Name the images inside it.")
        content, size = path, path.stat().st_size
    else:
        data = source.read() if hasattr(source, "read") else source
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise UnreadableImageError(f"{name} is a {type(source).__name__}, not an image.", HINT)
        content, size = bytes(data), len(data)
    if size == 0:
        raise UnreadableImageError(f"{name} is empty (0 bytes).", "Export or copy the image again.")
    return content


def _shows_doppler(image: Image.Image) -> bool:
    # 37 million pixels would take seconds.
    image = image.reduce(max(1, max(image.size) // 2000))
    red, green, blue = image.split()
    pairs = ((red, green), (blue, red))
    pairs = [pair for pair in pairs if ImageChops.subtract(*pair).getextrema()[1] > _COLOUR_GAP]
    if not pairs:
        return False
    grey = np.asarray(image.convert("L")) // 8
    coloured = np.zeros(grey.shape, dtype=bool)
    for more, less in pairs:
        excess = np.asarray(more).astype(np.int16) - np.asarray(less)
        # A tint gives each grey level a colour of its own, and most pixels are no Doppler.
        tint = ndimage.median(excess, grey, np.arange(32))
        coloured |= excess - np.nan_to_num(tint)[grey] > _COLOUR_GAP
    return bool(ndimage.binary_opening(coloured, np.ones((3, 3))).sum() >= _COLOUR_PIXELS)


def _to_uint8(array: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return an array of any accepted shape and type as uint8 (H, W), (H, W, 3) or (H, W, 4), and remarks."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or array.size == 0:
        raise UnreadableImageError(
            f"{name} is an array of shape {array.shape}.", "Use (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)."
        )
    check_size(array.shape[1], array.shape[0], name)
    if array.dtype == np.uint8:
        return array, ()
    if array.dtype == bool:
        return array.astype(np.uint8) * 255, ()
    low, high = array.min(), array.max()
    if np.issubdtype(array.dtype, np.integer) and low >= 0 and high < 2**16:
        return by_depth(array)
    if np.issubdtype(array.dtype, np.floating) and low >= 0 and high <= 1:
        return np.round(array * 255.0).astype(np.uint8), ()
    raise UnreadableImageError(
        f"{name} holds {array.dtype} values from {low} to {high}.",
        "Use 8- or 16-bit grey levels, or floats between 0 and 1.",
    )
