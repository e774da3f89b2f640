"""Many predictions in one table: as CSV for programs, as one HTML page for people."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from busi_unet.config import CLASS_NAMES
from busi_unet.io.html import render

FLAGGED = "Flagged: the malignant probability is above the alert threshold."
COLUMNS = (
    *("image", "label", *(f"p_{name}" for name in CLASS_NAMES)),
    *("flagged", "prediction_set", "refused", "remarks"),
    *("width", "height", "lesions", "lesion_area_px", "lesion_area_mm2"),
    *("longest_diameter_px", "longest_diameter_mm", "mask", "overlay"),
)


def table_row(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record of `predict_files` as one flat row of `COLUMNS`; what is not known is None.

    Lengths are those of the largest lesion; areas are of all lesions together. `prediction_set` holds its
    classes with blanks between; `remarks` the error, or the reasons of a refusal, a flag beside another class
    than malignant, and the warnings about the image.
    """
    row = dict.fromkeys(COLUMNS)
    row["image"] = record["image"]
    if "error" in record:
        row["remarks"] = record["error"]
        return row
    lesions = record["measurements"]
    row |= {
        name: record[name] for name in ("width", "height", "refused", "lesion_area_px", "mask", "overlay")
    }
    row["remarks"] = " ".join([*record["reasons"], *record.get("warnings", ())])
    if record["label"] is None:
        return row
    row |= {f"p_{name}": round(record["probabilities"][name], 4) for name in CLASS_NAMES}
    row |= {"label": record["label"], "lesions": len(lesions), "flagged": record["flagged"]}
    if record["prediction_set"] is not None:
        row["prediction_set"] = " ".join(record["prediction_set"])
    if flagged_beside(record):
        row["remarks"] = " ".join(filter(None, [FLAGGED, row["remarks"]]))
    if lesions:
        areas = [lesion["area_mm2"] for lesion in lesions]
        row["lesion_area_mm2"] = None if None in areas else round(sum(areas), 2)
        for unit in ("px", "mm"):
            length = lesions[0][f"longest_diameter_{unit}"]
            row[f"longest_diameter_{unit}"] = None if length is None else round(length, 2)
    return row


def flagged_beside(record: Mapping[str, Any]) -> bool:
    """Return whether an image is flagged although another class is likelier."""
    return record["flagged"] and record["label"] != "malignant"


def write_table(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the rows of `table_row` as CSV in UTF-8, with a header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for record in records:
            writer.writerow({column: _plain(value) for column, value in table_row(record).items()})


def write_report(records: Sequence[Mapping[str, Any]], path: Path, *, model: str, date: str) -> None:
    """Write one HTML page that shows the overlays lying beside it; it loads nothing from elsewhere.

    Args:
        records: of `predict_files`, with `overlay` as a file name.
        path: of the page.
        model: what it says of the weights.
        date: as it shows it.
    """
    predictions = [(record, table_row(record)) for record in records]
    page = render(
        "predictions.html",
        title="Breast ultrasound: automatic analysis",
        outcome=count_by_outcome(records),
        predictions=predictions,
        found=_found,
        model=model,
        date=date,
    )
    path.write_text(page, encoding="utf-8")


def count_by_outcome(records: Sequence[Mapping[str, Any]]) -> str:
    """Return how many images had which outcome, as one sentence."""
    outcomes = Counter("failed" if "error" in record else record["label"] for record in records)
    anyway = sum(record.get("refused", False) for record in records) - outcomes[None]
    listed = [f"{outcomes[name]} {name}" for name in CLASS_NAMES if outcomes[name]]
    if outcomes[None]:
        listed.append(f"{outcomes[None]} not analysed")
    if anyway:
        listed.append(f"{anyway} of them analysed anyway")
    if outcomes["failed"]:
        listed.append(f"{outcomes['failed']} that could not be used")
    total = f"{len(records)} image{'' if len(records) == 1 else 's'}"
    return f"{total}: {', '.join(listed)}." if listed else f"{total}."


def _found(row: Mapping[str, Any]) -> str:
    """Return what was outlined, as a sentence without its full stop."""
    found = f"{row['lesions']} lesion{'' if row['lesions'] == 1 else 's'} outlined"
    if not row["lesions"]:
        return found
    in_mm = row["longest_diameter_mm"] is not None
    area = f"{row['lesion_area_mm2']:,.1f} mm²" if in_mm else f"{row['lesion_area_px']:,} px"
    length = f"{row['longest_diameter_mm']:.1f} mm" if in_mm else f"{row['longest_diameter_px']:,.0f} px"
    return f"{found}; area {area}, longest diameter {length}"


def _plain(value: Any) -> Any:
    # A spreadsheet runs a cell that begins like this as a formula, and file names are anyone's text.
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value
