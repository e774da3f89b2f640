"""Judging a predictor on a split of the prepared data set: figures, intervals, tables and pictures.

The report folder holds

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
import hashlib
import json
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from tqdm import tqdm

from busi_unet.config import CLASS_NAMES
from busi_unet.errors import DataLayoutError, MissingDependencyError, UsageError
from busi_unet.imaging.decode import decode_image, decode_mask
from busi_unet.learning import metrics
from busi_unet.version import __version__

if TYPE_CHECKING:
    from datasets import Dataset
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MISSED_DICE = 0.05
"""A lesion whose mask has a lower Dice counts as missed."""

LEVEL = 0.95
GALLERY_SIZE = 6
COLUMNS = ("image", "mask", "label", "image_id", "group", "fold")
# Okabe and Ito's palette keeps apart under the common colour-vision deficiencies.
TARGET_COLOUR, PREDICTION_COLOUR = "#56B4E9", "#E69F00"
CLASS_STYLE = {"benign": ("#0072B2", "o"), "malignant": ("#D55E00", "^")}


class Segmenter(Protocol):
    """What `evaluate` asks of a predictor; `busi_unet.predictor.Predictor` is one."""

    def predict(self, image: np.ndarray) -> Any:
        """Takes uint8 (H, W); returns `mask` bool (H, W), `label`, `probabilities` and `refused`."""


@dataclass(frozen=True)
class ImageResult:
    """One image's row.

    `probabilities` are in the order of CLASS_NAMES; `scores` are None where undefined
    (see `metrics.SegmentationScores`).
    """

    image_id: str
    label: str
    group: str
    fold: int
    height_px: int
    width_px: int
    predicted_label: str
    probabilities: tuple[float, ...]
    refused: bool
    scores: metrics.SegmentationScores

    def to_row(self) -> dict[str, Any]:
        """The flat columns of per_image.csv."""
        row = asdict(self) | {
            f"p_{name}": value for name, value in zip(CLASS_NAMES, self.probabilities, strict=True)
        }
        del row["probabilities"]
        return (
            row
            | row.pop("scores")
            | {
                "target_area_px": self.scores.target_area_px,
                "predicted_area_px": self.scores.predicted_area_px,
                "false_mask": self.scores.false_mask,
            }
        )


@dataclass(frozen=True)
class Estimate:
    """One figure, its interval over groups, and what it rests on.

    Attributes:
        value: None where undefined.
        ci_low: lower end of the interval; None where there is none (see `metrics.bootstrap_interval`).
        ci_high: upper end.
        n: images on which the figure is defined.
        count: for a share, how many of the n.
        undefined_resamples: resamples left out of the interval.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    count: int | None = None
    undefined_resamples: int = 0

    def __str__(self) -> str:
        if self.value is None:
            return "undefined"
        digits = 3 if abs(self.value) < 10 else 1
        interval = "" if self.ci_low is None else f" [{self.ci_low:.{digits}f}, {self.ci_high:.{digits}f}]"
        share = "" if self.count is None else f" ({self.count} of {self.n})"
        return f"{self.value:.{digits}f}{interval}{share}"


@dataclass(frozen=True)
class Evaluation:
    """The outcome of `evaluate`.

    Attributes:
        rows: one per image, in the order of the split.
        estimates: figure by name, as `summarise` names them.
        confusion: counts of true class (row) by predicted class (column), in the order of CLASS_NAMES.
        provenance: what the figures come from: split, seed, data fingerprint, versions, and
            whatever the caller added.
    """

    rows: tuple[ImageResult, ...]
    estimates: dict[str, Estimate]
    confusion: tuple[tuple[int, ...], ...]
    provenance: dict[str, Any]

    @property
    def summary(self) -> dict[str, Any]:
        """Everything but the rows, ready for JSON."""
        return {
            "class_names": list(CLASS_NAMES),
            "confusion_matrix": [list(row) for row in self.confusion],
            "estimates": {name: asdict(estimate) for name, estimate in self.estimates.items()},
            "images": {name: sum(row.label == name for row in self.rows) for name in CLASS_NAMES},
            "groups": len({row.group for row in self.rows}),
            "refused": sum(row.refused for row in self.rows),
            "provenance": self.provenance,
        }

    def to_markdown(self) -> str:
        """The figures as Markdown tables that also read well in a terminal."""
        images = self.summary["images"]
        listed = ", ".join(f"{count} {name}" for name, count in images.items())
        kinds = ("lesion", *CLASS_NAMES[1:])
        segmentation = [
            [title, *(str(self.estimates[f"{kind}_{key}"]) for kind in kinds)]
            for title, key in (
                ("Dice, mean", "dice"),
                ("Dice, median", "dice_median"),
                ("IoU, mean", "iou"),
                ("HD95, mean (px)", "hd95_px"),
                ("Precision, mean", "precision"),
                ("Recall, mean", "recall"),
                (f"Missed (Dice < {MISSED_DICE})", "missed_share"),
                ("Without any mask", "empty_share"),
            )
        ]
        classification = [
            [title, str(self.estimates[key])]
            for title, key in (
                ("Normal images with a false mask", "normal_false_mask_share"),
                ("Accuracy, three classes", "accuracy"),
                ("Macro-F1, three classes", "macro_f1"),
                ("AUC, malignant against benign", "auc_malignant"),
                (f"Expected calibration error, {metrics.ECE_BINS} bins", "ece"),
            )
        ]
        confusion = [
            [f"true {name}", *map(str, row)] for name, row in zip(CLASS_NAMES, self.confusion, strict=True)
        ]
        return "\n\n".join(
            (
                f"{len(self.rows)} images ({listed}) in {self.summary['groups']} groups, "
                f"{self.summary['refused']} refused; "
                f"in brackets {LEVEL:.0%} bootstrap intervals over groups.",
                _table(["Segmentation", "Lesions", *(name.capitalize() for name in kinds[1:])], segmentation),
                _table(["Whole split", "Figure"], classification),
                _table(["Confusion", *(f"said {name}" for name in CLASS_NAMES)], confusion),
                "HD95 of a lesion without any mask is the image diagonal; precision leaves such lesions out. "
                "Refused images count as predicted.",
            )
        )


def evaluate(
    predictor: Segmenter,
    split: Dataset,
    *,
    output: str | Path | None = None,
    progress: bool = True,
    seed: int = 0,
    resamples: int = 2000,
    provenance: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Runs the predictor on every image of a split and scores it at native resolution.

    Images are predicted one at a time, as a user's would be. An image that the predictor refuses
    stays in every figure with what was predicted all the same: leaving it out would flatter.

    Args:
        predictor: see `Segmenter`.
        split: one split of the prepared data set (`busi_unet.data.busi.load_prepared`).
        output: folder for the report, made if absent; nothing is written without it.
        progress: shows a progress bar on stderr.
        seed: of the bootstrap.
        resamples: of the bootstrap.
        provenance: entries to add to `Evaluation.provenance`, such as model and command.

    Raises:
        DataLayoutError: the split is empty, lacks a column, or a mask does not fit its image.
        UsageError: a predicted mask or class does not fit the image.
        MissingDependencyError: a report is asked for without matplotlib installed.
    """
    if output is not None:
        _new_figure(1, 1)  # A missing library must show before the long part, not after it.
    _check_split(split)
    label_names = split.features["label"].names
    content = hashlib.sha256()
    rows = []
    for item in tqdm(split, desc="evaluate", unit="image", disable=not progress):
        pixels, target = _frames(item)
        image_id, label = item["image_id"], label_names[item["label"]]
        content.update(repr((image_id, label, item["group"], pixels.shape)).encode())
        content.update(pixels.tobytes() + target.tobytes())
        rows.append(_score(predictor.predict(pixels), target, item, label))

    evaluation = Evaluation(
        rows=tuple(rows),
        estimates=summarise(rows, seed=seed, resamples=resamples),
        confusion=tuple(tuple(int(cell) for cell in row) for row in _confusion(rows)),
        provenance={
            "bootstrap": {"level": LEVEL, "resamples": resamples, "seed": seed, "unit": "group"},
            "data_sha256": content.hexdigest(),
            "split": str(split.split) if split.split is not None else None,
            "versions": _versions(),
            **(provenance or {}),
        },
    )
    if output is not None:
        _write_report(Path(output), evaluation, predictor, split)
    return evaluation


def summarise(rows: Sequence[ImageResult], *, seed: int = 0, resamples: int = 2000) -> dict[str, Estimate]:
    """Turns image rows into figures with intervals.

    Returns:
        For each kind of `lesion` (all), `benign` and `malignant`: `<kind>_dice`, `_dice_median`,
        `_iou`, `_hd95_px`, `_precision`, `_recall` over the images that have a lesion,
        `_missed_share` (Dice below 0.05) and `_empty_share` (no mask at all). Then
        `normal_false_mask_share` over the images without a lesion; `accuracy`, `macro_f1` and `ece`
        over all images; `auc_malignant` over the benign and malignant ones.
    """
    groups = [row.group for row in rows]
    labels = np.array([row.label for row in rows])
    everyone = np.ones(len(rows), dtype=bool)
    lesion = np.array([row.scores.target_area_px > 0 for row in rows])

    def estimate(statistic: Callable[[np.ndarray], np.ndarray], used: np.ndarray) -> Estimate:
        value, n = float(statistic(np.ones(len(rows), dtype=int))), int(used.sum())
        if np.isnan(value):
            return Estimate(None, None, None, n)
        interval = metrics.bootstrap_interval(statistic, groups, level=LEVEL, seed=seed, resamples=resamples)
        if interval is None:
            return Estimate(value, None, None, n)
        return Estimate(
            value, interval.low, interval.high, n, undefined_resamples=interval.undefined_resamples
        )

    def average(
        values: Iterable[float | None], among: np.ndarray, statistic: Callable = metrics.mean
    ) -> Estimate:
        # As floats, None becomes NaN.
        defined = np.where(among, np.array(list(values), dtype=float), np.nan)
        return estimate(lambda weights: statistic(defined, weights), ~np.isnan(defined))

    def share(hits: Iterable[bool], among: np.ndarray) -> Estimate:
        hits = np.array(list(hits), dtype=bool)
        return replace(average(hits, among), count=int((hits & among).sum()))

    estimates = {}
    for kind, among in (
        ("lesion", lesion),
        ("benign", lesion & (labels == "benign")),
        ("malignant", lesion & (labels == "malignant")),
    ):
        for name in ("dice", "iou", "hd95_px", "precision", "recall"):
            estimates[f"{kind}_{name}"] = average((getattr(row.scores, name) for row in rows), among)
        dice = [row.scores.dice for row in rows]
        estimates[f"{kind}_dice_median"] = average(dice, among, metrics.median)
        estimates[f"{kind}_missed_share"] = share((_missed(row) for row in rows), among)
        estimates[f"{kind}_empty_share"] = share((row.scores.predicted_area_px == 0 for row in rows), among)

    estimates["normal_false_mask_share"] = share((row.scores.false_mask for row in rows), ~lesion)
    truth, predicted = _class_indices(rows)
    probabilities = np.array([row.probabilities for row in rows], dtype=float)

    def of_confusion(figure: Callable[[np.ndarray], np.ndarray]) -> Estimate:
        classes = len(CLASS_NAMES)
        return estimate(
            lambda weights: figure(metrics.confusion_matrix(truth, predicted, classes, weights)), everyone
        )

    estimates["accuracy"] = replace(of_confusion(metrics.accuracy), count=int((truth == predicted).sum()))
    estimates["macro_f1"] = of_confusion(metrics.macro_f1)
    estimates["ece"] = estimate(
        lambda weights: metrics.expected_calibration_error(probabilities, truth, weights), everyone
    )
    tumour = truth != CLASS_NAMES.index("normal")
    score = metrics.malignancy_score(probabilities)
    estimates["auc_malignant"] = estimate(
        lambda weights: metrics.auc(
            score[tumour], truth[tumour] == CLASS_NAMES.index("malignant"), weights[..., tumour]
        ),
        tumour,
    )
    return estimates


def _check_split(split: Dataset) -> None:
    missing = [name for name in COLUMNS if name not in split.column_names]
    unknown = [] if missing else sorted(set(split.features["label"].names) - set(CLASS_NAMES))
    if missing or unknown or not len(split):
        problems = [f"column {name} is missing" for name in missing]
        problems += [f"class {name} is unknown" for name in unknown]
        raise DataLayoutError(
            "This split cannot be evaluated.",
            problems or ["it holds no images"],
            "Prepare the data set with scripts/prepare_data.py.",
        )


def _frames(item: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    pixels = decode_image(item["image"], name=item["image_id"])
    target = decode_mask(item["mask"], name=f"the mask of {item['image_id']}")
    if pixels.shape != target.shape:
        raise DataLayoutError(
            "This split cannot be evaluated.",
            [f"{item['image_id']}: image {pixels.shape} and mask {target.shape} differ in size"],
            "Prepare the data set again with scripts/prepare_data.py.",
        )
    return pixels, target


def _score(prediction: Any, target: np.ndarray, item: Mapping[str, Any], label: str) -> ImageResult:
    try:
        scores = metrics.segmentation_scores(prediction.mask, target)
    except UsageError as error:
        raise UsageError(f"{item['image_id']}: {error.message}", error.hint) from error
    if prediction.label not in CLASS_NAMES:
        raise UsageError(
            f"{item['image_id']}: the predictor named the class {prediction.label!r}.",
            f"Use a model for the classes {', '.join(CLASS_NAMES)}.",
        )
    return ImageResult(
        image_id=item["image_id"],
        label=label,
        group=item["group"],
        fold=item["fold"],
        height_px=target.shape[0],
        width_px=target.shape[1],
        predicted_label=prediction.label,
        probabilities=tuple(float(prediction.probabilities[name]) for name in CLASS_NAMES),
        refused=bool(prediction.refused),
        scores=scores,
    )


def _missed(row: ImageResult) -> bool:
    return row.scores.dice is not None and row.scores.dice < MISSED_DICE


def _class_indices(rows: Sequence[ImageResult]) -> tuple[np.ndarray, np.ndarray]:
    truth = np.array([CLASS_NAMES.index(row.label) for row in rows])
    return truth, np.array([CLASS_NAMES.index(row.predicted_label) for row in rows])


def _confusion(rows: Sequence[ImageResult]) -> np.ndarray:
    return metrics.confusion_matrix(*_class_indices(rows), len(CLASS_NAMES))


def _versions() -> dict[str, str]:
    packages = ("datasets", "numpy", "pillow", "scipy", "torch")
    return {
        "busi_unet": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
    }


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    lines.insert(1, ["-" * width for width in widths])
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in padded)


def _write_report(folder: Path, evaluation: Evaluation, predictor: Segmenter, split: Dataset) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    summary = json.dumps(evaluation.summary, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    (folder / "metrics.json").write_text(summary + "\n", encoding="utf-8")
    (folder / "summary.md").write_text(evaluation.to_markdown() + "\n", encoding="utf-8")
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
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "The evaluation report needs matplotlib, which is not installed.",
            "Install the training extra: pip install 'busi-unet[train]'.",
        ) from error
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
        pixels, target = _frames(split[index])
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
