"""The plots of an evaluation report, and the curve of missed lesions that one of them shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from busi_unet.evaluation.rows import MISSED_DICE, ImageResult, Table, by_source
from busi_unet.evaluation.statistics import ECE_BINS, auc, calibration_bin, expected_calibration_error

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette keeps apart under the common colour-vision deficiencies.
BLUE, VERMILLION, SKY = "#0072B2", "#D55E00", "#56B4E9"
_COLORS = (BLUE, VERMILLION, "#009E73", "#CC79A7", "#E69F00")
_ALL = "all images"

PLOTS = {
    "roc": "ROC: malignant vs benign",
    "dice": "Dice of lesions",
    "reliability": "Reliability: how often the likeliest class is right, by its probability",
    "missed_vs_outlined": "Missed lesions against outlined normal images, as the lesion threshold moves",
}
"""Title of each plot by the name of its file; none shows an image of the data set."""


def lesion_threshold_curve(table: Table) -> list[dict[str, float]]:
    """Return missed lesions against outlined normal images as the lesion threshold rises from 0.

    Masks are those drawn whatever the lesion probability (`ungated`); a refused image never has one.

    Returns:
        A point per threshold, the lesion probability below which no mask is drawn: `threshold`,
        `missed_share` of the lesions (Dice below `MISSED_DICE`), `outlined_share` of the images without one.
        Empty without lesions, or without images that have none.
    """
    dice, area = table.column("ungated_dice"), table.column("ungated_area_px")
    # At -1, nothing is drawn whatever the threshold.
    chance = np.where(table.column("refused") == 1, -1, table.column("lesion_probability"))
    found_up_to = np.where(np.isnan(dice) & (chance >= 0), np.nan, np.where(dice >= MISSED_DICE, chance, -1))
    outlined_up_to = np.where(np.isnan(area) & (chance >= 0), np.nan, np.where(area > 0, chance, -1))
    found_up_to = found_up_to[table.among("lesion") & ~np.isnan(found_up_to)]
    outlined_up_to = outlined_up_to[table.among("no lesion") & ~np.isnan(outlined_up_to)]
    if not found_up_to.size or not outlined_up_to.size:
        return []
    return [
        {
            "threshold": float(threshold),
            "missed_share": float(np.mean(found_up_to < threshold)),
            "outlined_share": float(np.mean(outlined_up_to >= threshold)),
        }
        for threshold in np.unique(np.concatenate([[0.0], found_up_to, outlined_up_to, [1.0]]).clip(0))
    ]


def draw_plots(rows: Sequence[ImageResult]) -> dict[str, Figure]:
    """Return the plots of `PLOTS` for which the rows hold what they need, by name."""
    from matplotlib.figure import Figure

    sources = by_source(rows)
    parts = {_ALL: rows, **(sources if len(sources) > 1 else {})}
    tables = {name: Table(part) for name, part in parts.items()}
    draw = {
        "roc": _draw_roc,
        "dice": _draw_dice,
        "reliability": _draw_reliability,
        "missed_vs_outlined": _draw_missed_vs_outlined,
    }
    # Made without pyplot, a figure draws with Agg: no display, no state shared with the caller.
    figures = {name: Figure(figsize=(4.6, 4.4), layout="constrained") for name in PLOTS}
    return {name: figure for name, figure in figures.items() if draw[name](figure.subplots(), tables)}


def _draw_roc(axes: Axes, parts: Mapping[str, Table]) -> bool:
    """Draw the ROC of malignant against benign images for each part that has both."""
    from sklearn.metrics import roc_curve

    for (name, table), color in zip(parts.items(), cycle(_COLORS)):
        scores, malignant = table.column("malignancy"), table.among("malignant")
        used = (malignant | table.among("benign")) & ~np.isnan(scores)
        area = float(auc(scores[used], malignant[used], np.ones(used.sum())))
        if not np.isnan(area):
            false_positives, true_positives, _ = roc_curve(malignant[used], scores[used])
            axes.plot(false_positives, true_positives, color=color, label=f"{name} (AUC {area:.3f})")
    if not axes.lines:
        return False
    axes.plot([0, 1], [0, 1], color="grey", linestyle="dotted")
    axes.set(title=PLOTS["roc"], xlabel="1 − specificity", ylabel="sensitivity", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="lower right")
    return True


def _draw_dice(axes: Axes, parts: Mapping[str, Table]) -> bool:
    """Draw the distribution of Dice over images with a lesion."""
    dice = parts[_ALL].column("dice")[parts[_ALL].among("lesion")]
    dice = dice[~np.isnan(dice)]
    if not dice.size:
        return False
    axes.hist(dice, bins=np.linspace(0, 1, 21), color=SKY, edgecolor=BLUE)
    axes.axvline(np.median(dice), color=VERMILLION, linestyle="dashed", label=f"median {np.median(dice):.3f}")
    axes.set(title=PLOTS["dice"], xlabel="Dice", ylabel="images with a lesion", xlim=(0, 1))
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    return True


def _draw_reliability(axes: Axes, parts: Mapping[str, Table]) -> bool:
    """Draw how often the likeliest class is right, by its probability."""
    table = parts[_ALL]
    known = table.among("labelled") & ~np.isnan(table.probabilities).any(axis=1)
    if not known.any():
        return False
    probabilities, truth = table.probabilities[known], table.truth[known]
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    place = calibration_bin(confidence)
    error = float(expected_calibration_error(probabilities, truth, np.ones(len(truth))))
    axes.plot([0, 1], [0, 1], color="grey", linestyle="dotted")
    width = 1 / ECE_BINS
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
    return True


def _draw_missed_vs_outlined(axes: Axes, parts: Mapping[str, Table]) -> bool:
    """Draw a curve for each part that has one; a dot is the model's own threshold."""
    for (name, table), color in zip(parts.items(), cycle(_COLORS)):
        if curve := lesion_threshold_curve(table):
            x, y = ([100 * point[side] for point in curve] for side in ("outlined_share", "missed_share"))
            axes.plot(x, y, color=color, label=name, drawstyle="steps-post")
            outlined = np.nanmean(table.column("outlined")[table.among("no lesion")])
            missed = np.nanmean(table.column("missed")[table.among("lesion")])
            axes.plot(100 * outlined, 100 * missed, "o", color=color)
    if not axes.lines:
        return False
    axes.set(
        title="Missed lesions vs outlined normal images",
        xlabel="normal images outlined (%)",
        ylabel="lesions missed (%)",
        xlim=(0, 100),
        ylim=(0, 100),
    )
    axes.grid(alpha=0.3)
    axes.legend()
    return True
