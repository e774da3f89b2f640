"""The plots of an evaluation report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from busi_unet.evaluation import statistics
from busi_unet.evaluation.measures import Table, lesion_threshold_curve
from busi_unet.evaluation.summary import by_source, summarise

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from busi_unet.evaluation.summary import ImageResult

# Okabe and Ito's palette keeps apart under the common colour-vision deficiencies.
BLUE, VERMILLION, SKY, GREEN = "#0072B2", "#D55E00", "#56B4E9", "#009E73"
_SOURCES = (BLUE, VERMILLION, GREEN, "#CC79A7", "#E69F00")


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, width and height in inches."""
    from matplotlib.figure import Figure

    # Made without pyplot, a figure draws with Agg: no display, no state shared with the caller.
    return Figure(figsize=(width, height), layout="constrained")


def draw_plots(rows: Sequence[ImageResult]) -> dict[str, Figure]:
    """Return the plots for which the rows hold what they need, by name of their file."""
    table = Table(rows)
    dice = table.column("dice")[table.among("lesion")]
    known = table.among("labelled") & ~np.isnan(table.probabilities).any(axis=1)
    plots = {"roc": draw_roc(_parts(rows))}
    if (~np.isnan(dice)).any():
        plots["dice"] = draw_dice(dice[~np.isnan(dice)])
    if known.any():
        plots["reliability"] = draw_reliability(table.probabilities[known], table.truth[known])
    plots["missed_vs_outlined"] = draw_missed_vs_outlined(_parts(rows))
    return {name: figure for name, figure in plots.items() if figure is not None}


def draw_roc(parts: dict[str, Sequence[ImageResult]]) -> Figure | None:
    """Draw the ROC of malignant against benign images for each part; None where none has both."""
    from sklearn.metrics import roc_curve

    figure = new_figure(4.6, 4.4)
    axes = figure.subplots()
    drawn = False
    for (name, rows), color in zip(parts.items(), _SOURCES * len(parts), strict=False):
        table = Table(rows)
        scores, malignant = table.column("malignancy"), table.among("malignant")
        used = (malignant | table.among("benign")) & ~np.isnan(scores)
        area = float(statistics.auc(scores[used], malignant[used], np.ones(used.sum())))
        if np.isnan(area):
            continue
        false_positives, true_positives, _ = roc_curve(malignant[used], scores[used])
        axes.plot(false_positives, true_positives, color=color, label=f"{name} (AUC {area:.3f})")
        drawn = True
    axes.plot([0, 1], [0, 1], color="grey", linestyle="dotted")
    axes.set(
        title="ROC: malignant vs benign",
        xlabel="1 − specificity",
        ylabel="sensitivity",
        xlim=(0, 1),
        ylim=(0, 1.02),
    )
    if not drawn:
        return None
    axes.legend(loc="lower right")
    return figure


def draw_dice(dice: np.ndarray) -> Figure:
    """Draw the distribution of Dice, float (N,), over images with a lesion."""
    figure = new_figure(4.6, 4.4)
    axes = figure.subplots()
    axes.hist(dice, bins=np.linspace(0, 1, 21), color=SKY, edgecolor=BLUE)
    axes.axvline(np.median(dice), color=VERMILLION, linestyle="dashed", label=f"median {np.median(dice):.3f}")
    axes.set(title="Dice of lesions", xlabel="Dice", ylabel="images with a lesion", xlim=(0, 1))
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    return figure


def draw_reliability(probabilities: np.ndarray, truth: np.ndarray) -> Figure:
    """Draw how often the likeliest class is right, by its probability.

    Args:
        probabilities: (N, K).
        truth: class indices (N,).
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    place = statistics.calibration_bin(confidence)
    error = float(statistics.expected_calibration_error(probabilities, truth, np.ones(len(truth))))
    figure = new_figure(4.6, 4.4)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle="dotted")
    width = 1 / statistics.ECE_BINS
    for index in np.unique(place):
        inside = place == index
        share = right[inside].mean()
        axes.bar(index * width, share, width=width, align="edge", color=SKY, edgecolor=BLUE)
        axes.annotate(str(inside.sum()), ((index + 0.5) * width, share), ha="center", va="bottom", fontsize=7)
    axes.set(
        title=f"Reliability (expected calibration error {error:.3f})",
        xlabel="confidence (numbers: images)",
        ylabel="share classified correctly",
        xlim=(0, 1),
        ylim=(0, 1.08),
    )
    return figure


def draw_missed_vs_outlined(parts: dict[str, Sequence[ImageResult]]) -> Figure | None:
    """Draw missed lesions against outlined normal images as the lesion threshold moves, a line per part.

    A dot is the model's own threshold. None where no part has lesions, images without one, and their scores.
    """
    curves = {name: lesion_threshold_curve(rows) for name, rows in parts.items()}
    if not any(curves.values()):
        return None
    figure = new_figure(4.6, 4.4)
    axes = figure.subplots()
    for (name, curve), color in zip(curves.items(), _SOURCES * len(curves), strict=False):
        if not curve:
            continue
        x, y = (
            [100 * getattr(point, side) for point in curve] for side in ("outlined_share", "missed_share")
        )
        axes.plot(x, y, color=color, label=name, drawstyle="steps-post")
        own = summarise(parts[name], resamples=1, names=("normal_false_mask_share", "lesion_missed_share"))
        axes.plot(
            100 * own["normal_false_mask_share"].value,
            100 * own["lesion_missed_share"].value,
            "o",
            color=color,
        )
    axes.set(
        title="Missed lesions vs outlined normal images",
        xlabel="normal images outlined (%)",
        ylabel="lesions missed (%)",
        xlim=(0, 100),
        ylim=(0, 100),
    )
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _parts(rows: Sequence[ImageResult]) -> dict[str, Sequence[ImageResult]]:
    """Return all rows, and those of each source where there are several."""
    sources = by_source(rows)
    return {"all images": rows, **(sources if len(sources) > 1 else {})}
