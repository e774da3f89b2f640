"""The report folder of an evaluation.

    report.html             metrics, plots and the worst cases on one page
    metrics.json            every metric with its interval, and where it comes from
    per_image.csv           one row per image
    missed_vs_outlined.csv  what other lesion thresholds would miss and outline
    roc.png, dice.png, reliability.png, missed_vs_outlined.png

The page shows images of the data set, and BUSI's licence is unclear: keep the folder out of version control
(`reports/` is ignored) and publish metrics and plots only.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from busi_unet.config import CLASS_NAMES, EVALUATION_NAME
from busi_unet.data.prepared import decode_row
from busi_unet.evaluation.metrics import Metric, shown_in
from busi_unet.evaluation.plots import PLOTS, draw_plots, lesion_threshold_curve
from busi_unet.evaluation.rows import MISSED_DICE, ImageResult, Table
from busi_unet.evaluation.statistics import Estimate
from busi_unet.imaging.overlay import draw_overlay
from busi_unet.io.files import reading, replace_file
from busi_unet.io.html import data_uri, jpeg_uri, png_of, render
from busi_unet.models.folder import model_hash, weights_hash

if TYPE_CHECKING:
    from datasets import Dataset

    from busi_unet.evaluation.evaluate import Evaluation, Part

MaskOf = Callable[[ImageResult, np.ndarray], np.ndarray]
"""A row and its pixels, uint8 (H, W), to the predicted mask, bool (H, W)."""

_CASES_SHOWN, _CASE_SIDE = 6, 420


def write_report(folder: Path, evaluation: Evaluation, split: Dataset, mask_of: MaskOf) -> None:
    """Write the report folder, made if absent; replace what an earlier run wrote there.

    The split has the order of the evaluation's rows; `mask_of` predicts a mask again, as those of a few cases
    cost less than keeping all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "per_image.csv", [row.to_row() for row in evaluation.rows])
    write_csv(folder / "missed_vs_outlined.csv", lesion_threshold_curve(Table(evaluation.rows)))
    # After the rows: whoever finds these metrics finds the rows that they are of.
    write_json(folder / "metrics.json", evaluation.summary)
    plots = {name: png_of(figure) for name, figure in draw_plots(evaluation.rows).items()}
    for name in PLOTS:
        path = folder / f"{name}.png"
        path.write_bytes(plots[name]) if name in plots else path.unlink(missing_ok=True)
    page = render(
        "evaluation.html",
        title="Evaluation",
        evaluation=evaluation,
        provenance=evaluation.provenance,
        parts=_columns(evaluation),
        metrics=_measured(evaluation),
        source_metrics=shown_in("sources"),
        class_names=CLASS_NAMES,
        plots={title: data_uri(plots[name], "image/png") for name, title in PLOTS.items() if name in plots},
        cases={
            title: (
                len(indices),
                [_case(evaluation.rows[n], split[n], mask_of) for n in indices[:_CASES_SHOWN]],
            )
            for title, indices in rank_cases(evaluation.rows).items()
        },
    )
    (folder / "report.html").write_text(page, encoding="utf-8")


def rank_cases(rows: Sequence[ImageResult]) -> dict[str, list[int]]:
    """Return row indices by kind of failure, worst first; an image is listed under the first that fits."""
    table = Table(rows)
    dice, area = table.column("dice"), table.column("predicted_area_px")
    missed, flagged, outlined = (table.column(name) == 1 for name in ("missed", "flagged", "outlined"))
    malignant, lesion = table.among("malignant"), table.among("lesion")
    kinds = {
        f"Missed malignant lesions (Dice < {MISSED_DICE})": (malignant & missed, dice),
        "Malignant images not flagged": (malignant & ~flagged, table.column("malignancy")),
        f"Missed lesions, others (Dice < {MISSED_DICE})": (lesion & missed, dice),
        "Normal images with a mask": (table.among("no lesion") & outlined, -area),
        "Lesions with the lowest Dice": (lesion & (dice < 0.7), dice),
    }
    listed: set[int] = set()
    ranked = {}
    for title, (fits, order) in kinds.items():
        own = [int(index) for index in np.flatnonzero(fits) if index not in listed]
        ranked[title] = sorted(own, key=lambda index: (order[index], rows[index].image_id))
        listed.update(own)
    return {title: indices for title, indices in ranked.items() if indices}


def _case(row: ImageResult, item: Mapping[str, Any], mask_of: MaskOf) -> dict[str, str]:
    """Return what the page shows of an image: name, caption, and image as a data URI."""
    pixels, target = decode_row(item)
    drawn = draw_overlay(pixels, mask_of(row, pixels), color="orange", opacity=0.0)
    if target is not None:
        drawn = draw_overlay(np.asarray(drawn), target, color="sky blue", opacity=0.0)
    drawn.thumbnail((_CASE_SIDE, _CASE_SIDE), Image.Resampling.LANCZOS)
    dice = row.scores["dice"]
    known = [row.label or "class unknown", *([] if dice is None else [f"Dice {dice:.2f}"])]
    said = [f"{name} {chance:.2f}" for name, chance in (row.probabilities or {}).items()]
    said += ["flagged"] * row.flagged + ["refused"] * row.refused
    caption = f"{', '.join(known)}; model: {', '.join(said)}"
    return {"name": row.image_id, "caption": caption, "image": jpeg_uri(drawn)}


def to_markdown(evaluation: Evaluation) -> str:
    """Return the metrics as Markdown tables that also read well in a terminal."""

    def of_parts(metrics: Sequence[Metric], parts: Mapping[str, Part]) -> str:
        return metrics_table(metrics, {name: part.estimates for name, part in parts.items()})

    part = evaluation.pooled
    listed = ", ".join(f"{count} {name}" for name, count in part.images.items())
    level = evaluation.provenance["bootstrap"]["level"]
    confusion = [
        [f"true {name}", *map(str, row)] for name, row in zip(CLASS_NAMES, evaluation.confusion, strict=True)
    ]
    tables = [
        f"Images: {len(evaluation.rows)} ({listed}); groups: {part.groups}; refused: {part.refused}. "
        f"In parentheses: {level:.0%} bootstrap intervals over groups.",
        of_parts(_measured(evaluation), _columns(evaluation)),
        table(["Confusion", *(f"predicted {name}" for name in CLASS_NAMES)], confusion),
    ]
    if evaluation.subgroups:
        tables.append(of_parts(shown_in("sources"), evaluation.subgroups))
    return "\n\n".join(tables)


def write_json(path: Path, summary: Mapping[str, Any], *, indent: int = 2) -> None:
    """Write metrics so that two files of the same metrics are alike."""
    text = json.dumps(summary, indent=indent, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
    replace_file(path, lambda file: file.write(text.encode()))


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows under the keys of the first; without rows, remove what an earlier run left."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    replace_file(path, lambda file: file.write(stream.getvalue().encode()))


def default_folder(model: str, data: Path, kind: str) -> Path:
    """Return reports/MODEL-DATA-KIND, MODEL the path from the working folder with a dash for each slash.

    Run folders of two experiments often share their last names, so that the whole path is taken.
    """
    path = Path(model).resolve()
    start = Path.cwd() if path.is_relative_to(Path.cwd()) else path.anchor
    return Path("reports") / "-".join([*path.relative_to(start).parts, data.resolve().name, kind])


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table that also reads well in a terminal."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def metrics_table(metrics: Sequence[Metric], columns: Mapping[str, Mapping[str, Estimate]]) -> str:
    """Return a Markdown table with a line per metric; the columns are estimates by the metric's name."""

    def cell(metric: Metric, estimates: Mapping[str, Estimate]) -> str:
        return estimates[metric.name].written(metric.digits) if metric.name in estimates else "–"

    rows = [[metric.heading, *(cell(metric, each) for each in columns.values())] for metric in metrics]
    return table(["Metric", *columns], rows)


def _columns(evaluation: Evaluation) -> dict[str, Part]:
    """Return all images, and each source where there are several."""
    several = len(evaluation.sources) > 1
    return {"All images": evaluation.pooled, **(evaluation.sources if several else {})}


def _measured(evaluation: Evaluation) -> list[Metric]:
    return [metric for metric in shown_in("report") if metric.name in evaluation.estimates]


# --- The evaluations that a model folder keeps ---------------------------------------------------
#
# evaluation.json, which the app and the model card show, is an object: a key that names data set, split and
# weights to the summary of an evaluation. Beside those of the model itself there may be some of its siblings,
# trained by the same recipe without a hospital: `sibling_of` in their provenance names the model's weights.


def read_evaluations(folder: str | os.PathLike) -> dict[str, dict[str, Any]]:
    """Return the evaluations of exactly the model in a folder, and of its siblings, by their key."""
    path = Path(folder) / EVALUATION_NAME
    if not path.is_file():
        return {}
    model, weights = model_hash(folder), weights_hash(folder)
    with reading(path, "does not hold evaluations", "Delete it, and evaluate again."):
        found = json.loads(path.read_text(encoding="utf-8"))
        return {
            key: summary
            for key, summary in found.items()
            if summary["provenance"]["model_sha256"] == model
            or summary["provenance"].get("sibling_of") == weights
        }


def add_evaluation(folder: str | os.PathLike, summary: Mapping[str, Any]) -> None:
    """Add an evaluation to a model folder; one of the same data set, split and weights is replaced."""
    write_evaluations(folder, [*read_evaluations(folder).values(), summary])


def write_evaluations(folder: str | os.PathLike, summaries: Iterable[Mapping[str, Any]]) -> None:
    """Write the evaluations of a model folder, in place of those that were there."""
    found = {}
    for summary in summaries:
        of = summary["provenance"]
        key = f"{'+'.join(sorted(summary['sources']))} {of['split']} {of['weights_sha256'][:12]}"
        found[key] = summary
    write_json(Path(folder) / EVALUATION_NAME, found, indent=1)
