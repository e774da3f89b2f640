"""Files that the page shows or a visitor takes home."""

from __future__ import annotations

import re
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from gradio.utils import get_upload_folder
from PIL import Image

from busi_unet.app import text
from busi_unet.config import CLASS_NAMES
from busi_unet.errors import UsageError
from busi_unet.io.decode import EXTENSIONS


def cache_folder() -> Path:
    """Return the one folder that Gradio serves files from, and empties when their time is up."""
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def answer_folder() -> Path:
    """Return a new folder in it."""
    return Path(tempfile.mkdtemp(prefix="answer-", dir=cache_folder()))


def result_name(upload: str) -> str:
    """Return the name of the results of an upload, without ending: its letters, digits, `.`, `_` and `-`."""
    path = Path(upload)
    # A DICOM file may be named by a number with points, which are no ending.
    stem = path.stem if path.suffix.lower() in EXTENSIONS else path.name
    return re.sub(r"[^\w.-]+", "_", stem)[:80].strip("._") or "image"


def as_file(image: Image.Image, name: str) -> str:
    """Write an image as `name`.png for the page; return its path.

    Gradio would pack it itself, and take longer for it than the network for its answer; this packs lightly.
    """
    path = answer_folder() / f"{name}.png"
    image.save(path, compress_level=1)
    return str(path)


def write_training_pair(
    folder: Path, name: str, *, frame: np.ndarray, mask: np.ndarray, label: str | None
) -> Path:
    """Write a zip with `LABEL/NAME.png` and `LABEL/NAME_mask.png`, laid out as BUSI is.

    Args:
        folder: an existing folder.
        name: of the image, without ending.
        frame: uint8 (H, W).
        mask: bool (H, W); an image without a lesion has an empty one.
        label: one of `CLASS_NAMES`.

    Returns:
        The path of the zip.

    Raises:
        UsageError: no such class.
    """
    if label not in CLASS_NAMES:
        raise UsageError(text.NO_PAIR_CLASS, f"Choose {', '.join(CLASS_NAMES)}.")
    path = folder / f"{name}_training-pair.zip"
    with zipfile.ZipFile(path, "w") as zip_file:
        for stem, image in ((name, Image.fromarray(frame)), (f"{name}_mask", mask_image(mask))):
            with zip_file.open(f"{label}/{stem}.png", "w") as file:
                image.save(file, "PNG")
    return path


def mask_image(mask: np.ndarray) -> Image.Image:
    """Return a bool mask (H, W) as an image of 0 and 255."""
    return Image.fromarray(mask.astype(np.uint8) * 255)
