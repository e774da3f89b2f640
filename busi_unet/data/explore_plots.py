"""The plots of the data report, each as HTML that fits a light and a dark page."""

from __future__ import annotations

import html
import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from busi_unet.data.exploration import Exploration, ExploredImage, data_uri

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Near Okabe and Ito's palette (told apart with any colour vision), but clear on white and on near-black.
COLORS = {"normal": "#1a9e77", "benign": "#3f8fd4", "malignant": "#e0652a", "unknown": "#8a8a8a"}
_THEMES = {
    "light": {"text": "#1f2328", "line": "#d0d7de", "paper": "#ffffff"},
    "dark": {"text": "#d6dbe1", "line": "#3d444d", "paper": "#161b22"},
}


def _plot(draw: Callable[[Figure], None], alt: str, size: tuple[float, float]) -> str:
    """Draws a figure once per colour scheme; the reader's browser shows the fitting one."""
    import matplotlib
    from matplotlib.figure import Figure

    uris = {}
    for theme, colors in _THEMES.items():
        style = {
            "axes.edgecolor": colors["line"],
            "axes.facecolor": colors["paper"],
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.labelcolor": colors["text"],
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 11,
            "axes.titleweight": "bold",
            "figure.facecolor": colors["paper"],
            "font.family": "DejaVu Sans",
            "font.size": 10,
            "grid.color": colors["line"],
            "grid.linewidth": 0.6,
            "legend.frameon": False,
            "text.color": colors["text"],
            "xtick.color": colors["text"],
            "ytick.color": colors["text"],
        }
        with matplotlib.rc_context(style):
            figure = Figure(figsize=size, layout="constrained")
            draw(figure)
            buffer = io.BytesIO()
            figure.savefig(buffer, format="png", dpi=130)
        uris[theme] = data_uri(buffer.getvalue(), "image/png")
    return (
        f'<picture><source media="(prefers-color-scheme: dark)" srcset="{uris["dark"]}">'
        f'<img class="plot" src="{uris["light"]}" alt="{html.escape(alt)}"></picture>'
    )


def plot_folds(found: Exploration) -> str:
    """How many images of each class each fold holds."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        folds = found.summary["folds"]
        bottom = np.zeros(len(folds))
        for name in found.classes:
            counts = np.array([fold[name] for fold in folds.values()])
            bars = axes.bar(
                [f"fold {fold}" for fold in folds], counts, 0.6, bottom, color=COLORS[name], label=name
            )
            axes.bar_label(
                bars, labels=[str(n) if n else "" for n in counts], label_type="center", color="white"
            )
            bottom += counts
        axes.set(ylabel="images", title="Images per fold and class")
        axes.grid(axis="x", visible=False)
        axes.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.08))

    return _plot(draw, "Stacked bars: images of each class in each fold", (9.6, 3.6))


def plot_sizes(found: Exploration) -> str:
    """Width against height, and their ratio."""

    def draw(figure: Figure) -> None:
        scatter, aspect = figure.subplots(1, 2, width_ratios=(1.15, 1))
        for name in found.classes:
            images = found.of(name)
            widths, heights = [p.width for p in images], [p.height for p in images]
            scatter.scatter(widths, heights, s=14, alpha=0.55, color=COLORS[name], label=name, linewidths=0)
        limit = max(max(p.width, p.height) for p in found.images) * 1.05
        scatter.plot([0, limit], [0, limit], "--", lw=1, color="#8b949e")
        scatter.text(limit * 0.8, limit * 0.8, "  square", va="top", color="#8b949e", fontsize=9)
        scatter.set(xlim=(0, limit), ylim=(0, limit), xlabel="width (px)", ylabel="height (px)", title="Size")
        scatter.legend(loc="upper left", markerscale=1.8)
        _histogram(aspect, found, lambda p: p.width / p.height, "width / height", "Aspect")

    return _plot(
        draw, "Scatter of image width against height, histogram of width divided by height", (9.6, 3.9)
    )


def plot_intensity(found: Exploration) -> str:
    """How bright the images of each class are, and their grey levels."""

    def draw(figure: Figure) -> None:
        means, levels = figure.subplots(1, 2)
        _histogram(
            means, found, lambda p: p.mean_grey, "mean grey level of an image (0 to 255)", "Brightness"
        )
        for name in found.classes:
            count = len(found.of(name))
            # Near black is mostly the screen around the sector; its spike would flatten everything else.
            levels.plot(range(5, 256), found.grey[name][5:] / count * 100, color=COLORS[name], label=name)
        levels.set_ylim(0, None)
        levels.set(xlabel="grey level (5 to 255)", ylabel="% of pixels", title="Grey levels, mean of images")
        levels.legend()

    return _plot(
        draw, "Histogram of mean grey levels by class; mean grey-level distribution by class", (9.6, 3.5)
    )


def plot_lesions(found: Exploration) -> str:
    """Area, number and shape of the lesions; needs at least one."""
    labels = [name for name in found.classes if any(p.lesions for p in found.of(name))]

    def draw(figure: Figure) -> None:
        area, count, shape = figure.subplots(1, 3, width_ratios=(1.6, 1, 0.8))
        shares = [p.lesion_share * 100 for p in found.images if p.lesions]
        bins = np.geomspace(min(shares), max(shares) * 1.01, 26)
        for name in labels:
            values = [p.lesion_share * 100 for p in found.of(name) if p.lesions]
            area.hist(
                values,
                bins,
                density=False,
                weights=np.full(len(values), 100 / len(values)),
                alpha=0.22,
                color=COLORS[name],
            )
            area.hist(
                values,
                bins,
                weights=np.full(len(values), 100 / len(values)),
                histtype="step",
                lw=1.8,
                color=COLORS[name],
                label=name,
            )
            area.axvline(np.median(values), ls="--", lw=1.2, color=COLORS[name])
        area.set_xscale("log")
        area.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        area.set(xlabel="lesion area (% of image, log scale)", ylabel="% of the class", title="Area")
        area.legend()
        numbers = sorted({p.lesions for p in found.images if p.lesions})
        for index, name in enumerate(labels):
            counts = [sum(p.lesions == number for p in found.of(name)) for number in numbers]
            x = np.arange(len(numbers)) + (index - (len(labels) - 1) / 2) * 0.4
            bars = count.bar(x, counts, 0.38, color=COLORS[name])
            count.bar_label(bars, fontsize=8)
        count.set_yscale("log")
        count.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        count.set_xticks(range(len(numbers)), [str(number) for number in numbers])
        count.set(
            xlabel="connected regions in the mask", ylabel="images (log scale)", title="Lesions per image"
        )
        count.grid(axis="x", visible=False)
        taller = [100 * np.mean([p.taller_than_wide for p in found.of(name) if p.lesions]) for name in labels]
        bars = shape.bar(labels, taller, 0.6, color=[COLORS[name] for name in labels])
        shape.bar_label(bars, fmt="%.0f %%")
        shape.set(ylabel="% of the class", title="Taller than wide")
        shape.grid(axis="x", visible=False)

    return _plot(
        draw, "Lesion area by class, lesions per image, share of lesions taller than wide", (9.6, 3.6)
    )


def plot_places(found: Exploration) -> str:
    """Where in the frame lesions lie; needs at least one."""
    labels = [name for name in found.classes if found.heat[name].any()]

    def draw(figure: Figure) -> None:
        for axes, name in zip(np.atleast_1d(figure.subplots(1, len(labels))), labels, strict=True):
            share = found.heat[name] / sum(p.lesions > 0 for p in found.of(name)) * 100
            shown = axes.imshow(share, cmap="magma", vmin=0, extent=(0, 100, 100, 0), aspect=0.72)
            axes.set(title=name, xlabel="% of the width", ylabel="% of the depth")
            axes.grid(visible=False)
            figure.colorbar(shown, ax=axes, label="% of images", shrink=0.85)

    return _plot(draw, "Heat maps of where lesions lie in the frame, by class", (9.6, 3.3))


def plot_copies(found: Exploration) -> str:
    """Sizes of the groups of copies, and what a random split would leak."""

    def draw(figure: Figure) -> None:
        sizes, leak = figure.subplots(1, 2, width_ratios=(1.3, 1))
        lengths = [len(ids) for ids in found.groups.values()]
        values = list(range(1, max(lengths) + 1))
        bars = sizes.bar(values, [lengths.count(value) for value in values], 0.7, color="#7d70b5")
        sizes.bar_label(
            bars, labels=[str(lengths.count(v)) if v in lengths else "" for v in values], fontsize=9
        )
        sizes.set_yscale("log")
        sizes.set_ylim(0.7, None)
        sizes.set_xticks(values)
        sizes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        sizes.set(xlabel="images in the group", ylabel="groups (log scale)", title="Size of the groups")
        sizes.grid(axis="x", visible=False)
        expected = found.summary["random_split_leak"] * 100
        bars = leak.barh(
            ["this split", "random split"], [0, expected], 0.5, color=[COLORS["normal"], "#c0392b"]
        )
        leak.bar_label(bars, fmt="%.1f %%", padding=4)
        leak.set(
            xlim=(0, max(expected * 1.3, 10)), xlabel="% of test images", title="With a copy in training"
        )
        leak.grid(axis="y", visible=False)

    return _plot(draw, "Bars: how many groups have how many images; leak of a random split", (9.6, 3.2))


def _histogram(
    axes: Axes, found: Exploration, value: Callable[[ExploredImage], float], xlabel: str, title: str
) -> None:
    every = [value(image) for image in found.images]
    bins = np.linspace(min(every), max(every) + 1e-6, 30)
    for name in found.classes:
        values = [value(image) for image in found.of(name)]
        weights = np.full(len(values), 100 / len(values))
        axes.hist(values, bins, weights=weights, alpha=0.18, color=COLORS[name])
        axes.hist(values, bins, weights=weights, histtype="step", lw=1.8, color=COLORS[name], label=name)
    axes.set(xlabel=xlabel, ylabel="% of the class", title=title)
    axes.legend()
