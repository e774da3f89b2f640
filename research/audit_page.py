"""docs/audit.md: what shortcuts and other scanners do to the answers, written from research/results.

The columns of several audits lie next to each other, so that they tell how much another recipe trains away.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from busi_unet.evaluation.report import table
from busi_unet.evaluation.robustness_effects import Effect
from busi_unet.evaluation.robustness_report import PLOTS, tables
from busi_unet.io.files import reading
from busi_unet.publish.results import note_of


@dataclass(frozen=True)
class AuditSource:
    """One audit that the repository shows.

    Attributes:
        name: of its files in research/results.
        heading: of its columns.
        meaning: half a sentence, which networks it is of.
        remark: more about them.
    """

    name: str
    heading: str
    meaning: str
    remark: str = ""


AUDITS = {
    "audit": AuditSource(
        "audit",
        "published",
        "fold 1's network of the cross-validation",
        " The embedded weights are of the same recipe.",
    ),
    "audit_mild": AuditSource(
        "audit_mild",
        "mild",
        "fold 1's network of the cross-validation with mild augmentation, nothing burnt in or painted out",
        " Dropout, weight decay and epochs are others, too; its `runs/cv` is that of this recipe.",
    ),
}
"""By the argument of research/write_results.py that takes a new report of it; in the order of the columns."""


def keep_audit(report: Path, root: Path, source: AuditSource) -> None:
    """Copies a report folder of scripts/robustness.py into the repository; nothing in it shows a picture.

    Raises:
        UsageError: it is no such folder.
    """
    _read(report / "audit.json")
    results, images = root / "research" / "results", root / "docs" / "images" / "results"
    for folder in (results, images):
        folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(report / "audit.json", results / f"{source.name}.json")
    copies = {report / "per_image.csv": results / f"{source.name}_per_image.csv"}
    copies |= {report / f"{plot}.png": images / f"{source.name}_{plot}.png" for plot in PLOTS}
    for origin, target in copies.items():
        target.unlink(missing_ok=True)
        if origin.is_file():
            shutil.copyfile(origin, target)


def audit_page(root: Path) -> str | None:
    """The page; None where no audit is kept."""
    kept = [source for source in AUDITS.values() if _file(root, source).is_file()]
    if not kept:
        return None
    found = {source: _read(_file(root, source)) for source in kept}
    disturbances: dict[str, dict[str, str]] = {}
    for summary in found.values():
        for each in summary["disturbances"]:
            disturbances.setdefault(each["name"], each)
    effects = {
        (source.heading if len(kept) > 1 else ""): {
            name: Effect.from_dict(found[source]["effects"][name])
            for name in disturbances
            if name in found[source]["effects"]
        }
        for source in kept
    }
    meanings = [
        [
            name,
            each["kind"],
            each["meaning"],
            *(str(sum(own[name].images.values())) if name in own else "–" for own in effects.values()),
        ]
        for name, each in disturbances.items()
    ]
    pictures = [f"pictures, {heading}" if heading else "pictures" for heading in effects]
    plots = [
        f"![{title}, {source.meaning}](images/results/{source.name}_{plot}.png)"
        for source in kept
        for plot, title in PLOTS.items()
        if (root / "docs" / "images" / "results" / f"{source.name}_{plot}.png").is_file()
    ]
    parts = [
        "# Shortcuts and other scanners",
        _HOW_TO_READ,
        *(_origin(source, found[source]) for source in kept),
        "## What is done",
        table(["disturbance", "kind", "what is done", *pictures], meanings),
        "## What it does",
        *tables(effects),
        *plots,
    ]
    return "\n\n".join(parts) + "\n"


def _origin(source: AuditSource, summary: Mapping[str, Any]) -> str:
    provenance = summary["provenance"]
    images = summary["images"]
    listed = ", ".join(f"{count} {name}" for name, count in images.items())
    commit = (
        f"audited at commit {provenance['commit']}" if provenance.get("commit") else "commit not recorded"
    )
    return "\n\n".join(
        [
            f"**{source.heading.capitalize()}**: {source.meaning}.{source.remark} "
            f"{sum(images.values())} images ({listed}) in {summary['groups']} groups of copies.",
            f"```sh\n{provenance['command']}\n```",
            f"Seed {provenance['seed']}; {commit}.{note_of(provenance)} "
            f"Every figure: [{source.name}.json](../research/results/{source.name}.json); a row per image "
            "and disturbance: "
            f"[{source.name}_per_image.csv](../research/results/{source.name}_per_image.csv).",
        ]
    )


def _file(root: Path, source: AuditSource) -> Path:
    return root / "research" / "results" / f"{source.name}.json"


def _read(path: Path) -> dict[str, Any]:
    with reading(path, "is not an audit", "Name a report folder of scripts/robustness.py."):
        summary = json.loads(path.read_text(encoding="utf-8"))
        for effect in summary["effects"].values():
            Effect.from_dict(effect)
        for key in ("disturbances", "images", "groups"):
            summary[key]
        for key in ("command", "seed"):
            summary["provenance"][key]
    return summary


_HOW_TO_READ = """\
Written by `research/write_results.py` from the files in [results](../research/results); nothing here
is typed by hand.

Each picture is judged as it is, and again after a change that leaves its lesion and its class what they
are. A network that goes by the lesion answers the same; one that goes by a shortcut does not. A
**shortcut** is something that a network could go by and should not: in BUSI, lesions are often measured
with calipers and normal pictures never are. Annotated and strong augmentation draw text and calipers, and
paint out, by the same code: a network that was trained with them and withstands these has learned what it
was taught, which does not tell about other marks. A **scanner** is a mimic of another scanner. Its
operators are not those of the augmentation. It is a mimic still, and good figures here do not promise good
ones on another hospital's pictures.

- **Pictures**: those that a change applies to. Before and after are figures of the same pictures, so
  *before* differs from line to line.
- **Difference**: after less before, picture by picture; in brackets its 95 % interval, from a bootstrap
  over groups of copies. An interval that holds 0 shows no effect, which is not to show that there is none.
  Without an interval, no resample differed, or there are too few groups.
- **Change of the probability**: mean of after less before, in the calibrated probability. A mean near 0
  with a large absolute change is unrest without a direction, not a shortcut.
- **Lesion** is whatever is not normal. Dice is against the mask that moved with the picture.
- A dash: the figure cannot be computed, such as the Dice of pictures without a lesion."""
