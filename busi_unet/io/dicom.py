"""One frame of a DICOM file and the size of its pixels; nothing about the patient is ever read."""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from busi_unet.errors import MissingDependencyError, UnreadableImageError, UsageError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_MAGIC_OFFSET = 128
# The only elements that are parsed; whatever names a patient is skipped over.
_TAGS = [
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration"),
    *("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    *(f"{colour}PaletteColorLookupTable{part}" for colour in ("Red", "Green", "Blue")
      for part in ("Descriptor", "Data")),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
    *("SequenceOfUltrasoundRegions", "PixelSpacing", "ImagerPixelSpacing"),
]  # fmt: skip
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_CENTIMETRE = 3
_EXPORT = "Export the image again, uncompressed or as JPEG, RLE or PNG."


def is_dicom(stream: Path | io.BytesIO) -> bool:
    """Return whether a file starts as DICOM Part 10 asks: "DICM" after a preamble of 128 bytes."""
    if isinstance(stream, Path):
        with stream.open("rb") as file:
            head = file.read(_MAGIC_OFFSET + 4)
    else:
        head = bytes(stream.getbuffer()[: _MAGIC_OFFSET + 4])
    return head[_MAGIC_OFFSET:] == b"DICM"


def read_dicom(
    stream: Path | io.BytesIO, *, index: int, name: str, max_pixels: int
) -> tuple[np.ndarray, tuple[float, float] | None, int]:
    """Read one frame; of a clip, no other frame is decoded.

    MONOCHROME1 is turned the usual way round, palettes and YBR become RGB, and more than 8 bits are
    brought to 8 by the file's own window, else by its full range (`BitsStored`).

    Args:
        stream: a file for which `is_dicom` holds.
        index: of the frame, from 0.
        name: how errors name this file.
        max_pixels: a larger frame is refused before it is decoded.

    Returns:
        Pixels uint8 (H, W) or RGB (H, W, 3), 0 black; the size of a pixel in mm (between rows, between
        columns), or None where the file does not tell it; how many frames the file holds.

    Raises:
        UnreadableImageError: damaged, without an image, too large, or in a form that cannot be decoded.
        UsageError: the file has no frame of this index.
    """
    try:
        import pydicom
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{name} is a DICOM file; reading one needs pydicom.", 'Run: pip install "busi-unet[dicom]"'
        ) from error

    opened = contextlib.nullcontext(stream) if isinstance(stream, io.BytesIO) else stream.open("rb")
    with opened as file, warnings.catch_warnings():
        # pydicom's warnings can quote what stands in the file; Pillow's stands for a bomb inside a JPEG.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            _check_syntax(file, name)
            file.seek(0)
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=list(_TAGS))
            frames = _check_header(header, index, name, max_pixels)
            file.seek(0)
            pixels = _eight_bit(pydicom.pixels.pixel_array(file, index=index), header)
        except (UnreadableImageError, UsageError):
            raise
        except Exception:
            # Not chained: the text of pydicom's errors can quote what stands in the file.
            raise UnreadableImageError(
                f"{name} is a DICOM file that is damaged, cut short or coded in an unusual way.", _EXPORT
            ) from None
        spacing_mm = None
        # Malformed elements: the size of a pixel is unknown, but the image is there.
        with contextlib.suppress(AttributeError, TypeError, ValueError):
            spacing_mm = _spacing(header)
        return pixels, spacing_mm, frames


def _check_syntax(file: Any, name: str) -> None:
    from pydicom.filereader import read_dataset, read_preamble
    from pydicom.pixels import get_decoder
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    # Not through dcmread, which would inflate a deflated file, of whatever size, before we can refuse it.
    file.seek(0)
    read_preamble(file, force=False)
    meta = read_dataset(
        file, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag.group != 2
    )
    syntax = meta.TransferSyntaxUID
    try:
        readable = syntax != DeflatedExplicitVRLittleEndian and get_decoder(syntax).is_available
    except NotImplementedError:
        readable = False
    if not readable:
        raise UnreadableImageError(
            f"{name} is a DICOM file in a compression that cannot be read ({syntax.name}).", _EXPORT
        )


def _check_header(header: Dataset, index: int, name: str, max_pixels: int) -> int:
    if not header.get("Rows") or not header.get("Columns"):
        raise UnreadableImageError(
            f"{name} is a DICOM file without an image.", "Choose the file that holds the image or clip."
        )
    if header.Rows * header.Columns > max_pixels:
        raise UnreadableImageError(
            f"{name} is far too large ({header.Columns}×{header.Rows} pixels).",
            f"Use an image of at most {max_pixels // 1_000_000} million pixels.",
        )
    if header.get("PhotometricInterpretation") not in (*_GREY, *_COLOUR, "PALETTE COLOR"):
        raise UnreadableImageError(f"{name} is a DICOM file whose colours are coded unusually.", _EXPORT)
    frames = max(1, int(header.get("NumberOfFrames") or 1))
    check_index(index, frames, name)
    return frames


def check_index(index: int, frames: int, name: str) -> None:
    """Raise UsageError unless a file of so many frames has one of this index."""
    if not 0 <= index < frames:
        raise UsageError(
            f"{name} has no frame number {index + 1}, counted from 1.",
            f"It has {frames}." if frames > 1 else "It has one.",
        )


def _eight_bit(stored: np.ndarray, header: Dataset) -> np.ndarray:
    from pydicom.pixels import apply_color_lut, apply_rescale, apply_windowing

    photometric = header.PhotometricInterpretation
    if photometric == "PALETTE COLOR":
        colours = apply_color_lut(stored, header)
        return colours if colours.dtype == np.uint8 else np.round(colours / 257.0).astype(np.uint8)
    bits = header.BitsStored
    if photometric in _COLOUR:
        return stored if stored.dtype == np.uint8 else _scaled(stored, 0, 2**bits - 1)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if header.PixelRepresentation else (0, 2**bits - 1)
    slope, intercept = float(header.get("RescaleSlope") or 1), float(header.get("RescaleIntercept") or 0)
    values = apply_rescale(stored, header)
    # A file may offer several windows; the first is the one to show.
    if np.ravel(header.get("WindowWidth") or 0)[0] >= 1 and header.get("WindowCenter") is not None:
        # It maps the window onto the whole range of the stored values.
        values = apply_windowing(values, header)
    grey = _scaled(values, low * slope + intercept, high * slope + intercept)
    return 255 - grey if photometric == "MONOCHROME1" else grey


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip(np.round((values - float(low)) * (255.0 / (high - low))), 0, 255).astype(np.uint8)


def _spacing(header: Dataset) -> tuple[float, float] | None:
    """Return (rows, columns) in mm: of the largest ultrasound region, else as radiographs give it.

    None where the largest region is not in centimetres on both axes, or where another region at least
    half as large has a scale of its own (a split screen): one size would be wrong on part of the image.
    """
    regions = header.get("SequenceOfUltrasoundRegions")
    if regions:
        ranked = sorted(((_area(region), _region_spacing(region)) for region in regions), key=lambda r: -r[0])
        largest, spacing = ranked[0]
        rivals = [other for area, other in ranked if 2 * area >= largest]
        known = None not in rivals and np.allclose(rivals, spacing, rtol=0.01)
        return spacing if known else None
    for keyword in ("PixelSpacing", "ImagerPixelSpacing"):
        if values := header.get(keyword):
            return _positive(*values)
    return None


def _area(region: Dataset) -> int:
    width = region.get("RegionLocationMaxX1", 0) - region.get("RegionLocationMinX0", 0)
    height = region.get("RegionLocationMaxY1", 0) - region.get("RegionLocationMinY0", 0)
    return max(0, width) * max(0, height)


def _region_spacing(region: Dataset) -> tuple[float, float] | None:
    units = (region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection"))
    if units != (_CENTIMETRE, _CENTIMETRE):
        return None
    # The sign only says which way an axis points.
    across, down = abs(region.get("PhysicalDeltaX") or 0), abs(region.get("PhysicalDeltaY") or 0)
    return _positive(down * 10, across * 10)


def _positive(row: Any, column: Any) -> tuple[float, float] | None:
    spacing = (float(row), float(column))
    return spacing if all(math.isfinite(value) and value > 0 for value in spacing) else None
