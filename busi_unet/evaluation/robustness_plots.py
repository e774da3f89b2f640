"""The plots of an audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from busi_unet.config import CLASS_NAMES
from busi_unet.evaluation.plots import CLASS_STYLE, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from busi_unet.evaluation.robustness_effects import Effect
    from busi_unet.evaluation.summary import Estimate

_NORMAL_STYLE = ("#009E73", "s")
_BEFORE, _AFTER = "grey", "#D55E00"
_BEFORE_AND_AFTER = ("lesion_dice", "accuracy", "auc_malignant")


def shifts(effects: Mapping[str, Effect]) -> Figure:
    """Mean change of each class probability with its interval, a line per disturbance."""
    figure = new_figure(7.5, 0.9 + 0.42 * len(effects))
    axes = figure.subplots()
    axes.axvline(0, color="grey", linewidth=0.8)
    places = np.arange(len(effects))
    for offset, name in zip((-0.22, 0, 0.22), CLASS_NAMES, strict=True):
        colour, marker = CLASS_STYLE.get(name, _NORMAL_STYLE)
        for place, effect in zip(places, effects.values(), strict=True):
            _interval(axes, effect.shifts[f"p_{name}"], place + offset, colour, marker)
        axes.plot([], [], color=colour, marker=marker, linestyle="", label=name)
    _name_lines(axes, effects)
    axes.set_xlabel("mean change of the probability, 95 % interval")
    figure.legend(loc="outside upper center", ncols=len(CLASS_NAMES), frameon=False)
    return figure


def figures(effects: Mapping[str, Effect], titles: Mapping[str, str]) -> Figure:
    """Dice, accuracy and AUC before and after, a line per disturbance and a panel per figure.

    Args:
        effects: by disturbance; each with figures.
        titles: of the figures, by name.
    """
    figure = new_figure(11, 1.1 + 0.3 * len(effects))
    panels = figure.subplots(1, len(_BEFORE_AND_AFTER), sharey=True)
    for axes, name in zip(panels, _BEFORE_AND_AFTER, strict=True):
        for place, effect in enumerate(effects.values()):
            change = effect.figures[name]
            if change.before.value is None or change.after.value is None:
                continue
            axes.plot(change.before.value, place, color=_BEFORE, marker="|", markersize=11)
            # Of the difference: that of the figure itself tells how few the images are, not what changed.
            if (difference := change.difference).ci_low is not None:
                ends = [change.before.value + difference.ci_low, change.before.value + difference.ci_high]
                axes.plot(ends, [place] * 2, color=_AFTER, linewidth=1.2)
            axes.plot(change.after.value, place, color=_AFTER, marker="o", markersize=5)
        axes.set(xlabel=titles[name], xlim=(None, min(1.0, axes.get_xlim()[1])))
    _name_lines(panels[0], effects)
    panels[0].plot([], [], color=_BEFORE, marker="|", markersize=11, linestyle="", label="as it is")
    panels[0].plot(
        [], [], color=_AFTER, marker="o", linestyle="", label="disturbed, 95 % interval of the difference"
    )
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def _interval(axes: Axes, value: Estimate, place: float, colour: str, marker: str) -> None:
    if value.ci_low is not None:
        axes.plot([value.ci_low, value.ci_high], [place] * 2, color=colour, linewidth=1.2)
    axes.plot(value.value, place, color=colour, marker=marker, markersize=5)


def _name_lines(axes: Axes, effects: Mapping[str, Effect]) -> None:
    names = [f"{name} ({sum(effect.images.values())})" for name, effect in effects.items()]
    axes.set_yticks(range(len(effects)), names)
    axes.set_ylim(len(effects) - 0.5, -0.5)
