"""Predictions of many image files, written to a folder: `busi-unet predict` and the page's batch tab."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from busi_unet.errors import BusiUNetError, first_line
from busi_unet.imaging.quality import image_warnings
from busi_unet.inference.batch_summary import flagged_beside, write_report, write_table
from busi_unet.inference.prediction import Prediction
from busi_unet.inference.predictor import Predictor
from busi_unet.io.decode import DecodedImage, read_image
from busi_unet.io.find_images import ImageFile

JSON_LINES_NAME = "predictions.jsonl"
TABLE_NAME = "predictions.csv"
REPORT_NAME = "report.html"


@dataclass(frozen=True)
class FileResult:
    """One image file and what became of it.

    Attributes:
        record: JSON-ready; `image`, and either `error` or the entries of `Prediction.to_dict` with `warnings`
            about the image and the paths of `mask` and `overlay`.
        name: of the files written for it, without ending.
    """

    record: dict[str, Any]
    name: str = ""

    @property
    def failed(self) -> bool:
        return "error" in self.record

    def json_line(self) -> str:
        """Return the record on one line."""
        return json.dumps(self.record, ensure_ascii=False)

    def summary(self) -> str:
        """Return one line for people."""
        record = self.record
        if "error" in record:
            # Most errors name the file already.
            return (
                record["error"]
                if record["image"] in record["error"]
                else f"{record['image']}: {record['error']}"
            )
        reasons = " ".join(record["reasons"])
        if record["label"] is None:
            return f"{record['image']}: not analysed. {reasons}"
        classes = ", ".join(f"{name} {value:.1%}" for name, value in record["probabilities"].items())
        lesions = len(record["measurements"])
        found = f"{lesions} lesion{'s' if lesions != 1 else ''}, {record['lesion_area_px']} px"
        flagged = "; flagged" if flagged_beside(record) else ""
        refused = f"; analysed anyway: {reasons}" if record["refused"] else ""
        return f"{record['image']}: {record['label']} ({classes}){flagged}; {found}{refused}"


def predict_files(
    predictor: Predictor,
    files: Iterable[ImageFile],
    output: Path,
    *,
    anyway: bool = False,
    relative: bool = False,
) -> Iterator[FileResult]:
    """Predict image files one by one and write a mask, an overlay and a JSON line for each.

    A file that cannot be used gives a result with its reason and never stops the rest. Of a DICOM clip the
    first frame is taken.

    Args:
        predictor: loaded.
        files: as `find_images` lists them.
        output: folder for `NAME_mask.png` (0 or 255, the image's size), `NAME_overlay.png` (original beside
            overlay) and `predictions.jsonl`; created where missing.
        anyway: analyse images that are refused, too; their results stay marked.
        relative: whether records name masks and overlays from inside the output, for a folder that moves.

    Yields:
        A result per file, in order.
    """
    output.mkdir(parents=True, exist_ok=True)
    place = Path() if relative else output
    with (output / JSON_LINES_NAME).open("w", encoding="utf-8") as lines:
        for file in files:
            try:
                image = _decoded(file)
                prediction = predictor.predict(image.pixels, spacing_mm=image.spacing_mm, anyway=anyway)
                record = _write(output, file.name, image, prediction, place)
            except BusiUNetError as error:
                record = {"error": str(error)}
            result = FileResult({"image": file.shown, **record}, file.name)
            lines.write(result.json_line() + "\n")
            # So that a stopped run keeps what it has done.
            lines.flush()
            yield result


def write_summary(results: Sequence[FileResult], output: Path, *, model: str, date: str) -> None:
    """Write `predictions.csv` and `report.html` of the results that `predict_files` wrote to a folder.

    Args:
        results: all of them, or those of a run that was stopped.
        output: the folder.
        model: what the report says of the weights.
        date: as the report shows it.
    """
    records = []
    for result in results:
        record = dict(result.record)
        if not result.failed:
            record |= {"mask": _mask_name(result.name), "overlay": _overlay_name(result.name)}
        records.append(record)
    write_table(records, output / TABLE_NAME)
    write_report(records, output / REPORT_NAME, model=model, date=date)


def _decoded(file: ImageFile) -> DecodedImage:
    if file.problem:
        raise BusiUNetError(file.problem)
    try:
        return read_image(file.path, name=file.shown)
    except OSError as error:
        raise BusiUNetError(f"{file.shown} could not be read ({first_line(error)}).") from error


def _write(
    output: Path, name: str, image: DecodedImage, prediction: Prediction, place: Path
) -> dict[str, Any]:
    mask, overlay = _mask_name(name), _overlay_name(name)
    Image.fromarray(prediction.mask.astype(np.uint8) * 255).save(output / mask)
    prediction.overlay(beside=True).save(output / overlay)
    return {
        **prediction.to_dict(),
        "warnings": list(image_warnings(image)),
        "mask": str(place / mask),
        "overlay": str(place / overlay),
    }


def _mask_name(name: str) -> str:
    return f"{name}_mask.png"


def _overlay_name(name: str) -> str:
    return f"{name}_overlay.png"
