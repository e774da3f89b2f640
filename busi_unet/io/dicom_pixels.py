"""The pixels of one frame of a DICOM file as they are shown, in 8 bits."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_LIBJPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")  # JPEG baseline and extended
_UNFIT = "The file's window or lookup table does not fit its pixels and was ignored."
_UNFIT_BITS = "The bit depth in the file's header does not fit its pixels and was ignored."
_DEPTHS = (8, 10, 12, 14, 16)


def usual_depth(high: float) -> int:
    """Return the smallest of 8, 10, 12, 14 and 16 bits that holds a value below 2^16."""
    return next(bits for bits in _DEPTHS if high < 2**bits)


def by_depth(values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return integers below 2^16 as uint8, with a remark where they use fewer bits than they have.

    White is that of the fewest usual bits that hold them.
    """
    depth = usual_depth(values.max())
    return _scaled(values, 0, 2**depth - 1), _fewer_bits(depth, min(16, 8 * values.itemsize))


def _fewer_bits(depth: int, bits: int) -> tuple[str, ...]:
    if depth == bits:
        return ()
    return (f"All values fit into {depth} bits, so they were scaled from {depth} bits, not from {bits}.",)


def read_pixels(file: Any, header: Dataset, index: int, length: int, remarks: list[str]) -> np.ndarray:
    """Return a frame as uint8 (H, W) or RGB (H, W, 3), 0 black.

    Args:
        file: at the value of the pixel data.
        header: without the pixel data.
        index: of the frame, from 0.
        length: of the pixel data in bytes, as its element states it.
        remarks: what was not as the header says is added.
    """
    says, samples = header.PhotometricInterpretation, header.SamplesPerPixel
    if samples != (1 if says in ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR") else 3):
        remarks.append(
            f"The file says {says}, which does not fit its {samples} samples per pixel; these were trusted."
        )
    if samples == 3 and header.file_meta.TransferSyntaxUID in _LIBJPEG:
        if (header.BitsAllocated, header.BitsStored, header.get("PixelRepresentation") or 0) != (8, 8, 0):
            remarks.append(_UNFIT_BITS)
        return _jpeg(file, header, index, remarks)
    stored = _stored(file, header, index, length, remarks)
    if header.PhotometricInterpretation == "PALETTE COLOR":
        return _palette(stored, header, remarks)
    if stored.ndim == 3:
        if stored.dtype == np.uint8:
            return stored
        if stored.dtype == np.int8:
            # Ultrasound has no negative values (PS3.3 C.8.5.6).
            remarks.append("The file says that its colours have a sign, which was ignored.")
            return stored.view(np.uint8)
        pixels, more = by_depth(stored)
        remarks += more
        return pixels
    shown = _shown(stored, header, remarks)
    grey = _by_depth(stored, header, remarks) if shown is None else shown
    return 255 - grey if header.PhotometricInterpretation == "MONOCHROME1" else grey


def _jpeg(file: Any, header: Dataset, index: int, remarks: list[str]) -> np.ndarray:
    from pydicom.encaps import get_frame

    frames = int(header.get("NumberOfFrames") or 1)
    image = Image.open(io.BytesIO(get_frame(file, index, number_of_frames=frames)), formats=("JPEG",))
    if image.size != (header.Columns, header.Rows) or len(image.layer) != 3:
        raise ValueError
    says_rgb = header.PhotometricInterpretation == "RGB"
    ids = bytes(component[0] for component in image.layer)
    marked = "adobe_transform" in image.info or "jfif" in image.info or ids.upper() == b"RGB"
    subsampled = len({component[1:3] for component in image.layer}) > 1
    if says_rgb and not marked and not subsampled:
        # Nothing speaks against the header, but libjpeg would take it for YCbCr.
        image.draft("YCbCr", image.size)
        return np.array(image)
    is_rgb = image.info.get("adobe_transform") == 0 or ("jfif" not in image.info and ids.upper() == b"RGB")
    if ids == b"rgb" and is_rgb and "adobe_transform" not in image.info:
        # libjpeg only knows capitals.
        image.draft("YCbCr", image.size)
    if is_rgb != says_rgb:
        remarks.append("The colours follow the JPEG in the file, which contradicts its DICOM header.")
    return np.array(image)


def _stored(file: Any, header: Dataset, index: int, length: int, remarks: list[str]) -> np.ndarray:
    import pydicom.pixels

    options: dict[str, Any] = {"transfer_syntax_uid": header.file_meta.TransferSyntaxUID}
    native = not header.file_meta.TransferSyntaxUID.is_encapsulated
    frames = int(header.get("NumberOfFrames") or 1)
    mislabelled = (
        native
        and header.PhotometricInterpretation == "YBR_FULL_422"
        and length >= 3 * header.Rows * header.Columns * frames * header.BitsAllocated // 8
    )
    if mislabelled:
        options["photometric_interpretation"] = "RGB"
        remarks.append("The file says YBR_FULL_422 but has three bytes per pixel; these were trusted.")
    if header.file_meta.TransferSyntaxUID in _LIBJPEG:
        # GDCM, which pydicom prefers where it is installed, brings the process down on damaged files.
        options["decoding_plugin"] = "pillow"
    in_bytes = header.BitsAllocated == 8
    bits, high_bit = 8 if in_bytes else header.BitsStored, header.get("HighBit")
    shift = high_bit + 1 - bits if high_bit is not None and bits <= high_bit < header.BitsAllocated else 0
    options["bits_stored"] = bits + shift
    file.seek(0)
    stored = pydicom.pixels.pixel_array(file, index=index, **options)
    if mislabelled and np.median(abs(stored[..., 1:] - 128.0)) < 2 < np.median(np.ptp(stored, axis=2)):
        # Grey, which is most of an ultrasound image, is 128 in both colour channels of YBR.
        stored = pydicom.pixels.convert_color_space(stored, "YBR_FULL", "RGB")
    if in_bytes and not stored.max() < 2**header.BitsStored <= 2**8:
        header.BitsStored = 8
        remarks.append(_UNFIT_BITS)
    if not shift:
        return stored
    if stored.max() < 2**bits:
        remarks.append("The file's HighBit contradicts its pixels and was ignored.")
        return stored
    if (stored & (2**shift - 1)).any():
        header.BitsStored = bits + shift
        remarks.append(_UNFIT_BITS)
        return stored
    return stored >> shift


def _palette(stored: np.ndarray, header: Dataset, remarks: list[str]) -> np.ndarray:
    from pydicom.pixels import apply_color_lut

    count, first, bits = header.RedPaletteColorLookupTableDescriptor
    count = count or 2**16
    if "RedPaletteColorLookupTableData" in header:
        tables = [
            _entries(header[f"{colour}PaletteColorLookupTableData"].value, count, header)
            for colour in ("Red", "Green", "Blue")
        ]
        table = np.stack(tables, axis=1)
    else:
        table = apply_color_lut(np.arange(first, first + count), header)
    white = 255 if table.max() < 256 else 65535
    if white < 256 < 2**bits:
        remarks.append("The entries of the file's palette have 8 bits, not 16 as its header says.")
    eight_bit = _scaled(table, 0, white)
    return eight_bit[_places(stored, first, len(table), header)]


def _entries(data: Any, count: int, header: Dataset) -> np.ndarray:
    """Return the entries of a lookup table, which lie in bytes or words."""
    if not isinstance(data, bytes):
        return np.ravel(data)[:count]
    order = "<" if header.file_meta.TransferSyntaxUID.is_little_endian else ">"
    return np.frombuffer(data, f"{order}u2" if len(data) >= 2 * count else "u1")[:count]


def _places(values: np.ndarray, first: int, count: int, header: Dataset) -> np.ndarray:
    """Return which entry of a lookup table belongs to each value."""
    if first >= 2**15 and header.get("PixelRepresentation"):
        first -= 2**16
    return np.clip(values.astype(np.int32) - first, 0, count - 1)


def _look_up(values: np.ndarray, item: Dataset, header: Dataset) -> tuple[np.ndarray, int]:
    """Return the entries of a modality or VOI lookup table for each value, and their depth in bits."""
    count, first, bits = item.LUTDescriptor
    entries = _entries(item.LUTData, count or 2**16, header)
    if bits > 15 or entries.max() >= 2**bits:
        bits = usual_depth(entries.max())
    return entries[_places(values, first, len(entries), header)], bits


def _shown(stored: np.ndarray, header: Dataset, remarks: list[str]) -> np.ndarray | None:
    """Return grey levels by the file's lookup tables or window; None where it has none that can be used."""
    try:
        tables = header.get("ModalityLUTSequence") or header.get("VOILUTSequence")
        return (_by_table if tables else _by_window)(stored, header, remarks)
    except Exception:
        remarks.append(_UNFIT)
        return None


def _rescale(header: Dataset, remarks: list[str]) -> tuple[float, float]:
    slope, intercept = float(header.get("RescaleSlope") or 0), float(header.get("RescaleIntercept") or 0)
    if not np.isfinite(slope + intercept):
        raise ValueError("not a number")
    if slope:
        if slope != 1 and header.get("RescaleIntercept") is None:
            remarks.append("The file has a rescale slope without an intercept, which was taken for 0.")
        return slope, intercept
    if intercept:
        remarks.append("The file has a rescale intercept without a slope, which was ignored.")
    return 1.0, 0.0


def _by_table(stored: np.ndarray, header: Dataset, remarks: list[str]) -> np.ndarray | None:
    if tables := header.get("ModalityLUTSequence"):
        values, bits = _look_up(stored, tables[0], header)
        low, high = 0, 2**bits - 1
    else:
        slope, intercept = _rescale(header, remarks)
        values = np.round(stored * slope + intercept)
        low, high = values.min(), values.max()
    if tables := header.get("VOILUTSequence"):
        values, bits = _look_up(values, tables[0], header)
        low, high = 0, 2**bits - 1
    elif window := _window(header, 1.0, 0.0):
        low, high = window
    grey = _scaled(values, low, high)
    if np.ptp(grey) == 0 and np.ptp(stored) > 0:
        raise ValueError("blank")
    return grey


def _by_window(stored: np.ndarray, header: Dataset, remarks: list[str]) -> np.ndarray | None:
    slope, intercept = _rescale(header, remarks)
    window = _window(header, slope, intercept)
    if window is None:
        return None
    bits, signed = header.BitsStored, bool(header.get("PixelRepresentation"))
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    left, right = sorted(window)
    darkest, brightest = stored.min(), stored.max()
    blank = darkest < brightest and (brightest <= left or darkest >= right)
    if blank or right - left > 2 * (high - low + 1):
        remarks.append(_UNFIT)
        return None
    if left <= low and high <= right and slope > 0 and header.get("VOILUTFunction") != "SIGMOID":
        # All that can be stored: no more than no window says.
        return None
    if header.get("VOILUTFunction") == "SIGMOID":
        middle, width = sum(window) / 2, window[1] - window[0]
        return _scaled(1 / (1 + np.exp(-4 * (stored - middle) / width)), 0, 1)
    return _scaled(stored, *window)


def _window(header: Dataset, slope: float, intercept: float) -> tuple[float, float] | None:
    """Return the stored values that become black and white (PS3.3 C.11.2.1.2), by the first window."""
    if header.get("WindowCenter") is None or header.get("WindowWidth") is None:
        return None
    centre, width = (float(np.ravel(header[key].value)[0]) for key in ("WindowCenter", "WindowWidth"))
    if width <= 0 or not np.isfinite(centre + width):
        raise ValueError("width")
    if header.get("VOILUTFunction", "LINEAR") == "LINEAR":
        centre, width = centre - 0.5, max(width - 1, 1e-3)
    return tuple((centre + side * width / 2 - intercept) / slope for side in (-1, 1))


def _by_depth(stored: np.ndarray, header: Dataset, remarks: list[str]) -> np.ndarray:
    """Return grey levels by `BitsStored`, or by fewer bits where these hold all values."""
    bits = depth = header.BitsStored
    low, high = int(stored.min()), int(stored.max())
    if 8 < bits <= 16:
        # As many bits for values of either sign.
        needed = usual_depth(high) if low >= 0 else usual_depth(2 * max(high, -low - 1))
        # All bits of the words is what files say that do not know; a depth of its own is trusted for a step.
        if needed < bits and (bits == header.BitsAllocated or needed < bits - 2):
            depth = needed
            remarks += _fewer_bits(depth, bits)
    signed = low < 0 or (bits <= 8 and header.get("PixelRepresentation"))
    if header.get("PixelRepresentation") and not signed:
        depth = min(depth, bits - 1)
    black = -(2 ** (depth - 1)) if signed else 0
    return _scaled(stored, black, black + 2**depth - 1)


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    if high == low:
        raise ValueError("no range")
    return np.clip(np.round((values - float(low)) * (255.0 / (high - low))), 0, 255).astype(np.uint8)
