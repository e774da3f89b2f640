"""The report folder of a robustness measurement; none of it shows a pixel of the data set.

robustness.html   what each disturbance does, as a table and a plot
robustness.json   every metric with its interval, and where it comes from
per_image.csv     one row per image and disturbance, "none" for the image as it is
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from busi_unet.evaluation.metrics import Metric, shown_in
from busi_unet.evaluation.plots import BLUE, new_figure
from busi_unet.evaluation.report import require_matplotlib, table, write_csv, write_json
from busi_unet.io.html import data_uri, png_of, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from busi_unet.evaluation.bootstrap import Estimate
    from busi_unet.evaluation.robustness import Effect, Robustness


def write_robustness(folder: Path, found: Robustness) -> None:
    """Write the report folder, made if absent; replace what an earlier run wrote there.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require_matplotlib()
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"none": found.undisturbed, **found.disturbed}
    write_csv(
        folder / "per_image.csv",
        [{"disturbance": name, **row.to_row()} for name, rows in parts.items() for row in rows],
    )
    write_json(folder / "robustness.json", found.summary)
    shown = {name: effect for name, effect in found.effects.items() if effect.metrics}
    page = render(
        "robustness.html",
        title="Robustness",
        found=found,
        metrics=shown_in("robustness"),
        summary=found.summary,
        plot=data_uri(png_of(draw_differences(shown)), "image/png") if shown else None,
        written=written,
    )
    (folder / "robustness.html").write_text(page, encoding="utf-8")


def to_markdown(found: Robustness) -> str:
    """Return the differences as a Markdown table that also reads well in a terminal."""
    summary, metrics = found.summary, shown_in("robustness")
    listed = ", ".join(f"{count} {name}" for name, count in summary["images"].items())
    rows = [
        [
            each.name,
            str(found.effects[each.name].images),
            *(_difference(found.effects[each.name], metric) for metric in metrics),
            written(found.effects[each.name].malignant_shift, sign=True),
            written(found.effects[each.name].class_changed),
        ]
        for each in found.disturbances
    ]
    header = ["Disturbance", "Images", *(metric.title for metric in metrics)]
    return "\n\n".join(
        [
            f"{sum(summary['images'].values())} images ({listed}) in {summary['groups']} groups. By how much "
            f"each metric changes when the images are disturbed; in brackets "
            f"{found.provenance['bootstrap']['level']:.0%} bootstrap intervals over groups.",
            table([*header, "Malignant probability", "Share with another class"], rows),
            "\n".join(f"- {each.name} ({each.kind}): {each.meaning}" for each in found.disturbances),
        ]
    )


def written(estimate: Estimate | None, *, sign: bool = False) -> str:
    """Return an estimate with its interval; with `sign`, as a difference."""
    if estimate is None or estimate.value is None:
        return "–"
    form = "+.3f" if sign else ".3f"
    interval = "" if estimate.ci_low is None else f" [{estimate.ci_low:{form}}, {estimate.ci_high:{form}}]"
    return f"{estimate.value:{form}}{interval}"


def draw_differences(effects: dict[str, Effect]) -> Figure:
    """Draw how each metric changes, with its interval: a line per disturbance, a panel per metric."""
    metrics, columns = shown_in("robustness"), 4
    lines = -(-len(metrics) // columns)
    figure = new_figure(12, lines * (1.0 + 0.25 * len(effects)))
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for panel in panels[len(metrics) :]:
        panel.axis("off")
    for axes, metric in zip(panels, metrics, strict=False):
        axes.axvline(0, color="grey", linewidth=0.8)
        for place, effect in enumerate(effects.values()):
            change = effect.metrics.get(metric.name)
            if change is None or change.difference.value is None:
                continue
            difference = change.difference
            if difference.ci_low is not None:
                axes.plot([difference.ci_low, difference.ci_high], [place] * 2, color=BLUE, linewidth=1.2)
            axes.plot(difference.value, place, color=BLUE, marker="o", markersize=5)
        axes.set_title(metric.title, fontsize=9)
    panels[0].set_yticks(range(len(effects)), [f"{name} ({e.images})" for name, e in effects.items()])
    panels[0].set_ylim(len(effects) - 0.5, -0.5)
    return figure


def _difference(effect: Effect, metric: Metric) -> str:
    change = effect.metrics.get(metric.name)
    return written(change.difference if change else None, sign=True)
