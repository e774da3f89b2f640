"""Files that a visitor takes home."""

from __future__ import annotations

import functools
import json
import re
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from gradio.utils import get_upload_folder
from PIL import Image

from busi_unet.app import text
from busi_unet.config import CLASS_NAMES
from busi_unet.errors import UsageError
from busi_unet.io.decode import EXTENSIONS, DecodedImage

if TYPE_CHECKING:
    from busi_unet.inference.prediction import Prediction

_FILES = ("mask.png", "overlay.png", "result.json", "report.pdf")
_PAIR = "training-pair.zip"


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


def as_files(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Return the handler with each image of its answer, by name, written as a PNG and replaced by its path.

    Gradio would pack them itself, and take longer for it than the network for its answer; this packs lightly.
    """

    @functools.wraps(handler)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        answer = handler(*args, **kwargs)
        if isinstance(answer, dict):
            return {name: _as_file(value, name) for name, value in answer.items()}
        return tuple(_as_file(value, name) for name, value in answer._asdict().items())

    return wrapped


def _as_file(value: Any, name: str) -> Any:
    if isinstance(value, tuple):
        return tuple(_as_file(part, name) for part in value)
    if not isinstance(value, Image.Image):
        return value
    path = answer_folder() / f"{name}.png"
    value.save(path, compress_level=1)
    return str(path)


def write_downloads(
    folder: Path,
    name: str,
    *,
    frame: DecodedImage,
    prediction: Prediction,
    overlay: Image.Image,
    report: dict[str, Any],
    summary: Sequence[str],
    comparison: Sequence[str],
    model: str,
    date: str,
) -> list[Path]:
    """Write the mask (0 or 255, PNG), the overlay (PNG), the report (JSON) and one page for print (PDF).

    Args:
        folder: an existing folder.
        name: how the names of the files begin.
        frame: what was analysed.
        prediction: its result.
        overlay: RGB, the size of the frame.
        report: JSON-ready; its `warnings` are printed too.
        summary: sentences about the result.
        comparison: sentences about its agreement with a reference mask, if there is one.
        model: what the page for print says of the weights.
        date: as it shall show it.
    """
    # reportlab is needed by whoever prints, not by everyone who opens the page.
    from busi_unet.imaging.reports import pdf_report

    paths = [folder / f"{name}_{kind}" for kind in _FILES]
    _mask_image(prediction.mask).save(paths[0])
    overlay.save(paths[1])
    paths[2].write_text(json.dumps({**report, "date": date}, indent=2) + "\n", encoding="utf-8")
    paths[3].write_bytes(
        pdf_report(
            image=frame.pixels,
            overlay=overlay,
            prediction=prediction.to_dict(),
            corrected=report["corrected_by_hand"],
            model=model,
            date=date,
            summary=summary,
            comparison=comparison,
            warnings=report["warnings"],
        )
    )
    return paths


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
    path = folder / f"{name}_{_PAIR}"
    with zipfile.ZipFile(path, "w") as zip_file:
        for stem, image in ((name, Image.fromarray(frame)), (f"{name}_mask", _mask_image(mask))):
            with zip_file.open(f"{label}/{stem}.png", "w") as file:
                image.save(file, "PNG")
    return path


def _mask_image(mask: np.ndarray) -> Image.Image:
    return Image.fromarray(mask.astype(np.uint8) * 255)
