"""Files that Pillow opens, and what it leaves to us: pages, 16-bit colours, transparency, bad metadata."""

from __future__ import annotations

import contextlib
import io
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from busi_unet.errors import BusiUNetError, UnreadableImageError
from busi_unet.io.dicom_pixels import by_depth, usual_depth
from busi_unet.io.loaded import SMALLER, Loaded, check_index, check_size

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
HINT = "Use a PNG, JPEG, GIF, WebP, BMP, TIFF or DICOM image."
_ALL_TRANSPARENT = "The image is marked as transparent throughout; that was ignored."
_SOME_TRANSPARENT = "Transparent parts of the image are shown on black."
_BAD_METADATA = "The file's metadata is damaged and was ignored."
_CLIPS = ("TIFF", "GIF", "WEBP", "PNG")
_MAX_PAGES = 1000
_FAX = ("tiff_ccitt", "group3", "group4")
_PNG_START = b"\x89PNG\r\n\x1a\n"


def open_pages(content: Path | bytes) -> Image.Image:
    """Open a file, of which no page is loaded yet, in one of `FORMATS`; raise as Pillow does."""
    return Image.open(content if isinstance(content, Path) else io.BytesIO(content), formats=FORMATS)


def read_file(content: Path | bytes, *, index: int, name: str) -> Loaded:
    """Read one page, upright; arguments and errors are those of `read_dicom`."""
    try:
        try:
            opened = open_pages(content)
        except Image.DecompressionBombError as error:
            raise UnreadableImageError(f"{name} is far too large.", SMALLER) from error
        except Exception as error:
            raise UnreadableImageError(f"{name} is not an image that can be read.", HINT) from error
        with _damage_named(name):
            frames, remarks = _choose_page(opened, index)
            check_index(index, frames, name)
        loaded = load_upright(opened, content, name)
        return replace(loaded, frames=frames, remarks=remarks + loaded.remarks)
    except UnreadableImageError:
        bare = _png_without_metadata(content)
        if bare is None:
            raise
    loaded = read_file(bare, index=index, name=name)
    return replace(loaded, remarks=(*loaded.remarks, _BAD_METADATA))


def read_page(pages: Image.Image, content: Path | bytes, index: int, name: str) -> Loaded:
    """Read a page of a file that `open_pages` opened, as `read_file` does, but for damaged metadata."""
    with _damage_named(name):
        # A page that was too large leaves its size behind, of which Pillow would make an image on its way to
        # the next: all that follow are refused.
        check_size(pages.width, pages.height, name)
        pages.seek(index)
    return load_upright(pages, content, name)


@contextlib.contextmanager
def _damage_named(name: str) -> Iterator[None]:
    try:
        yield
    except BusiUNetError:
        raise
    except Exception as error:
        raise UnreadableImageError(
            f"{name} is damaged or cut short.", "Export or copy the image again."
        ) from error


def _choose_page(image: Image.Image, index: int) -> tuple[int, tuple[str, ...]]:
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


def load_upright(image: Image.Image, content: Path | bytes | None, name: str) -> Loaded:
    """Load an opened file, or take an image as it is, and turn it as its EXIF says.

    More than 8 bits of grey become an array; colours of 16 bits are brought to 8 by the usual depth of what
    they hold, where Pillow keeps the upper half, which needs the file again.
    """
    with _damage_named(name):
        check_size(image.width, image.height, name)
        if image.mode == "LAB":
            # Pillow would take its channels for red, green and blue.
            raise UnreadableImageError(f"{name} holds colours as LAB.", HINT)
        return _load(image, content)


def _load(image: Image.Image, content: Path | bytes | None) -> Loaded:
    tiles, page = list(getattr(image, "tile", ())) if content else [], image.tell()
    inverted, remarks = _about_tiff(image, tiles) if image.format == "TIFF" else (False, ())
    image.load()
    wide, more = _wide_colours(image, tiles, page, content)
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
        remarks = (*remarks, _BAD_METADATA)
    if loaded.mode[0] not in "IF":
        return Loaded(loaded, remarks=remarks)
    values = np.asarray(loaded)
    # Pillow inverts up to 8 bits itself.
    if inverted:
        high = values.max()
        if loaded.mode == "F":
            values = max(high, 1) - values
        else:
            white = 2 ** usual_depth(high) - 1 if 0 <= high < 2**16 else high
            values = white - values.astype(np.int32)
    return Loaded(values, remarks=remarks)


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
        remarks = ("The file does not say whether 0 is black or white; 0 was taken for white.",)
    if image.info.get("compression") in _FAX:
        remarks = (*remarks, "The file has fax compression, in which damage cannot be detected.")
    return image.tag_v2.get(262, 0) == 0, remarks


def over_black(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """Return the image with what is transparent laid over black, and a remark where there is such.

    Where all is transparent, as clipboards write it, the image is in the colours alone.
    """
    if not image.has_transparency_data:
        return image, ()
    layer = image.convert("RGBA")
    least, most = layer.getchannel("A").getextrema()
    if most == 0:
        return layer.convert("RGB"), (_ALL_TRANSPARENT,)
    black = Image.new("RGBA", layer.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, layer), (_SOME_TRANSPARENT,) if least < 255 else ()


def _png_without_metadata(content: Path | bytes) -> bytes | None:
    """Return a PNG without the chunks that do not make its image; None for other files."""
    data = content.read_bytes() if isinstance(content, Path) else content
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
    return bare if len(bare) < len(data) else None


def _wide_colours(
    image: Image.Image, tiles: list, page: int, content: Path | bytes
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
    with open_pages(content) as again:
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
    pixels, remarks = by_depth(wide[..., :3])
    if image.mode == "RGBA":
        pixels = np.concatenate([pixels, by_depth(wide[..., 3:])[0]], axis=2)
    return Image.fromarray(pixels), remarks
