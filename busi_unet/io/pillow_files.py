"""What Pillow leaves to its callers: pages, colours of 16 bits, transparency, damaged metadata."""

from __future__ import annotations

import contextlib
import io
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from busi_unet.io.dicom_pixels import by_depth, fewer_bits, usual_depth

ALL_TRANSPARENT = "All of the image is transparent by its own account; that was not used."
SOME_TRANSPARENT = "Transparent parts of the image are shown on black."
BAD_METADATA = "The file's metadata is damaged and was not used."
_CLIPS = ("TIFF", "GIF", "WEBP", "PNG")
_MAX_PAGES = 1000
_FAX = ("tiff_ccitt", "group3", "group4")
_PNG_START = b"\x89PNG\r\n\x1a\n"


def choose_page(image: Image.Image, index: int) -> tuple[int, tuple[str, ...]]:
    """Move to a frame or page; return how many there are to choose from, and remarks.

    Pages of different sizes, as of a TIFF with a thumbnail, are no clip: the largest is taken.
    """
    pages = getattr(image, "n_frames", 1) if image.format in _CLIPS else 1
    if image.format == "TIFF" and pages > 1:
        sizes = []
        # A page that cannot be read ends the file.
        with contextlib.suppress(Exception):
            for page in range(min(pages, _MAX_PAGES)):
                image.seek(page)
                sizes.append(image.width * image.height)
        image.seek(0)
        if len(set(sizes)) > 1:
            largest = sizes.index(max(sizes))
            image.seek(largest)
            return 1, (f"This is page {largest + 1} of {pages}, the largest.",)
        # Those beyond count, but are not looked at.
        pages = pages if len(sizes) == _MAX_PAGES else max(1, len(sizes))
    if 0 < index < pages:
        image.seek(index)
    return pages, ()


def load_upright(
    image: Image.Image, stream: Path | io.BytesIO | None
) -> tuple[Image.Image | np.ndarray, tuple[str, ...]]:
    """Load an opened file, turned as its EXIF says; return it with remarks.

    An array where Pillow would keep white as zero; colours of 16 bits are brought to 8 by the usual depth of
    what they hold, where Pillow keeps the upper half, which needs the file again.
    """
    tiles, page = list(getattr(image, "tile", ())) if stream else [], image.tell()
    inverted, remarks = _about_tiff(image, tiles) if image.format == "TIFF" else (False, ())
    image.load()
    wide, more = _wide_colours(image, tiles, page, stream)
    remarks += more
    loaded = wide or image
    # The one mode that converts to no grey.
    loaded = loaded.convert("LA") if loaded.mode == "La" else loaded
    try:
        loaded = ImageOps.exif_transpose(loaded)
        sound = bool(image.getexif()) or not image.info.get("exif")
    except Exception:
        sound = False
    if not sound:
        remarks = (*remarks, BAD_METADATA)
    # Pillow inverts up to 8 bits itself.
    if inverted and (loaded.mode == "F" or loaded.mode.startswith("I")):
        values = np.asarray(loaded)
        high = values.max()
        if loaded.mode == "F":
            return max(high, 1) - values, remarks
        return (2 ** usual_depth(high) - 1 if 0 <= high < 2**16 else high) - values.astype(np.int32), remarks
    return loaded, remarks


def _about_tiff(image: Image.Image, tiles: list) -> tuple[bool, tuple[str, ...]]:
    """Return whether white is zero in a TIFF page, and remarks.

    Raises:
        ValueError: there are not pixels for all of the page, which Pillow leaves black.
    """
    areas = ((right - left) * (bottom - top) for left, top, right, bottom in (tile.extents for tile in tiles))
    if tiles and sum(areas) < image.width * image.height:
        raise ValueError
    # With a name, Pillow maps a page that is to be turned as if it were turned already.
    image.filename = ""
    remarks = ()
    if 262 not in image.tag_v2:
        remarks = ("The file does not say whether 0 is black or white, and was read as if white.",)
    if image.info.get("compression") in _FAX:
        remarks = (*remarks, "The file is coded as by a fax, in which damage cannot be noticed.")
    return image.tag_v2.get(262, 0) == 0, remarks


def over_black(image: Image.Image) -> Image.Image:
    """Return the image with what is transparent laid over black; one without transparency as it is.

    Where all is transparent, as clipboards write it, the image is in the colours alone.
    """
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    if layer.getchannel("A").getextrema() == (0, 0):
        return layer.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", layer.size, (0, 0, 0, 255)), layer)


def about_transparency(image: Image.Image) -> str:
    """Return a remark on how the transparency of an image was used; "" where it has none."""
    if not image.has_transparency_data:
        return ""
    least, most = image.convert("RGBA").getchannel("A").getextrema()
    return ALL_TRANSPARENT if most == 0 else SOME_TRANSPARENT if least < 255 else ""


def png_without_metadata(stream: Path | io.BytesIO) -> io.BytesIO | None:
    """Return a PNG without the chunks that do not make its image; None for other files."""
    data = stream.read_bytes() if isinstance(stream, Path) else stream.getvalue()
    if not data.startswith(_PNG_START):
        return None
    kept, place = [_PNG_START], len(_PNG_START)
    while place + 12 <= len(data):
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        chunk = data[place:end]
        kind, sound = chunk[4:8], zlib.crc32(chunk[4:-4]).to_bytes(4, "big") == chunk[-4:]
        # Critical chunks begin with a capital.
        if kind[:1].isupper() or kind == b"tRNS" or (kind == b"eXIf" and sound):
            kept.append(chunk)
        place = end
    bare = b"".join(kept)
    return io.BytesIO(bare) if len(bare) < len(data) else None


def _wide_colours(
    image: Image.Image, tiles: list, page: int, stream: Path | io.BytesIO
) -> tuple[Image.Image | None, tuple[str, ...]]:
    """Return an image of several 16-bit channels that use fewer bits as 8-bit, with remarks.

    None for every other.
    """
    raw = tiles[0].args if tiles else ""
    raw = raw if isinstance(raw, str) else raw[0]
    if ";16" not in str(raw) or image.mode not in ("RGB", "RGBA"):
        return None, ()
    high = np.asarray(image)
    if high[..., :3].max() >= 2**6:
        return None, ()
    # The same file read the other way round gives the lower bytes.
    other = "RGBA" if raw == "LA;16B" else raw[:-1] + ("B" if raw[-1] in "LN" else "L")
    with Image.open(stream, formats=(image.format,)) as again:
        if page:
            again.seek(page)
        again.tile = [
            tile._replace(args=other if isinstance(tile.args, str) else (other, *tile.args[1:]))
            for tile in tiles
        ]
        low = np.asarray(again)
    if raw == "LA;16B":
        high, low = low[..., [0, 0, 0, 2]], low[..., [1, 1, 1, 3]]
    wide = high.astype(np.uint16) << 8 | low
    parts = (wide[..., :3], wide[..., 3:])
    pixels = np.concatenate([by_depth(part) for part in parts if part.size], axis=2)
    return Image.fromarray(pixels), fewer_bits(usual_depth(wide[..., :3].max()), 16)
