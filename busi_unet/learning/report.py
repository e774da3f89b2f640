"""The report folder of an evaluation: figures as JSON and tables, a row per image, plots, galleries.

It holds

    metrics.json         every figure with its interval, and where it comes from
    summary.md           the same as tables
    per_image.csv        one row per image
    dice_histogram.png, dice_by_size.png, confusion_matrix.png
    gallery_best.png, gallery_worst.png, gallery_false_masks.png

The galleries show pixels of the data set, and BUSI's licence is unclear: keep the folder out of
version control (`reports/` is ignored) and publish figures and plots only.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from busi_unet.config import CLASS_NAMES
from busi_unet.errors import MissingDependencyError
from busi_unet.imaging.decode import decode_image, decode_mask
from busi_unet.learning import metrics

if TYPE_CHECKING:
    from datasets import Dataset
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from busi_unet.learning.evaluation import Evaluation, ImageResult, Segmenter

GALLERY_SIZE = 6
# Okabe and Ito's palette keeps apart under the common colour-vision deficiencies.
TARGET_COLOUR, PREDICTION_COLOUR = "#56B4E9", "#E69F00"
CLASS_STYLE = {"benign": ("#0072B2", "o"), "malignant": ("#D55E00", "^")}


def write_report(folder: Path, evaluation: Evaluation, predictor: Segmenter, split: Dataset) -> None:
    """Writes the report folder, made if absent; replaces what an earlier run wrote there.

    Args:
        folder: see the head of this module for what it will hold.
        evaluation: of the split.
        predictor: predicts again what the galleries show.
        split: in the order of the evaluation's rows.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require_matplotlib()
    folder.mkdir(parents=True, exist_ok=True)
    summary = json.dumps(evaluation.summary, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    (folder / "metrics.json").write_text(summary + "\n", encoding="utf-8")
    (folder / "summary.md").write_text(to_markdown(evaluation) + "\n", encoding="utf-8")
    table = [row.to_row() for row in evaluation.rows]
    with (folder / "per_image.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(table[0]))
        writer.writeheader()
        writer.writerows(table)

    lesions = [row for row in evaluation.rows if row.scores.dice is not None]
    figures = {
        "confusion_matrix": _draw_confusion(evaluation.confusion),
        "dice_histogram": _draw_dice_histogram(lesions) if lesions else None,
        "dice_by_size": _draw_dice_by_size(lesions) if lesions else None,
    }
    for name, cases in _gallery_cases(evaluation.rows).items():
        figures[f"gallery_{name}"] = (
            _draw_gallery(cases, evaluation.rows, predictor, split) if cases else None
        )
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        if figure is None:
            path.unlink(missing_ok=True)  # A picture left by an earlier run would belong to other figures.
        else:
            figure.savefig(path, dpi=120)


def to_markdown(evaluation: Evaluation) -> str:
    """The figures as Markdown tables that also read well in a terminal."""
    summary = evaluation.summary
    images = summary["images"]
    listed = ", ".join(f"{count} {name}" for name, count in images.items())
    kinds = ("lesion", *CLASS_NAMES[1:])
    segmentation = [
        [title, *(str(evaluation.estimates[f"{kind}_{key}"]) for kind in kinds)]
        for title, key in (
            ("Dice, mean", "dice"),
            ("Dice, median", "dice_median"),
            ("IoU, mean", "iou"),
            ("HD95, mean (px)", "hd95_px"),
            ("Precision, mean", "precision"),
            ("Recall, mean", "recall"),
            (f"Missed (Dice < {metrics.MISSED_DICE})", "missed_share"),
            ("Without any mask", "empty_share"),
        )
    ]
    classification = [
        [title, str(evaluation.estimates[key])]
        for title, key in (
            ("Normal images with a false mask", "normal_false_mask_share"),
            ("Accuracy, three classes", "accuracy"),
            ("Macro-F1, three classes", "macro_f1"),
            ("AUC, malignant against benign", "auc_malignant"),
            (f"Expected calibration error, {metrics.ECE_BINS} bins", "ece"),
        )
    ]
    confusion = [
        [f"true {name}", *map(str, row)] for name, row in zip(CLASS_NAMES, evaluation.confusion, strict=True)
    ]
    return "\n\n".join(
        (
            f"{len(evaluation.rows)} images ({listed}) in {summary['groups']} groups, "
            f"{summary['refused']} refused; "
            f"in brackets {summary['provenance']['bootstrap']['level']:.0%} bootstrap intervals over groups.",
            _table(["Segmentation", "Lesions", *(name.capitalize() for name in kinds[1:])], segmentation),
            _table(["Whole split", "Figure"], classification),
            _table(["Confusion", *(f"said {name}" for name in CLASS_NAMES)], confusion),
            "HD95 of a lesion without any mask is the image diagonal; precision leaves such lesions out. "
            "Refused images stay in every figure, with the mask and the class they were given.",
        )
    )


def require_matplotlib() -> None:
    """Shows a missing library before the long part of an evaluation, not after it.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise MissingDependencyError(
            "The evaluation report needs matplotlib, which is not installed.",
            "Run: pip install -e '.[train]'",
        )


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def _gallery_cases(rows: Sequence[ImageResult]) -> dict[str, list[int]]:
    """Row indices of the lesions with the worst and best Dice and of the largest false masks; none twice."""
    lesions = [index for index, row in enumerate(rows) if row.scores.dice is not None]
    by_dice = sorted(lesions, key=lambda index: (rows[index].scores.dice, rows[index].image_id))
    half = (len(by_dice) + 1) // 2
    false_masks = [index for index, row in enumerate(rows) if row.scores.false_mask]
    false_masks.sort(key=lambda index: (-rows[index].scores.predicted_area_px, rows[index].image_id))
    return {
        "worst": by_dice[:half][:GALLERY_SIZE],
        "best": by_dice[half:][::-1][:GALLERY_SIZE],
        "false_masks": false_masks[:GALLERY_SIZE],
    }


def _new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    # Made without pyplot, a figure draws with Agg: no display, no state shared with the caller.
    return Figure(figsize=(width, height), layout="constrained")


def _draw_gallery(
    indices: Sequence[int], rows: Sequence[ImageResult], predictor: Segmenter, split: Dataset
) -> Figure:
    columns = min(3, len(indices))
    lines = -(-len(indices) // columns)
    figure = _new_figure(4 * columns, 3.9 * lines + 0.5)
    figure.suptitle("reference: solid blue    prediction: dashed orange", fontsize=10)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for panel in panels:
        panel.axis("off")
    for panel, index in zip(panels, indices, strict=False):
        item = split[index]
        pixels, target = decode_image(item["image"]), decode_mask(item["mask"])
        panel.imshow(pixels, cmap="gray", vmin=0, vmax=255)
        # A few cases predicted again cost less than every mask of the split kept in memory.
        _draw_contour(panel, target, TARGET_COLOUR, "solid")
        _draw_contour(panel, predictor.predict(pixels).mask, PREDICTION_COLOUR, "dashed")
        panel.set_title(_caption(rows[index]), fontsize=8)
    return figure


def _draw_contour(panel: Axes, mask: np.ndarray, colour: str, style: str) -> None:
    if mask.any():
        # The border of background closes the contour of a mask that touches the image's edge.
        height, width = mask.shape
        padded = np.pad(mask, 1).astype(float)
        grid = np.arange(-1, width + 1), np.arange(-1, height + 1)
        panel.contour(*grid, padded, levels=[0.5], colors=[colour], linestyles=style, linewidths=1.3)


def _caption(row: ImageResult) -> str:
    dice = row.scores.dice
    outcome = f"false mask, {row.scores.predicted_area_px} px" if dice is None else f"Dice {dice:.3f}"
    named = zip(CLASS_NAMES, row.probabilities, strict=True)
    classes = "  ".join(f"{name} {value:.2f}" for name, value in named)
    return f"{row.image_id}: {outcome}{', refused' if row.refused else ''}\n{classes}"


def _draw_confusion(confusion: Sequence[Sequence[int]]) -> Figure:
    counts = np.array(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = _new_figure(4.4, 4)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, f"{count}\n{shares[row, column]:.0%}", ha="center", va="center", color=colour)
    axes.set(
        xticks=range(len(CLASS_NAMES)),
        yticks=range(len(CLASS_NAMES)),
        xticklabels=CLASS_NAMES,
        yticklabels=CLASS_NAMES,
        xlabel="predicted class",
        ylabel="true class",
    )
    return figure


def _draw_dice_histogram(lesions: Sequence[ImageResult]) -> Figure:
    figure = _new_figure(5.5, 3.5)
    axes = figure.subplots()
    axes.hist(
        [[row.scores.dice for row in lesions if row.label == name] for name in CLASS_STYLE],
        bins=np.linspace(0, 1, 21),
        stacked=True,
        color=[colour for colour, _ in CLASS_STYLE.values()],
        label=list(CLASS_STYLE),
    )
    axes.set(xlabel="Dice", ylabel="images with a lesion", xlim=(0, 1))
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    return figure


def _draw_dice_by_size(lesions: Sequence[ImageResult]) -> Figure:
    figure = _new_figure(5.5, 3.5)
    axes = figure.subplots()
    for name, (colour, marker) in CLASS_STYLE.items():
        own = [row for row in lesions if row.label == name]
        shares = [100 * row.scores.target_area_px / (row.height_px * row.width_px) for row in own]
        dice = [row.scores.dice for row in own]
        axes.scatter(shares, dice, c=colour, marker=marker, s=18, alpha=0.7, label=name)
    axes.set(xscale="log", xlabel="lesion area (% of the image)", ylabel="Dice", ylim=(-0.03, 1.03))
    axes.legend()
    return figure
