"""The report folder of an audit, none of which shows a pixel of the data set.

audit.json       every figure with its interval, and where it comes from
audit.md         the same as tables
per_image.csv    one row per image and disturbance
shifts.png       how far the class probabilities move
figures.png      Dice, accuracy and AUC before and after
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from busi_unet.config import CLASS_NAMES
from busi_unet.evaluation import robustness_plots
from busi_unet.evaluation.report import require_matplotlib, save_figures, table, write_csv, write_json
from busi_unet.evaluation.robustness_effects import FIGURES, Change, Effect
from busi_unet.evaluation.summary import TITLES, Estimate

if TYPE_CHECKING:
    from busi_unet.evaluation.robustness import Audit

# A table each: its title, and its columns by the name of a shift.
_SHIFTS = {
    "Mean change of the probability": {
        **{f"p_{name}": name for name in CLASS_NAMES},
        "class_changed": "share with another class",
    },
    "Mean absolute change": {f"p_{name}_abs": name for name in CLASS_NAMES},
    "Change of the probability of malignant": {
        f"p_malignant_on_{name}": f"{name} images" for name in CLASS_NAMES
    },
    "Change of the probability of a lesion": {
        f"p_lesion_on_{name}": f"{name} images" for name in CLASS_NAMES
    },
}
_FIGURES = {**{name: TITLES[name] for name in FIGURES}, "refused_share": "Images refused"}
PLOTS = {
    "shifts": "How far the class probabilities move",
    "figures": "Dice, accuracy and AUC before and after",
}
"""Title of each plot by the name of its file."""


def write_audit(folder: Path, audit: Audit) -> None:
    """Writes the report folder, made if absent; replaces what an earlier audit wrote there.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    require_matplotlib()
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "audit.json", audit.summary)
    (folder / "audit.md").write_text(to_markdown(audit) + "\n", encoding="utf-8")
    rows = [record.to_row() for record in audit.records]
    per_image = folder / "per_image.csv"
    write_csv(per_image, rows) if rows else per_image.unlink(missing_ok=True)
    drawn = {name: effect for name, effect in audit.effects.items() if effect.figures}
    save_figures(
        folder,
        {
            "shifts": robustness_plots.shifts(drawn) if drawn else None,
            "figures": robustness_plots.figures(drawn, _FIGURES) if drawn else None,
        },
    )


def to_markdown(audit: Audit) -> str:
    """The figures as Markdown tables that also read well in a terminal."""
    listed = ", ".join(f"{count} {name}" for name, count in audit.images.items())
    meanings = [
        [each.name, each.kind, str(sum(audit.effects[each.name].images.values())), each.meaning]
        for each in audit.disturbances
    ]
    parts = [
        f"{sum(audit.images.values())} images ({listed}) in {audit.groups} groups; in brackets "
        f"{audit.provenance['bootstrap']['level']:.0%} bootstrap intervals over groups.",
        table(["Disturbance", "Kind", "Images", "What is done"], meanings),
        *tables({"": audit.effects}),
    ]
    for name, effects in audit.subsets.items():
        parts += [f"Of these, {name}:", *tables({"": effects}, figures=("accuracy", "lesion_dice"), shifts=1)]
    return "\n\n".join(parts)


def tables(
    audits: Mapping[str, Mapping[str, Effect]],
    *,
    figures: Sequence[str] = tuple(_FIGURES),
    shifts: int = len(_SHIFTS),
) -> list[str]:
    """Markdown tables with a row per disturbance, and the columns of several audits next to each other.

    Args:
        audits: the effects by disturbance, by the name of the audit; a name may be empty.
        figures: those to show, each in a table.
        shifts: how many of the tables of changed probabilities to show.
    """
    disturbances = list(dict.fromkeys(name for effects in audits.values() for name in effects))

    def headed(title: str, columns: Sequence[str]) -> list[str]:
        return [title, *(f"{audit}: {column}" if audit else column for audit in audits for column in columns)]

    drawn = []
    for title, columns in list(_SHIFTS.items())[:shifts]:
        rows = [
            [name, *(_shift(effects.get(name), key) for effects in audits.values() for key in columns)]
            for name in disturbances
        ]
        drawn.append(table(headed(title, list(columns.values())), rows))
    for figure in figures:
        rows = [
            [name, *(cell for effects in audits.values() for cell in _change(effects.get(name), figure))]
            for name in disturbances
        ]
        drawn.append(table(headed(_FIGURES[figure], ["before → after", "difference"]), rows))
    return drawn


def _shift(effect: Effect | None, name: str) -> str:
    if effect is None or name not in effect.shifts:
        return "–"
    # A share and a mean of absolute values have no sign.
    return _written(effect.shifts[name], "" if name == "class_changed" or name.endswith("_abs") else "+")


def _change(effect: Effect | None, name: str) -> tuple[str, str]:
    change: Change | None = effect.figures.get(name) if effect else None
    if change is None or change.before.value is None or change.after.value is None:
        return "–", "–"
    return f"{change.before.value:.3f} → {change.after.value:.3f}", _written(change.difference, "+")


def _written(value: Estimate, sign: str) -> str:
    if value.value is None:
        return "–"
    interval = "" if value.ci_low is None else f" [{value.ci_low:{sign}.3f}, {value.ci_high:{sign}.3f}]"
    return f"{value.value:{sign}.3f}{interval}"
