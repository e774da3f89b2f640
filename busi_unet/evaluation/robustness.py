"""Robustness: how a model's answers change when its images are disturbed
(`busi_unet.evaluation.disturbances`).

Every disturbance leaves the lesion and its class what they are, so that a model that looks at the lesion
should answer as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from busi_unet.evaluation.bootstrap import LEVEL, Bootstrap, Estimate
from busi_unet.evaluation.disturbances import DISTURBANCES, Disturbance, generator_for
from busi_unet.evaluation.evaluate import Segmenter, check_split, decode_pair, score
from busi_unet.evaluation.measures import Table
from busi_unet.evaluation.metrics import shown_in
from busi_unet.evaluation.report import require_matplotlib
from busi_unet.evaluation.robustness_report import write_robustness
from busi_unet.evaluation.statistics import mean
from busi_unet.evaluation.summary import ImageResult, compare, count_classes, summarise
from busi_unet.version import commit, versions

if TYPE_CHECKING:
    from datasets import Dataset


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
        malignant_shift: mean change of the malignant probability; None where there are no images.
        class_changed: share of images with another predicted class; None where there are no images.
    """

    images: int
    metrics: dict[str, Change]
    malignant_shift: Estimate | None
    class_changed: Estimate | None


@dataclass(frozen=True)
class Robustness:
    """What `measure_robustness` found.

    Attributes:
        disturbances: those tried.
        effects: by the name of the disturbance.
        undisturbed: one row per image.
        disturbed: by the name of the disturbance, rows of the images that it applies to.
        provenance: seed, versions, and whatever the caller added.
    """

    disturbances: tuple[Disturbance, ...]
    effects: dict[str, Effect]
    undisturbed: tuple[ImageResult, ...]
    disturbed: dict[str, list[ImageResult]]
    provenance: dict[str, Any]

    @property
    def summary(self) -> dict[str, Any]:
        """Everything but the rows, ready for JSON."""
        return {
            "disturbances": [
                {"name": each.name, "kind": each.kind, "meaning": each.meaning} for each in self.disturbances
            ],
            "effects": {name: asdict(effect) for name, effect in self.effects.items()},
            "images": count_classes(self.undisturbed),
            "groups": len({(row.source, row.group) for row in self.undisturbed}),
            "provenance": self.provenance,
        }


def measure_robustness(
    predictor: Segmenter,
    split: Dataset,
    *,
    disturbances: Sequence[Disturbance] = tuple(DISTURBANCES.values()),
    seed: int = 0,
    resamples: int = 2000,
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
        resamples: of the bootstrap.
        output: folder for the report (`busi_unet.evaluation.robustness_report`); nothing is written without
        it.
        progress: shows a progress bar on stderr.
        provenance: entries to add, such as model and command.

    Raises:
        DataLayoutError: the split is empty, lacks a column, or a mask does not fit its image.
        UsageError: a predicted mask or class does not fit the image.
        MissingDependencyError: a report is asked for without matplotlib installed.
    """
    if output is not None:
        require_matplotlib()
        Path(output).mkdir(parents=True, exist_ok=True)
    check_split(split)
    # Before the long part: of the code that runs, not of what it has become meanwhile.
    made_with = {
        "bootstrap": {"level": LEVEL, "resamples": resamples, "seed": seed, "unit": "group"},
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
            changed = each(pixels, target, generator_for(seed, each.name, item["image_id"]))
            if changed is not None:
                after = score(predictor.predict(changed[0]), changed[1], item)
                pairs[each.name].append((before, after))
    found = Robustness(
        disturbances=tuple(disturbances),
        effects={name: effect_of(own, seed=seed, resamples=resamples) for name, own in pairs.items()},
        undisturbed=tuple(undisturbed),
        disturbed={name: [after for _, after in own] for name, own in pairs.items()},
        provenance={**made_with, **(provenance or {})},
    )
    if output is not None:
        write_robustness(Path(output), found)
    return found


def effect_of(
    pairs: Sequence[tuple[ImageResult, ImageResult]], *, seed: int = 0, resamples: int = 2000
) -> Effect:
    """Return what a disturbance does, from pairs of rows before and after it."""
    if not pairs:
        return Effect(0, {}, None, None)
    before, after = zip(*pairs, strict=True)
    settings = {"seed": seed, "resamples": resamples, "names": [each.name for each in shown_in("robustness")]}
    first, second = summarise(before, **settings), summarise(after, **settings)
    difference = compare(before, after, **settings)
    tables = Table(before), Table(after)
    bootstrap = Bootstrap(tables[0].groups, seed=seed, resamples=resamples)
    shift = tables[1].column("p_malignant") - tables[0].column("p_malignant")
    changed = (tables[0].predicted != tables[1].predicted).astype(float)
    return Effect(
        images=len(pairs),
        metrics={name: Change(first[name], second[name], value) for name, value in difference.items()},
        malignant_shift=bootstrap.estimate(
            lambda weights: mean(shift, weights), int(np.count_nonzero(~np.isnan(shift)))
        ),
        class_changed=bootstrap.estimate(
            lambda weights: mean(changed, weights), len(pairs), int(changed.sum())
        ),
    )
