"""One frame of a DICOM file and the size of its pixels.

Nothing about the patient is read, but by `read_header`: results in DICOM have to name the patient, and
images of different patients must not be mixed.
"""

from __future__ import annotations

import contextlib
import io
import re
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import Image

from busi_unet.errors import BusiUNetError, MissingDependencyError, UnreadableImageError
from busi_unet.io.dicom_pixels import read_pixels
from busi_unet.io.loaded import Loaded, check_index, check_size
from busi_unet.io.scale import read_scale

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_PREAMBLE = bytes(128) + b"DICM"
_HEAD_BYTES = len(_PREAMBLE) + 12
# The only elements that are parsed; whatever names a patient is skipped over.
_TAGS = [
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PlanarConfiguration"),
    *("RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    *("ModalityLUTSequence", "VOILUTSequence", "PixelAspectRatio"),
    *(f"{colour}PaletteColorLookupTable{part}" for colour in ("Red", "Green", "Blue")
      for part in ("Descriptor", "Data")),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in ("Red", "Green", "Blue")),
    *("SequenceOfUltrasoundRegions", "PixelSpacing", "ImagerPixelSpacing"),
]  # fmt: skip
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_EXPLICIT, _IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
# The first elements of data sets: length, specific characters, type, instance, dates.
_FIRST_ELEMENTS = (0x00, 0x01, 0x05, 0x08, 0x12, 0x13, 0x14, 0x16, 0x18, 0x20)
_VALUE_TYPES = (b"UL", b"CS", b"UI", b"DA", b"TM", b"SH")
# Of single values, such as numbers of too many digits; those that do not serve get remarks of their own.
_HARMLESS = re.compile("The value length|Invalid value for VR")
# warnings.catch_warnings is not safe between threads.
_LOCK = threading.Lock()
_EXPORT = "Export the image again, uncompressed or as JPEG, RLE or PNG."


def is_dicom(content: Path | bytes) -> bool:
    """Return whether a file starts as DICOM does, with or without preamble and file meta information."""
    with _opened(content) as file:
        return _missing_start(file.read(_HEAD_BYTES)) is not None


def _opened(content: Path | bytes) -> BinaryIO:
    return content.open("rb") if isinstance(content, Path) else io.BytesIO(content)


def _missing_start(head: bytes) -> bytes | None:
    """Return what a DICOM file that starts so lacks of what Part 10 asks; None if it is no DICOM file."""
    if head[128:132] == b"DICM":
        return b""
    if head[:6] == b"\x02\0\0\0UL":
        return _PREAMBLE
    explicit = head[4:6] in _VALUE_TYPES
    if len(head) < 16 or head[:2] != b"\x08\0" or head[2] not in _FIRST_ELEMENTS or head[3]:
        return None
    if not explicit and int.from_bytes(head[4:8], "little") > 128:
        return None
    syntax = (_EXPLICIT if explicit else _IMPLICIT).encode()
    syntax += b"\0" * (len(syntax) % 2)
    return _PREAMBLE + b"\x02\0\x10\0UI" + len(syntax).to_bytes(2, "little") + syntax


def read_dicom(content: Path | bytes, *, index: int, name: str) -> Loaded:
    """Read one frame; of a clip, no other frame is decoded.

    MONOCHROME1 is turned the usual way round, palettes and YBR become RGB, and more than 8 bits are
    brought to 8 by the file's own lookup tables or window, else by the fewest usual bits that hold them.
    What the header says is not used where it contradicts the pixels; remarks say so.

    Args:
        content: a file for which `is_dicom` holds.
        index: of the frame, from 0.
        name: how errors name this file.

    Returns:
        Pixels uint8 (H, W) or RGB (H, W, 3), 0 black, and what the file says of them.

    Raises:
        UnreadableImageError: damaged, without an image, too large, or in a form that cannot be decoded.
        UsageError: the file has no frame of this index.
        MissingDependencyError: pydicom is not installed.
    """
    with _LOCK, _whole(content) as file, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        # Pillow's stands for a bomb inside a JPEG.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        remarks: list[str] = []
        try:
            header = _header(file, name, _TAGS)
            frames = _check_header(header, index, name)
            length = _skip_to_value(file, header)
            pixels = read_pixels(file, header, index, length, remarks)
        except BusiUNetError:
            raise
        except Exception:
            # Not chained: the text of pydicom's errors can quote what stands in the file.
            raise UnreadableImageError(
                f"{name} is a DICOM file that is damaged, cut short or coded in an unusual way.", _EXPORT
            ) from None
        spacing_mm, regions, aspect = read_scale(header, remarks)
    if any("pydicom" in each.filename and not _HARMLESS.match(str(each.message)) for each in caught):
        # Not quoted, for the same reason.
        remarks.append("The file departs from the DICOM standard; compare the image with a DICOM viewer.")
    return Loaded(pixels, spacing_mm, frames, regions, aspect, tuple(remarks))


def read_header(content: Path | bytes, *, tags: list[str] | None = None) -> Dataset | None:
    """Return elements of a file before its pixels, those that name the patient too; None if not DICOM.

    Args:
        content: a file.
        tags: names of elements; by default all.

    Raises:
        UnreadableImageError: in a compression that cannot be read; pydicom's own errors where it is damaged.
    """
    if not is_dicom(content):
        return None
    with _whole(content) as file:
        return _header(file, "The file", tags)


@contextlib.contextmanager
def _whole(content: Path | bytes) -> Iterator[BinaryIO]:
    """Open a file as Part 10 has it, with what is missing at its start."""
    with _opened(content) as file:
        missing = _missing_start(file.read(_HEAD_BYTES))
        file.seek(0)
        yield io.BytesIO(missing + file.read()) if missing else file


def _skip_to_value(file: BinaryIO, header: Dataset) -> int:
    """Move from the element of the pixel data to its value; return its length, as stated.

    A file that is coded with value representations but says without, or the reverse, is put right.
    """
    meta, start = header.file_meta, file.read(12)
    syntax, explicit = meta.TransferSyntaxUID, start[4:6] in (b"OB", b"OW", b"UN")
    if explicit == syntax.is_implicit_VR:
        meta.TransferSyntaxUID = _EXPLICIT if explicit else _IMPLICIT
    length = start[8:] if explicit else start[4:8]
    if not explicit:
        file.seek(-4, io.SEEK_CUR)
    if len(start) < 12 or (length == b"\xff" * 4 and not syntax.is_encapsulated):
        raise ValueError
    return int.from_bytes(length, "little" if syntax.is_little_endian else "big")


def _header(file: Any, name: str, tags: list[str] | None) -> Dataset:
    """Read up to the pixels, unless those are in a compression that cannot be read."""
    try:
        from pydicom import dcmread
        from pydicom.filereader import read_dataset, read_preamble
        from pydicom.pixels import get_decoder
        from pydicom.uid import DeflatedExplicitVRLittleEndian
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{name} is a DICOM file; reading one needs pydicom.", 'Run: pip install "busi-unet[dicom]"'
        ) from error

    # Not through dcmread, which would inflate a deflated file, of whatever size, before we can refuse it.
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
    file.seek(0)
    return dcmread(file, stop_before_pixels=True, specific_tags=tags)


def _check_header(header: Dataset, index: int, name: str) -> int:
    if not header.get("Rows") or not header.get("Columns"):
        raise UnreadableImageError(
            f"{name} is a DICOM file without an image.", "Choose the file that holds the image or clip."
        )
    check_size(header.Columns, header.Rows, name)
    if header.get("PhotometricInterpretation") not in (*_GREY, *_COLOUR, "PALETTE COLOR"):
        raise UnreadableImageError(f"{name} is a DICOM file whose colours are coded unusually.", _EXPORT)
    frames = max(1, int(header.get("NumberOfFrames") or 1))
    check_index(index, frames, name)
    return frames
