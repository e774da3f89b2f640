"""The readers that `fuzz` tries, and second readers to compare them with."""

from __future__ import annotations

import subprocess
import unicodedata
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
from PIL import Image

from busi_unet.data.reading import read_source
from busi_unet.errors import BusiUNetError
from busi_unet.io.decode import decode_image, read_image
from busi_unet.io.find_images import find_images
from busi_unet.io.masks import read_mask
from busi_unet.io.tables import read_table

SECONDS = 10.0
_LOSSY = ("JPEG", "WEBP", "DICOM, packed", "TIFF")

# The remarks with which a file may be read otherwise than by a second reader.
JUSTIFIED = (
    *("All values fit into", "The colours follow the JPEG", "The entries of the file's palette"),
    *("these were trusted", "window or lookup table does not fit", "rescale"),
    *("HighBit contradicts", "bit depth in the file", "colours have a sign", "ransparent"),
    *("departs from the DICOM standard", "metadata is damaged", "This is page", "black or white"),
    *("fax compression", "a zip inside a zip"),
    "damaged in the archive",
)


class Found(NamedTuple):
    """What a reader did with a file: `what` is read, refused, crash, hang or memory."""

    what: str
    value: Any = None  # to compare: pixels, cells of a table, number of rows
    remarks: tuple[str, ...] = ()
    text: str = ""  # the error
    seconds: float = 0.0


# --- Our readers ---------------------------------------------------------------------------------


def read(kind: str, path: Path) -> Found:
    """Read a file as `predict` or `prepare` would."""
    if kind == "zip of images":
        return _zip_of_images(path)
    if kind == "zip of a data set":
        return _source(path, path.parent / "scratch")
    if kind in ("table", "COCO JSON"):
        found = _source(path.parent, path.parent / "scratch")
        return found._replace(value=_cells(path)) if kind == "table" and found.what == "read" else found
    if kind == "mask":
        mask = read_mask(path)
        return Found("read", mask.pixels, (mask.remark,) if mask.remark else ())
    image = read_image(path)
    return Found("read", image.pixels, image.remarks)


def _zip_of_images(path: Path) -> Found:
    scratch = path.parent / "scratch"
    scratch.mkdir()
    rows = find_images([path], scratch, max_bytes=2**28, show=lambda given: given.name)
    problems = [row.problem.replace(row.shown, "an entry") for row in rows if row.problem]
    for row in rows:
        if not row.problem:
            try:
                read_image(row.path, name="an entry")
            except BusiUNetError as error:
                problems.append(str(error))
    assert len({row.name.casefold() for row in rows}) == len(rows), "two results of one name"
    what = "refused" if len(problems) == len(rows) else "read"
    return Found(what, len(rows), tuple(problems), " ".join(problems))


def _source(given: Path, scratch: Path) -> Found:
    scratch.mkdir()
    source = read_source(str(given), scratch)
    text = "\n".join(source.problems)
    return Found("refused" if text else "read", None, tuple(source.warnings), text)


def _cells(path: Path) -> list[list[str]] | None:
    rows = read_table(path, ())
    return [list(rows[0]), *(list(row.values()) for row in rows)] if rows else None


# --- Second readers ------------------------------------------------------------------------------


def read_again(kind: str, path: Path) -> Any:
    """Return what a second reader makes of a file, in the form of `Found.value`; None where it does not."""
    if kind == "zip of images":
        return _unzipped(path)
    if kind == "table":
        return _by_pandas(path)
    if kind.startswith("DICOM"):
        return _by_dcmtk(path)
    content = path.read_bytes()
    # OpenCV does not look for the pixels of a BMP whose header names no place for them.
    unread = _is_inverted_16_bit_tiff(path) or (content[:2] == b"BM" and not any(content[10:14]))
    pixels = None if unread else _by_opencv(content)
    if pixels is None:
        return None
    return read_mask(pixels).pixels if kind == "mask" else decode_image(pixels)


def _is_inverted_16_bit_tiff(path: Path) -> bool:
    """Return whether white is zero in a file, as OpenCV does not notice at this depth."""
    if path.suffix != ".tiff":
        return False
    with Image.open(path) as image:
        return image.mode.startswith("I;16") and image.tag_v2.get(262) == 0


def _by_opencv(content: bytes) -> np.ndarray | None:
    data = np.frombuffer(content, np.uint8)
    pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if pixels is None:
        return None
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        return np.ascontiguousarray(pixels[..., [2, 1, 0, 3]])
    # Unlike the other one, turned by EXIF.
    pixels = cv2.imdecode(data, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    return np.ascontiguousarray(pixels[..., ::-1]) if pixels.ndim == 3 else pixels


def _by_dcmtk(path: Path) -> np.ndarray | None:
    # By lookup table, else by window, else by all that can be stored.
    for option in (["+Wl", "1"], ["+Wi", "1"], ["-W"]):
        command = ["dcmj2pnm", "-q", *option, str(path)]
        done = subprocess.run(command, capture_output=True, timeout=SECONDS)
        if done.returncode == 0:
            return decode_image(_by_opencv(done.stdout))
    return None


def _by_pandas(path: Path) -> list[list[str]]:
    header = path.read_text(encoding="utf-8-sig").partition("\n")[0]
    options = {"sep": max(",;\t", key=header.count), "encoding": "utf-8-sig", "keep_default_na": False}
    table = pd.read_csv(path, header=None, dtype=str, **options)
    rows = [[unicodedata.normalize("NFC", str(cell).strip()) for cell in row] for row in table.to_numpy()]
    return [[cell.lower() for cell in rows[0]], *(row for row in rows[1:] if any(row))]


def _unzipped(path: Path) -> int | None:
    target, scratch = path.parent / "unzipped", path.parent / "again"
    scratch.mkdir()
    command = ["unzip", "-qq", "-n", "-P", "", str(path), "-d", str(target)]
    done = subprocess.run(command, capture_output=True, timeout=SECONDS)
    return len(find_images([target], scratch)) if done.returncode == 0 else None


def agree(kind: str, ours: Any, other: Any) -> bool:
    """Return whether two readings are the same, but for rounding and the decoders of lossy formats."""
    if kind == "zip of images":
        return ours >= other
    if not isinstance(ours, np.ndarray) or ours.dtype == bool:
        return np.array_equal(ours, other) if isinstance(ours, np.ndarray) else ours == other
    if ours.shape != other.shape:
        return False
    gap = np.abs(ours.astype(int) - other)
    return gap.max() <= 2 or (kind in _LOSSY and gap.mean() < 3 and np.quantile(gap, 0.98) <= 12)
