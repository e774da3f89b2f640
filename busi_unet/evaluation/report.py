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
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from busi_unet.config import CLASS_NAMES
from busi_unet.errors import MissingDependencyError
from busi_unet.evaluation.cases import show_cases
from busi_unet.evaluation.measures import lesion_threshold_curve
from busi_unet.evaluation.metrics import Metric, shown_in
from busi_unet.evaluation.plots import draw_plots
from busi_unet.io.html import data_uri, png_of, render

if TYPE_CHECKING:
    from datasets import Dataset

    from busi_unet.evaluation.cases import MaskOf
    from busi_unet.evaluation.evaluate import Evaluation, Part

PLOTS = {
    "roc": "ROC: malignant vs benign",
    "dice": "Dice of lesions",
    "reliability": "Reliability: how often the likeliest class is right, by its probability",
    "missed_vs_outlined": "Missed lesions against outlined normal images, as the lesion threshold moves",
}
"""Title of each plot by the name of its file; none shows an image of the data set."""
_CURVE = "missed_vs_outlined"


def write_report(folder: Path, evaluation: Evaluation, split: Dataset, mask_of: MaskOf) -> None:
    """Write the report folder, made if absent; replace what an earlier run wrote there.

    Args:
        folder: see the head of this module for what it will hold.
        evaluation: of the split.
        split: in the order of the evaluation's rows.
        mask_of: a row and its pixels, uint8 (H, W), to the predicted mask, bool (H, W).

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require_matplotlib()
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "per_image.csv", [row.to_row() for row in evaluation.rows])
    write_csv(folder / f"{_CURVE}.csv", [asdict(point) for point in lesion_threshold_curve(evaluation.rows)])
    # After the rows: whoever finds these metrics finds the rows that they are of.
    write_json(folder / "metrics.json", evaluation.summary)
    plots = {name: png_of(figure) for name, figure in draw_plots(evaluation.rows).items()}
    for name in PLOTS:
        path = folder / f"{name}.png"
        path.write_bytes(plots[name]) if name in plots else path.unlink(missing_ok=True)
    page = render(
        "evaluation.html",
        title="Evaluation",
        provenance=evaluation.provenance,
        pooled=evaluation.pooled,
        parts=_columns(evaluation),
        subgroups=evaluation.subgroups,
        metrics=_measured(evaluation),
        source_metrics=shown_in("sources"),
        class_names=CLASS_NAMES,
        confusion=evaluation.confusion,
        plots={title: data_uri(plots[name], "image/png") for name, title in PLOTS.items() if name in plots},
        cases=show_cases(evaluation.rows, split, mask_of),
    )
    (folder / "report.html").write_text(page, encoding="utf-8")


def to_markdown(evaluation: Evaluation) -> str:
    """Return the metrics as Markdown tables that also read well in a terminal."""
    part = evaluation.pooled
    listed = ", ".join(f"{count} {name}" for name, count in part.images.items())
    level = evaluation.provenance["bootstrap"]["level"]
    confusion = [
        [f"true {name}", *map(str, row)] for name, row in zip(CLASS_NAMES, evaluation.confusion, strict=True)
    ]
    tables = [
        f"{len(evaluation.rows)} images ({listed}) in {part.groups} groups, {part.refused} refused; "
        f"in brackets {level:.0%} bootstrap intervals over groups.",
        _metrics_table(_measured(evaluation), _columns(evaluation)),
        table(["Confusion", *(f"predicted {name}" for name in CLASS_NAMES)], confusion),
    ]
    if evaluation.subgroups:
        tables.append(_metrics_table(shown_in("sources"), evaluation.subgroups))
    return "\n\n".join(tables)


def write_json(path: Path, summary: Mapping[str, Any]) -> None:
    """Write metrics so that two files of the same metrics are alike."""
    text = json.dumps(summary, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows under the keys of the first; without rows, remove what an earlier run left."""
    if not rows:
        path.unlink(missing_ok=True)
        return
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def default_folder(model: str, kind: str) -> Path:
    """Return reports/MODEL-KIND, where MODEL is the path from the working folder, with a dash for each slash.

    Run folders of two experiments often share their last names, so that the whole path is taken.
    """
    path = Path(model).resolve()
    start = Path.cwd() if path.is_relative_to(Path.cwd()) else path.anchor
    return Path("reports") / "-".join([*path.relative_to(start).parts, kind])


def require_matplotlib() -> None:
    """Show a missing library before the long part of an evaluation, not after it.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingDependencyError(
            "The evaluation report needs matplotlib, which is not installed.",
            'Run: pip install "busi-unet[train]"',
        )


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table that also reads well in a terminal."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def _metrics_table(metrics: Sequence[Metric], parts: Mapping[str, Part]) -> str:
    rows = [
        [metric.title, *(str(part.estimates.get(metric.name, "–")) for part in parts.values())]
        for metric in metrics
    ]
    return table(["Metric", *parts], rows)


def _columns(evaluation: Evaluation) -> dict[str, Part]:
    """Return all images, and each source where there are several."""
    several = len(evaluation.sources) > 1
    return {"All images": evaluation.pooled, **(evaluation.sources if several else {})}


def _measured(evaluation: Evaluation) -> list[Metric]:
    return [metric for metric in shown_in("report") if metric.name in evaluation.estimates]
