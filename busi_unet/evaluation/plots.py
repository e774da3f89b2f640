"""The plots and galleries of an evaluation report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from busi_unet.config import CLASS_NAMES
from busi_unet.evaluation import metrics
from busi_unet.io.decode import decode_image
from busi_unet.io.masks import decode_mask

if TYPE_CHECKING:
    from datasets import Dataset
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from busi_unet.evaluation.summary import ImageResult

    # A row and its pixels, uint8 (H, W), to the predicted mask, bool (H, W).
    MaskOf = Callable[[ImageResult, np.ndarray], np.ndarray]

# Okabe and Ito's palette keeps apart under the common colour-vision deficiencies.
TARGET_COLOUR, PREDICTION_COLOUR = "#56B4E9", "#E69F00"
CLASS_STYLE = {"benign": ("#0072B2", "o"), "malignant": ("#D55E00", "^")}


def gallery(indices: Sequence[int], rows: Sequence[ImageResult], split: Dataset, mask_of: MaskOf) -> Figure:
    """Pictures with the contours of the reference and of the prediction, a caption over each."""
    columns = min(3, len(indices))
    lines = -(-len(indices) // columns)
    figure = new_figure(4 * columns, 3.9 * lines + 0.5)
    figure.suptitle("reference: solid blue    prediction: dashed orange", fontsize=10)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for panel in panels:
        panel.axis("off")
    for panel, index in zip(panels, indices, strict=False):
        item = split[index]
        pixels, target = decode_image(item["image"]), decode_mask(item["mask"])
        panel.imshow(pixels, cmap="gray", vmin=0, vmax=255)
        _draw_contour(panel, target, TARGET_COLOUR, "solid")
        _draw_contour(panel, mask_of(rows[index], pixels), PREDICTION_COLOUR, "dashed")
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


def confusion_matrix(confusion: Sequence[Sequence[int]]) -> Figure:
    """Counts and, by shade, shares of each true class (row)."""
    counts = np.array(confusion)
    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]
    figure = new_figure(4.4, 4)
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        colour = "white" if shares[row, column] > 0.6 else "black"
        share = f"\n{shares[row, column]:.0%}" if totals[row] else ""
        axes.text(column, row, f"{count}{share}", ha="center", va="center", color=colour)
    axes.set(
        xticks=range(len(CLASS_NAMES)),
        yticks=range(len(CLASS_NAMES)),
        xticklabels=CLASS_NAMES,
        yticklabels=CLASS_NAMES,
        xlabel="predicted class",
        ylabel="true class",
    )
    return figure


def dice_histogram(lesions: Sequence[ImageResult]) -> Figure:
    """Dice of the images with a lesion, stacked by class."""
    figure = new_figure(5.5, 3.5)
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


def dice_by_size(lesions: Sequence[ImageResult]) -> Figure:
    """Dice against the share of the picture that the lesion covers."""
    figure = new_figure(5.5, 3.5)
    axes = figure.subplots()
    for name, (colour, marker) in CLASS_STYLE.items():
        own = [row for row in lesions if row.label == name]
        shares = [100 * row.scores.target_area_px / (row.height_px * row.width_px) for row in own]
        dice = [row.scores.dice for row in own]
        axes.scatter(shares, dice, c=colour, marker=marker, s=18, alpha=0.7, label=name)
    axes.set(xscale="log", xlabel="lesion area (% of the image)", ylabel="Dice", ylim=(-0.03, 1.03))
    axes.legend()
    return figure


def of_probabilities(rows: Sequence[ImageResult]) -> dict[str, Figure | None]:
    """Plots of the class probabilities; None where the rows lack a class that the plot needs."""
    truth = np.array([CLASS_NAMES.index(row.label) for row in rows])
    probabilities = np.array([row.probabilities for row in rows], dtype=float)
    normal, malignant = CLASS_NAMES.index("normal"), CLASS_NAMES.index("malignant")
    tumour = truth != normal
    both_kinds = len(set(truth[tumour])) == 2
    score = metrics.malignancy_score(probabilities)
    return {
        "roc": _roc(truth[tumour] == malignant, score[tumour]) if both_kinds else None,
        "lesion_detection": _lesion_detection(tumour, 1 - probabilities[:, normal])
        if 0 < tumour.sum() < len(rows)
        else None,
        "reliability": _reliability(truth, probabilities),
    }


def _roc(malignant: np.ndarray, score: np.ndarray) -> Figure:
    from sklearn.metrics import roc_curve

    false_positives, true_positives, _ = roc_curve(malignant, score)
    figure = new_figure(4.4, 4)
    axes = figure.subplots()
    axes.plot(false_positives, true_positives, color="#0072B2")
    axes.plot([0, 1], [0, 1], color="grey", linestyle="dotted")
    axes.set(xlabel="1 - specificity", ylabel="sensitivity to malignancy", xlim=(0, 1), ylim=(0, 1.02))
    return figure


def _lesion_detection(lesion: np.ndarray, score: np.ndarray) -> Figure:
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(lesion, score)
    figure = new_figure(4.4, 4)
    axes = figure.subplots()
    axes.plot(recall, precision, color="#0072B2")
    axes.axhline(lesion.mean(), color="grey", linestyle="dotted")
    axes.set(xlabel="recall of pictures with a lesion", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    return figure


def _reliability(truth: np.ndarray, probabilities: np.ndarray) -> Figure:
    """Share of right answers by confidence of the likeliest class, with the number of images in each bin."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    edges = np.linspace(0, 1, metrics.ECE_BINS + 1)
    place = np.clip(np.ceil(confidence * metrics.ECE_BINS).astype(int) - 1, 0, metrics.ECE_BINS - 1)
    figure = new_figure(4.4, 4)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle="dotted")
    for index in range(metrics.ECE_BINS):
        inside = place == index
        if inside.any():
            share = right[inside].mean()
            axes.bar(edges[index], share, width=edges[1], align="edge", color="#56B4E9", edgecolor="#0072B2")
            axes.annotate(
                str(inside.sum()), (edges[index] + edges[1] / 2, share), ha="center", va="bottom", fontsize=7
            )
    axes.set(
        xlabel="confidence (number: images)", ylabel="share classified right", xlim=(0, 1), ylim=(0, 1.08)
    )
    return figure


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, width and height in inches."""
    from matplotlib.figure import Figure

    # Made without pyplot, a figure draws with Agg: no display, no state shared with the caller.
    return Figure(figsize=(width, height), layout="constrained")
