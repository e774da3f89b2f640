"""Robustness: how a model's answers change when its images are disturbed.

Every disturbance leaves the lesion and its class what they are, so that a model that looks at the lesion
should answer as before. The report folder shows no pixel of the data set:

    robustness.html   what each disturbance does, as a table
    robustness.json   every metric with its interval, and where it comes from
    per_image.csv     one row per image and disturbance, "none" for the image as it is
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from busi_unet.evaluation.disturbances import DISTURBANCES, Disturbance, generator_for
from busi_unet.evaluation.evaluate import decode_pair, score
from busi_unet.evaluation.metrics import shown_in
from busi_unet.evaluation.report import table, write_csv, write_json
from busi_unet.evaluation.rows import ImageResult, Table, count_classes
from busi_unet.evaluation.statistics import Bootstrap, Estimate, Statistic, mean
from busi_unet.io.html import render
from busi_unet.version import commit, versions

if TYPE_CHECKING:
    from datasets import Dataset

    from busi_unet.inference.predictor import Predictor


@dataclass(frozen=True)
class Change:
    """A metric over the same images before and after, and the difference, taken image by image."""

    before: Estimate
    after: Estimate
    difference: Estimate


@dataclass(frozen=True)
class Effect:
    """What one disturbance does to the images that it applies to.

    Attributes:
        images: how many.
        metrics: by name, those that are shown in "robustness"; empty where there are no images.
        malignant_shift: mean change of the malignant probability.
        class_changed: share of images with another predicted class.
    """

    images: int
    metrics: dict[str, Change]
    malignant_shift: Estimate
    class_changed: Estimate


@dataclass(frozen=True)
class Robustness:
    """What `measure_robustness` found.

    Attributes:
        disturbances: those tried.
        effects: by the name of the disturbance.
        rows: by the name of the disturbance, of the images that it applies to; first "none", of all images.
        provenance: seed, versions, and whatever the caller added.
    """

    disturbances: Sequence[Disturbance]
    effects: dict[str, Effect]
    rows: dict[str, list[ImageResult]]
    provenance: dict[str, Any]

    @property
    def summary(self) -> dict[str, Any]:
        """Everything but the rows, ready for JSON."""
        return {
            "disturbances": [
                {"name": each.name, "kind": each.kind, "meaning": each.meaning} for each in self.disturbances
            ],
            "effects": {name: asdict(effect) for name, effect in self.effects.items()},
            "images": count_classes(self.rows["none"]),
            "groups": len({(row.source, row.group) for row in self.rows["none"]}),
            "provenance": self.provenance,
        }


def measure_robustness(
    predictor: Predictor,
    split: Dataset,
    *,
    disturbances: Sequence[Disturbance] = tuple(DISTURBANCES.values()),
    seed: int = 0,
    output: str | Path | None = None,
    progress: bool = True,
    provenance: Mapping[str, Any] | None = None,
) -> Robustness:
    """Predict every image as it is, once, and again under each disturbance that applies to it.

    Args:
        predictor: the model.
        split: images of the prepared data set; those without an outlined reference are left out.
        disturbances: those to try.
        seed: of the disturbances and of the bootstrap.
        output: folder for the report, see the head of this module; nothing is written without it.
        progress: shows a progress bar on stderr.
        provenance: entries to add, such as model and command.

    Raises:
        UsageError: a mask does not fit its image.
    """
    if output is not None:
        Path(output).mkdir(parents=True, exist_ok=True)
    # Before the long part: of the code that runs, not of what it has become meanwhile.
    made_with = {
        "bootstrap": Bootstrap.settings(seed),
        "seed": seed,
        "commit": commit(),
        "versions": versions("datasets", "numpy", "opencv-python-headless", "pillow", "scipy", "torch"),
    }
    undisturbed: list[ImageResult] = []
    pairs: dict[str, list[tuple[ImageResult, ImageResult]]] = {each.name: [] for each in disturbances}
    for item in tqdm(split, desc="robustness", unit="image", disable=not progress):
        pixels, target = decode_pair(item)
        if target is None:
            continue
        before = score(predictor.predict(pixels), target, item)
        undisturbed.append(before)
        for each in disturbances:
            changed = each.change(pixels, target, generator_for(seed, each.name, item["image_id"]))
            if changed is not None:
                after = score(predictor.predict(changed[0]), changed[1], item)
                pairs[each.name].append((before, after))
    found = Robustness(
        disturbances=disturbances,
        effects={name: _effect_of(own, seed=seed) for name, own in pairs.items()},
        rows={"none": undisturbed, **{name: [after for _, after in own] for name, own in pairs.items()}},
        provenance={**made_with, **(provenance or {})},
    )
    if output is not None:
        _write(Path(output), found)
    return found


def _effect_of(pairs: Sequence[tuple[ImageResult, ImageResult]], *, seed: int) -> Effect:
    """Return what a disturbance does, from pairs of rows before and after it.

    Both are resampled together, so that the interval tells whether they differ, not how hard the images are.
    """
    before, after = (Table([pair[side] for pair in pairs]) for side in (0, 1))
    bootstrap = Bootstrap(before.groups, seed=seed)
    metrics = {}
    for metric in shown_in("robustness"):
        first, second = metric.measure(before), metric.measure(after)
        if n := min(first.n, second.n):
            difference = bootstrap.estimate(_difference(first.statistic, second.statistic), n)
            metrics[metric.name] = Change(bootstrap.estimate(*first), bootstrap.estimate(*second), difference)
    shift = after.probability("malignant") - before.probability("malignant")
    changed = (before.predicted != after.predicted).astype(float)
    return Effect(
        images=len(pairs),
        metrics=metrics,
        malignant_shift=bootstrap.estimate(
            lambda weights: mean(shift, weights), int(np.count_nonzero(~np.isnan(shift)))
        ),
        class_changed=bootstrap.estimate(
            lambda weights: mean(changed, weights), len(pairs), int(changed.sum())
        ),
    )


def _difference(before: Statistic, after: Statistic) -> Statistic:
    return lambda weights: after(weights) - before(weights)


def _write(folder: Path, found: Robustness) -> None:
    write_csv(
        folder / "per_image.csv",
        [{"disturbance": name, **row.to_row()} for name, rows in found.rows.items() for row in rows],
    )
    write_json(folder / "robustness.json", found.summary)
    page = render(
        "robustness.html",
        title="Robustness",
        found=found,
        metrics=shown_in("robustness"),
        summary=found.summary,
    )
    (folder / "robustness.html").write_text(page, encoding="utf-8")


def to_markdown(found: Robustness) -> str:
    """Return the differences as a Markdown table that also reads well in a terminal."""
    summary, metrics = found.summary, shown_in("robustness")
    listed = ", ".join(f"{count} {name}" for name, count in summary["images"].items())
    rows = []
    for name, effect in found.effects.items():
        changes = [effect.metrics.get(metric.name) for metric in metrics]
        differences = [change.difference.written(3, sign=True) if change else "–" for change in changes]
        shift, changed = effect.malignant_shift.written(3, sign=True), effect.class_changed.written(3)
        rows.append([name, str(effect.images), *differences, shift, changed])
    header = ["Disturbance", "Images", *(metric.title for metric in metrics)]
    return "\n\n".join(
        [
            f"{sum(summary['images'].values())} images ({listed}) in {summary['groups']} groups. By how much "
            f"each metric changes when the images are disturbed; in parentheses "
            f"{found.provenance['bootstrap']['level']:.0%} bootstrap intervals over groups.",
            table([*header, "Malignant probability", "Share with another class"], rows),
            "\n".join(f"- {each.name} ({each.kind}): {each.meaning}" for each in found.disturbances),
        ]
    )
