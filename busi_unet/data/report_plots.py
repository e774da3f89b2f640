"""The plots of the data report."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from busi_unet.data.report import DataFacts, ImageFacts

# Near Okabe and Ito's palette, told apart with any colour vision.
COLORS = {"normal": "#1a9e77", "benign": "#3f8fd4", "malignant": "#e0652a", "unknown": "#8a8a8a"}
_STYLE = {
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "font.size": 10,
    "grid.color": "#d0d7de",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
}


def draw_plots(facts: DataFacts) -> dict[str, Figure]:
    """Return the plots that these data allow, by name."""
    import matplotlib
    from matplotlib.figure import Figure

    plots = {
        "folds": (draw_folds, (9.6, 3.6)),
        "sizes": (draw_sizes, (9.6, 3.9)),
        "brightness": (draw_brightness, (9.6, 3.5)),
    }
    if any(image.lesions for image in facts.images):
        plots |= {"lesions": (draw_lesions, (9.6, 3.6)), "places": (draw_places, (9.6, 3.3))}
    if facts.summary["groups_with_copies"]:
        plots["groups"] = (draw_groups, (9.6, 3.2))
    drawn = {}
    with matplotlib.rc_context(_STYLE):
        for name, (draw, size) in plots.items():
            # Made without pyplot, a figure draws with Agg: no display, no state shared with the caller.
            drawn[name] = Figure(figsize=size, layout="constrained")
            draw(drawn[name], facts)
    return drawn


def draw_folds(figure: Figure, facts: DataFacts) -> None:
    """Draw how many images of each class each fold holds."""
    axes = figure.subplots()
    folds = facts.summary["folds"]
    bottom = np.zeros(len(folds))
    for name in facts.classes:
        counts = np.array([fold[name] for fold in folds.values()])
        bars = axes.bar(
            [f"fold {fold}" for fold in folds], counts, 0.6, bottom, color=COLORS[name], label=name
        )
        axes.bar_label(bars, labels=[str(n) if n else "" for n in counts], label_type="center", color="white")
        bottom += counts
    axes.set(ylabel="images", title="Images per fold and class")
    axes.grid(axis="x", visible=False)
    axes.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.08))


def draw_sizes(figure: Figure, facts: DataFacts) -> None:
    """Draw width against height, and their ratio."""
    scatter, aspect = figure.subplots(1, 2, width_ratios=(1.15, 1))
    for name in facts.classes:
        images = facts.of(name)
        widths, heights = [p.width for p in images], [p.height for p in images]
        scatter.scatter(widths, heights, s=14, alpha=0.55, color=COLORS[name], label=name, linewidths=0)
    limit = max(max(p.width, p.height) for p in facts.images) * 1.05
    scatter.plot([0, limit], [0, limit], "--", lw=1, color="#8b949e")
    scatter.text(limit * 0.8, limit * 0.8, "  square", va="top", color="#8b949e", fontsize=9)
    scatter.set(xlim=(0, limit), ylim=(0, limit), xlabel="width (px)", ylabel="height (px)", title="Size")
    scatter.legend(loc="upper left", markerscale=1.8)
    _histogram(aspect, facts, lambda p: p.width / p.height, "width / height", "Aspect")


def draw_brightness(figure: Figure, facts: DataFacts) -> None:
    """Draw how bright the images of each class are, and their grey levels."""
    means, levels = figure.subplots(1, 2)
    _histogram(means, facts, lambda p: p.mean_grey, "mean grey level of an image (0 to 255)", "Brightness")
    for name in facts.classes:
        count = len(facts.of(name))
        # Near black is mostly the screen around the sector; its spike would flatten everything else.
        levels.plot(range(5, 256), facts.grey[name][5:] / count * 100, color=COLORS[name], label=name)
    levels.set_ylim(0, None)
    levels.set(xlabel="grey level (5 to 255)", ylabel="% of pixels", title="Grey levels, mean of images")
    levels.legend()


def draw_lesions(figure: Figure, facts: DataFacts) -> None:
    """Draw area, number and shape of the lesions."""
    labels = [name for name in facts.classes if any(p.lesions for p in facts.of(name))]
    area, count, shape = figure.subplots(1, 3, width_ratios=(1.6, 1, 0.8))
    shares = [p.lesion_share * 100 for p in facts.images if p.lesions]
    bins = np.geomspace(min(shares), max(shares) * 1.01, 26)
    for name in labels:
        values = [p.lesion_share * 100 for p in facts.of(name) if p.lesions]
        weights = np.full(len(values), 100 / len(values))
        area.hist(values, bins, weights=weights, alpha=0.22, color=COLORS[name])
        area.hist(values, bins, weights=weights, histtype="step", lw=1.8, color=COLORS[name], label=name)
        area.axvline(np.median(values), ls="--", lw=1.2, color=COLORS[name])
    area.set_xscale("log")
    area.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    area.set(xlabel="lesion area (% of image, log scale)", ylabel="% of the class", title="Area")
    area.legend()
    numbers = sorted({p.lesions for p in facts.images if p.lesions})
    for index, name in enumerate(labels):
        counts = [sum(p.lesions == number for p in facts.of(name)) for number in numbers]
        x = np.arange(len(numbers)) + (index - (len(labels) - 1) / 2) * 0.4
        bars = count.bar(x, counts, 0.38, color=COLORS[name])
        count.bar_label(bars, fontsize=8)
    count.set_yscale("log")
    count.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    count.set_xticks(range(len(numbers)), [str(number) for number in numbers])
    count.set(xlabel="connected regions in the mask", ylabel="images (log scale)", title="Lesions per image")
    count.grid(axis="x", visible=False)
    taller = [100 * np.mean([p.taller_than_wide for p in facts.of(name) if p.lesions]) for name in labels]
    bars = shape.bar(labels, taller, 0.6, color=[COLORS[name] for name in labels])
    shape.bar_label(bars, fmt="%.0f %%")
    shape.set(ylabel="% of the class", title="Taller than wide")
    shape.grid(axis="x", visible=False)


def draw_places(figure: Figure, facts: DataFacts) -> None:
    """Draw where in the image lesions lie."""
    labels = [name for name in facts.classes if facts.heat[name].any()]
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(labels))), labels, strict=True):
        share = facts.heat[name] / sum(p.lesions > 0 for p in facts.of(name)) * 100
        shown = axes.imshow(share, cmap="magma", vmin=0, extent=(0, 100, 100, 0), aspect=0.72)
        axes.set(title=name, xlabel="% of the width", ylabel="% of the depth")
        axes.grid(visible=False)
        figure.colorbar(shown, ax=axes, label="% of images", shrink=0.85)


def draw_groups(figure: Figure, facts: DataFacts) -> None:
    """Draw sizes of the groups of copies, and what a random split would leak."""
    sizes, leak = figure.subplots(1, 2, width_ratios=(1.3, 1))
    lengths = [len(ids) for ids in facts.groups.values()]
    values = list(range(1, max(lengths) + 1))
    bars = sizes.bar(values, [lengths.count(value) for value in values], 0.7, color="#7d70b5")
    sizes.bar_label(bars, labels=[str(lengths.count(v)) if v in lengths else "" for v in values], fontsize=9)
    sizes.set_yscale("log")
    sizes.set_ylim(0.7, None)
    sizes.set_xticks(values)
    sizes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    sizes.set(xlabel="images in the group", ylabel="groups (log scale)", title="Size of the groups")
    sizes.grid(axis="x", visible=False)
    expected = facts.summary["random_split_leak"] * 100
    bars = leak.barh(["this split", "random split"], [0, expected], 0.5, color=[COLORS["normal"], "#c0392b"])
    leak.bar_label(bars, fmt="%.1f %%", padding=4)
    leak.set(xlim=(0, max(expected * 1.3, 10)), xlabel="% of test images", title="With a copy in training")
    leak.grid(axis="y", visible=False)


def _histogram(
    axes: Axes, facts: DataFacts, value: Callable[[ImageFacts], float], xlabel: str, title: str
) -> None:
    every = [value(image) for image in facts.images]
    bins = np.linspace(min(every), max(every) + 1e-6, 30)
    for name in facts.classes:
        values = [value(image) for image in facts.of(name)]
        weights = np.full(len(values), 100 / len(values))
        axes.hist(values, bins, weights=weights, alpha=0.18, color=COLORS[name])
        axes.hist(values, bins, weights=weights, histtype="step", lw=1.8, color=COLORS[name], label=name)
    axes.set(xlabel=xlabel, ylabel="% of the class", title=title)
    axes.legend()
