"""Many image files: overlays, masks in any format, JSON lines, a table for programs, a page for people."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from busi_unet.config import CLASS_NAMES
from busi_unet.errors import BusiUNetError, first_line
from busi_unet.imaging.burnt_in import text_boxes, text_remark
from busi_unet.imaging.formats import Result, RunFiles, check_formats
from busi_unet.imaging.measure import percent
from busi_unet.imaging.quality import image_warnings
from busi_unet.inference.predictor import Predictor
from busi_unet.io.decode import read_image
from busi_unet.io.files import check_ours, note_written, table_bytes, write_ours
from busi_unet.io.find_images import ImageFile
from busi_unet.io.html import render

JSON_LINES_NAME, _TABLE_NAME, _REPORT_NAME = "predictions.jsonl", "predictions.csv", "report.html"
FLAGGED = "Flagged: the malignant probability is above the alert threshold."
COLUMNS = (
    *("image", "frame", "frames", "label", *(f"p_{name}" for name in CLASS_NAMES)),
    *("flagged", "prediction_set", "refused", "remarks"),
    *("width", "height", "lesions", "lesion_area_px", "lesion_area_mm2"),
    *("longest_diameter_px", "longest_diameter_mm", "mask", "overlay", "text_boxes"),
)
RECORD = (
    *("image", "frame", "frames", "error", "label", "flagged"),
    *("probabilities", "calibrated", "prediction_set", "coverage"),
    *("refused", "reasons", "remarks", "height", "width", "lesion_area_px", "measurements", "warnings"),
    *("mask", "overlay", "text_boxes", "files", "not_written", "clip"),
)
"""The keys of each record of `predict_files`."""


def predict_files(
    predictor: Predictor,
    files: Iterable[ImageFile],
    output: Path,
    *,
    anyway: bool = False,
    predict: Callable[[Predictor, ImageFile, RunFiles, bool], dict[str, Any]] | None = None,
    formats: Sequence[str] = ("png",),
    model: str = "",
) -> Iterator[dict[str, Any]]:
    """Predict image files one by one and write an overlay, the formats asked for and a JSON line for each.

    A file that cannot be used gives a record with its error and never stops the rest.

    Args:
        predictor: loaded.
        files: as `find_images` lists them.
        output: folder for `NAME_overlay.png` (original beside overlay), the files of the formats,
            `predictions.jsonl`, and `written.sha256`, by which later runs know what they may replace; created
            where missing. What a format has one file for is written when the run ends or is stopped.
        anyway: analyse images that are refused, too; they stay marked.
        predict: what is done with a file: `predict_file`, which takes the first frame of a clip, or
            `clip.predict_all_frames`.
        formats: names of `FORMATS`; `png` writes `NAME_mask.png` (0 or 255, the image's size).
        model: what the formats say of the weights.

    Yields:
        A record per file, JSON-ready, always with the same keys: `image`, `error` or None, the entries of
        `Prediction.to_dict`, `warnings` about the image, the `text_boxes` of `imaging.burnt_in`, the names of
        `mask`, `overlay` and all `files` of the formats in the output folder, why it was `not_written` in one
        of them, and `clip` where all frames were analysed. What there is not is None; a refused image has no
        file of a format.

    Raises:
        UsageError: no such format; or it would replace a file that no earlier run wrote. Nothing is written.
        MissingDependencyError: a format needs a package that is not installed.
    """
    files = list(files)
    check_formats(formats)
    run = RunFiles(output, formats, model)
    names = [name for file in files if not file.problem for name in _names(file, run)]
    check_ours(output, (JSON_LINES_NAME, _TABLE_NAME, _REPORT_NAME, *run.joined_names, *names))
    output.mkdir(parents=True, exist_ok=True)
    written = hashlib.sha256()
    note_written(output, JSON_LINES_NAME, written.hexdigest())
    with contextlib.closing(run), (output / JSON_LINES_NAME).open("wb") as lines:
        for file in files:
            try:
                found = (predict or predict_file)(predictor, file, run, anyway)
            except BusiUNetError as error:
                found = {"error": str(error)}
            except OSError as error:
                reason = error.strerror or first_line(error)
                found = {"error": f"{file.shown} could not be read or written ({reason})."}
            record = {**dict.fromkeys(RECORD), "image": file.shown, **found}
            line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
            written.update(line)
            note_written(output, JSON_LINES_NAME, written.hexdigest())
            lines.write(line)
            # So that a stopped run keeps what it has done.
            lines.flush()
            yield record


def _names(file: ImageFile, run: RunFiles) -> list[str]:
    """Return the names of all files that may be written of an image."""
    kinds = ("overlay.png", "overlay.webp", "frames.csv")
    return [*(f"{file.name}_{kind}" for kind in kinds), *run.names(file.name)]


def predict_file(
    predictor: Predictor, file: ImageFile, run: RunFiles, anyway: bool, *, index: int = 0
) -> dict[str, Any]:
    """Predict a file, of a clip the frame of an index from 0; return its record. See `predict_files`."""
    if file.problem:
        raise BusiUNetError(file.problem)
    image = read_image(file.path, index=index, name=file.shown)
    prediction = predictor.predict(image, anyway=anyway)
    overlay, mask = f"{file.name}_overlay.png", f"{file.name}_mask.png"
    write_ours(run.folder, overlay, _png(prediction.overlay(beside=True)))
    boxes = text_boxes(image.pixels)
    warnings = () if prediction.label is None else image_warnings(image)
    files, not_written = run.write(Result(file.name, file.shown, prediction, image, file.path, run.model))
    return {
        **prediction.to_dict(),
        # A refused image may be shared, too.
        "warnings": [*warnings, *filter(None, [text_remark(boxes, image.pixels.shape)])],
        "mask": mask if mask in files else None,
        "overlay": overlay,
        "text_boxes": [list(box) for box in boxes],
        "files": files,
        "not_written": not_written,
    }


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def write_summary(records: Sequence[Mapping[str, Any]], output: Path, *, model: str, date: str) -> None:
    """Write `predictions.csv` and `report.html`, which loads nothing from elsewhere, beside the overlays.

    Args:
        records: of `predict_files`, all of them or those of a run that was stopped.
        output: the folder they were written to.
        model: what the report says of the weights.
        date: as the report shows it.
    """
    rows = [table_row(record) for record in records]
    write_ours(output, _TABLE_NAME, table_bytes(rows, COLUMNS))
    page = render(
        "predictions.html",
        title="Breast ultrasound: automatic analysis",
        outcome=f"{count_by_outcome(records)} {sum(bool(row['flagged']) for row in rows)} flagged.",
        predictions=[(record, row, _answer(record, row)) for record, row in zip(records, rows, strict=True)],
        model=model,
        date=date,
    )
    write_ours(output, _REPORT_NAME, page.encode())


def table_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of `predict_files` as one flat row of `COLUMNS`; what is not known is None.

    Lengths are those of the largest lesion; areas are of all lesions together. `prediction_set` holds its
    classes with blanks between; `text_boxes` left, top, right and bottom of each; `remarks` the error, or the
    reasons of a refusal, a flag, how the file was read, and the warnings about the image.
    """
    row = dict.fromkeys(COLUMNS)
    row["image"] = record["image"]
    if record["error"]:
        row["remarks"] = record["error"]
        return row
    row |= {
        name: record[name]
        for name in (
            *("frame", "frames", "width", "height"),
            *("refused", "lesion_area_px", "mask", "overlay"),
        )
    }
    remarks = [*record["not_written"], *record["reasons"], *record["remarks"], *record["warnings"]]
    row["text_boxes"] = "; ".join(",".join(map(str, box)) for box in record["text_boxes"] or ()) or None
    if record["label"] is not None:
        lesions = record["measurements"]
        row |= {f"p_{name}": record["probabilities"][name] for name in CLASS_NAMES}
        row |= {"label": record["label"], "lesions": len(lesions), "flagged": record["flagged"]}
        if record["prediction_set"] is not None:
            row["prediction_set"] = " ".join(record["prediction_set"])
        if record["flagged"]:
            remarks.insert(0, FLAGGED)
        if lesions:
            row["longest_diameter_px"] = lesions[0]["longest_diameter_px"]
            row["longest_diameter_mm"] = lesions[0]["longest_diameter_mm"]
            if lesions[0]["area_mm2"] is not None:
                row["lesion_area_mm2"] = sum(lesion["area_mm2"] for lesion in lesions)
    row["remarks"] = " ".join(remarks)
    return row


def summary_line(record: Mapping[str, Any]) -> str:
    """Return a record of `predict_files` as one line for people."""
    row = table_row(record)
    # Most errors name the file already.
    if record["error"] and record["image"] in record["error"]:
        return record["error"]
    parts = [f"{record['image']}:", _answer(record, row), row["remarks"]]
    return " ".join(filter(None, parts))


def count_by_outcome(records: Sequence[Mapping[str, Any]]) -> str:
    """Return how many images had which outcome, as one sentence."""
    outcomes = Counter("failed" if record["error"] else record["label"] for record in records)
    anyway = sum(bool(record["refused"]) for record in records) - outcomes[None]
    listed = [f"{outcomes[name]} {name}" for name in CLASS_NAMES if outcomes[name]]
    if outcomes[None]:
        listed.append(f"{outcomes[None]} not analysed")
    if anyway:
        listed.append(f"{anyway} of them analysed anyway")
    if outcomes["failed"]:
        listed.append(f"{outcomes['failed']} that could not be used")
    total = f"{len(records)} image{'' if len(records) == 1 else 's'}"
    return f"{total}: {', '.join(listed)}." if listed else f"{total}."


def _answer(record: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """Return class, probabilities and what was outlined, in sentences; empty for a file that failed."""
    if record["error"]:
        return ""
    if record["label"] is None:
        return "Not analysed."
    classes = ", ".join(f"{name} {percent(value)}" for name, value in record["probabilities"].items())
    found = f"{row['lesions']} lesion{'' if row['lesions'] == 1 else 's'} outlined"
    if row["lesions"]:
        in_mm = row["longest_diameter_mm"] is not None
        area = f"{row['lesion_area_mm2']:,.1f} mm²" if in_mm else f"{row['lesion_area_px']:,} px²"
        length = f"{row['longest_diameter_mm']:.1f} mm" if in_mm else f"{row['longest_diameter_px']:,.0f} px"
        found += f"; area {area}, longest diameter {length}"
    anyway = "Refused, analysed anyway. " if record["refused"] else ""
    sets = ""
    if record["prediction_set"] is not None:
        sets = f" {percent(record['coverage'])} prediction set: {', '.join(record['prediction_set'])}."
    return f"{anyway}{record['label'].capitalize()} ({classes}).{sets} {found}."
