"""The records of a run in other forms: a table for programs, a page and lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from busi_unet.config import CLASS_NAMES
from busi_unet.imaging.measure import percent, quantity
from busi_unet.io.files import write_ours
from busi_unet.io.html import render
from busi_unet.io.tables import table_lines

_TABLE_NAME, _REPORT_NAME = SUMMARY_NAMES = ("predictions.csv", "report.html")
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
MOST_ON_PAGE = 1000
_SAMPLE = 100


def write_summary(records: Iterable[Mapping[str, Any]], output: Path, *, model: str, date: str) -> None:
    """Write `predictions.csv` and `report.html`, which loads nothing from elsewhere, beside the overlays.

    Of more than 1,000 images the page shows those that are flagged, refused or could not be used, the first
    1,000 of them at most, and an even sample of 100 of the others.

    Args:
        records: of `predict_files`, all of them or those of a run that was stopped; looped over repeatedly.
        output: the folder they were written to.
        model: what the report says of the weights.
        date: as the report shows it.
    """
    write_ours(output, _TABLE_NAME, table_lines(map(table_row, records), COLUMNS))
    total = sum(1 for _ in records)
    shown = list(records if total <= MOST_ON_PAGE else _selected(records, total))
    rows = [table_row(record) for record in shown]
    page = render(
        "predictions.html",
        title="Breast ultrasound: automatic analysis",
        outcome=f"{count_by_outcome(records)} {sum(bool(record['flagged']) for record in records)} flagged.",
        left_out=total - len(shown),
        predictions=[(record, row, _answer(record, row)) for record, row in zip(shown, rows, strict=True)],
        model=model,
        date=date,
    )
    write_ours(output, _REPORT_NAME, page.encode())


def _selected(records: Iterable[Mapping[str, Any]], total: int) -> Iterator[Mapping[str, Any]]:
    unusual = 0
    for number, record in enumerate(records):
        is_unusual = bool(record["error"] or record["refused"] or record["flagged"])
        unusual += is_unusual
        if (is_unusual and unusual <= MOST_ON_PAGE) or number % (total // _SAMPLE) == 0:
            yield record


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
    copied = ("frame", "frames", "width", "height", "refused", "lesion_area_px", "mask", "overlay")
    row |= {name: record[name] for name in copied}
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
    return " ".join(filter(None, [f"{record['image']}:", _answer(record, row), row["remarks"]]))


def count_by_outcome(records: Iterable[Mapping[str, Any]]) -> str:
    """Return how many images had which outcome, as one sentence; loops over the records repeatedly."""
    outcomes = Counter("failed" if record["error"] else record["label"] for record in records)
    anyway = sum(bool(record["refused"]) for record in records) - outcomes[None]
    listed = [f"{outcomes[name]} {name}" for name in CLASS_NAMES if outcomes[name]]
    if outcomes[None]:
        listed.append(f"{outcomes[None]} not analysed")
    if anyway:
        listed.append(f"{anyway} of them analysed anyway")
    if outcomes["failed"]:
        listed.append(f"{outcomes['failed']} that could not be used")
    count = outcomes.total()
    total = f"{count} image{'' if count == 1 else 's'}"
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
        unit = "px" if row["longest_diameter_mm"] is None else "mm"
        area = quantity(row["lesion_area_px" if unit == "px" else "lesion_area_mm2"], unit=f"{unit}²")
        found += f"; area {area}, longest diameter {quantity(row[f'longest_diameter_{unit}'], unit=unit)}"
    anyway = "Refused, analysed anyway. " if record["refused"] else ""
    sets = ""
    if record["prediction_set"] is not None:
        sets = f" {percent(record['coverage'])} prediction set: {', '.join(record['prediction_set'])}."
    return f"{anyway}{record['label'].capitalize()} ({classes}).{sets} {found}."
