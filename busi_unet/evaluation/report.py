"""The report folder of an evaluation: figures as JSON and tables, a row per image, plots, galleries.

It holds

    metrics.json         every figure with its interval, and where it comes from
    summary.md           the same as tables
    per_image.csv        one row per image
    dice_histogram.png, dice_by_size.png, confusion_matrix.png
    roc.png, lesion_detection.png, reliability.png
    gallery_best.png, gallery_worst.png, gallery_false_masks.png

The galleries show pixels of the data set, and BUSI's licence is unclear: keep the folder out of
version control (`reports/` is ignored) and publish figures and plots only.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from busi_unet.config import CLASS_NAMES
from busi_unet.errors import MissingDependencyError
from busi_unet.evaluation import metrics, plots
from busi_unet.evaluation.summary import TITLES

if TYPE_CHECKING:
    from datasets import Dataset
    from matplotlib.figure import Figure

    from busi_unet.evaluation.evaluate import Evaluation
    from busi_unet.evaluation.summary import ImageResult

GALLERY_SIZE = 6

_CLASSIFICATION = (
    "normal_false_mask_share",
    "accuracy",
    "macro_f1",
    "auc_malignant",
    "malignant_sensitivity",
    "malignant_specificity",
    "ece",
    "set_coverage",
    "set_coverage_by_group",
    "set_size",
    "boundary_coverage",
    "boundary_coverage_by_group",
)
_BY_SUBSET = (
    "lesion_dice",
    "malignant_dice",
    "lesion_missed_share",
    "normal_false_mask_share",
    "accuracy",
    "auc_malignant",
    "ece",
)


def write_report(folder: Path, evaluation: Evaluation, split: Dataset, mask_of: plots.MaskOf) -> None:
    """Writes the report folder, made if absent; replaces what an earlier run wrote there.

    Args:
        folder: see the head of this module for what it will hold.
        evaluation: of the split.
        split: in the order of the evaluation's rows.
        mask_of: a row and its pixels, uint8 (H, W), to the predicted mask, bool (H, W): the galleries
            show a few cases, and predicting those again costs less than keeping every mask.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require_matplotlib()
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "per_image.csv", [row.to_row() for row in evaluation.rows])
    (folder / "summary.md").write_text(to_markdown(evaluation) + "\n", encoding="utf-8")
    # After the rows: whoever finds these figures finds the rows that they are of.
    write_json(folder / "metrics.json", evaluation.summary)

    lesions = [row for row in evaluation.rows if row.scores.dice is not None]
    figures = {
        "confusion_matrix": plots.confusion_matrix(evaluation.confusion),
        "dice_histogram": plots.dice_histogram(lesions) if lesions else None,
        "dice_by_size": plots.dice_by_size(lesions) if lesions else None,
        **plots.of_probabilities(evaluation.rows),
    }
    for name, cases in _gallery_cases(evaluation.rows).items():
        figures[f"gallery_{name}"] = plots.gallery(cases, evaluation.rows, split, mask_of) if cases else None
    save_figures(folder, figures)


def write_json(path: Path, summary: Mapping[str, Any]) -> None:
    """Writes figures so that two files of the same figures are alike."""
    text = json.dumps(summary, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows, at least one, under the keys of the first."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def save_figures(folder: Path, figures: Mapping[str, Figure | None]) -> None:
    """Saves each under its name; None removes what an earlier run left, which belongs to other figures."""
    for name, figure in figures.items():
        path = folder / f"{name}.png"
        if figure is None:
            path.unlink(missing_ok=True)
        else:
            figure.savefig(path, dpi=120)


def default_folder(model: str, kind: str) -> Path:
    """reports/MODEL-KIND, where MODEL is the path from the working folder, with a dash for each slash.

    Run folders of two experiments often share their last names, so that the whole path is taken.
    """
    path = Path(model).resolve()
    start = Path.cwd() if path.is_relative_to(Path.cwd()) else path.anchor
    return Path("reports") / "-".join([*path.relative_to(start).parts, kind])


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
        [TITLES[name], str(evaluation.estimates[name])]
        for name in _CLASSIFICATION
        if evaluation.estimates[name].n
    ]
    confusion = [
        [f"true {name}", *map(str, row)] for name, row in zip(CLASS_NAMES, evaluation.confusion, strict=True)
    ]
    by_subset = [
        [TITLES[name], *(str(estimates[name]) for estimates in evaluation.subsets.values())]
        for name in _BY_SUBSET
    ]
    subsets = [table(["Marked as", *evaluation.subsets], by_subset)] if evaluation.subsets else []
    return "\n\n".join(
        (
            f"{len(evaluation.rows)} images ({listed}) in {summary['groups']} groups, "
            f"{summary['refused']} refused; "
            f"in brackets {summary['provenance']['bootstrap']['level']:.0%} bootstrap intervals over groups.",
            table(["Segmentation", "Lesions", *(name.capitalize() for name in kinds[1:])], segmentation),
            table(["Whole split", "Figure"], classification),
            table(["Confusion", *(f"said {name}" for name in CLASS_NAMES)], confusion),
            *subsets,
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


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table that also reads well in a terminal."""
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
