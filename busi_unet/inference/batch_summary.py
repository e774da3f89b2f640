"""Many predictions in one table: as CSV for programs, as one HTML page for people."""

from __future__ import annotations

import csv
import html
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from busi_unet.config import CLASS_NAMES

LIMITS = (
    "Not a medical device: for research and teaching, not for diagnosis or treatment. The outlines and "
    "probabilities come from a neural network trained on a small public data set. It can miss lesions and "
    "draw false ones. Read the images themselves."
)
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
    cards = "\n".join(_card(record) for record in records)
    path.write_text(
        f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Breast ultrasound: automatic analysis</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Breast ultrasound: automatic analysis</h1>
<p>{_escaped(count_by_outcome(records))}<br>Date: {_escaped(date)}<br>Model: {_escaped(model)}</p>
<p class="limits">{LIMITS}</p>
<main>
{cards}
</main>
</body>
</html>
""",
        encoding="utf-8",
    )


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


def _card(record: Mapping[str, Any]) -> str:
    row = table_row(record)
    heading = f"<h2>{_escaped(record['image'])}</h2>"
    remarks = f'<p class="remark">{_escaped(row["remarks"])}</p>' if row["remarks"] else ""
    if "error" in record:
        return f"<section>{heading}{remarks}</section>"
    image = (
        f'<img src="{_escaped(quote(record["overlay"]))}" alt="The image, and beside it what was outlined" '
        f'width="{2 * record["width"]}" height="{record["height"]}" loading="lazy">'
    )
    if record["label"] is None:
        return f"<section>{heading}{image}<p><strong>Not analysed.</strong></p>{remarks}</section>"
    classes = ", ".join(f"{name} {record['probabilities'][name]:.1%}" for name in CLASS_NAMES)
    found = f"{row['lesions']} lesion{'' if row['lesions'] == 1 else 's'} outlined"
    if row["lesions"]:
        unit = "px" if row["longest_diameter_mm"] is None else "mm"
        digits, area = (0, "px") if unit == "px" else (1, "mm2")
        found += (
            f"; area {row[f'lesion_area_{area}']:,.{digits}f} {area.replace('2', '²')}, "
            f"longest diameter {row[f'longest_diameter_{unit}']:,.{digits}f} {unit}"
        )
    words = f"<p><strong>{_escaped(record['label'].capitalize())}</strong> ({classes}). {found}.</p>"
    if record["refused"]:
        words = f"<p><strong>Refused, analysed anyway.</strong></p>{words}"
    return f"<section>{heading}{image}{words}{remarks}</section>"


def _plain(value: Any) -> Any:
    # A spreadsheet runs a cell that begins like this as a formula, and file names are anyone's text.
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value


def _escaped(text: str) -> str:
    return html.escape(text)


_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; }
h2 { font-size: 1rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 28rem), 1fr)); gap: 1rem; }
section { border: 1px solid #8888; border-radius: .5rem; padding: 1rem; }
section p { margin: .5rem 0 0; }
img { max-width: 100%; height: auto; display: block; }
.limits, .remark { border-left: 4px solid #e69f00; padding-left: .75rem; }
@media print { section { break-inside: avoid; } }
"""
