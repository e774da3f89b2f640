"""Auditing a network for shortcuts and for other scanners: what changes when a picture is disturbed.

Every disturbance (`busi_unet.data.disturbances`) leaves the lesion and its class what they are, so a network
that looks at the lesion should answer as before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from busi_unet.config import CLASS_NAMES
from busi_unet.data.disturbances import DISTURBANCES, Disturbance, generator_for
from busi_unet.evaluation.evaluate import Segmenter, check_split, decode_pair, fingerprint, score
from busi_unet.evaluation.report import require_matplotlib
from busi_unet.evaluation.robustness_effects import Effect, effect_of
from busi_unet.evaluation.robustness_report import write_audit
from busi_unet.evaluation.subgroups import Marks, by_mark, check_marks
from busi_unet.evaluation.summary import LEVEL, ImageResult
from busi_unet.version import commit, versions

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Record:
    """One image under one disturbance; its row after is against the mask that moved with the picture."""

    disturbance: str
    before: ImageResult
    after: ImageResult

    def to_row(self) -> dict[str, Any]:
        """The flat columns of per_image.csv."""
        row = {
            "disturbance": self.disturbance,
            "image_id": self.before.image_id,
            "group": self.before.group,
            "fold": self.before.fold,
            "label": self.before.label,
        }
        for when, result in (("before", self.before), ("after", self.after)):
            row |= {
                f"p_{name}_{when}": value
                for name, value in zip(CLASS_NAMES, result.probabilities, strict=True)
            }
            row |= {
                f"predicted_label_{when}": result.predicted_label,
                f"dice_{when}": result.scores.dice,
                f"false_mask_{when}": result.scores.false_mask,
                f"refused_{when}": result.refused,
            }
        return row


@dataclass(frozen=True)
class Audit:
    """The outcome of `audit`.

    Attributes:
        disturbances: those tried.
        records: one per image and disturbance that applies to it.
        effects: by the name of the disturbance.
        images: how many of each class were looked at.
        groups: how many groups of copies they are.
        provenance: what the figures come from: seed, data fingerprint, versions, and whatever the
            caller added.
        subsets: the effects on a part of the images, by its name; see `busi_unet.evaluation.subgroups`.
    """

    disturbances: tuple[Disturbance, ...]
    records: tuple[Record, ...]
    effects: dict[str, Effect]
    images: dict[str, int]
    groups: int
    provenance: dict[str, Any]
    subsets: dict[str, dict[str, Effect]] = field(default_factory=dict)

    @property
    def summary(self) -> dict[str, Any]:
        """Everything but the records, ready for JSON."""
        return {
            "class_names": list(CLASS_NAMES),
            "disturbances": [
                {"name": each.name, "kind": each.kind, "meaning": each.meaning} for each in self.disturbances
            ],
            "effects": {name: effect.to_dict() for name, effect in self.effects.items()},
            "images": self.images,
            "groups": self.groups,
            "provenance": self.provenance,
            "subsets": {
                subset: {name: effect.to_dict() for name, effect in effects.items()}
                for subset, effects in self.subsets.items()
            },
        }


def audit(
    pairs: Sequence[tuple[Segmenter, Dataset]],
    *,
    disturbances: Sequence[Disturbance] = tuple(DISTURBANCES.values()),
    marks: Marks | None = None,
    seed: int = 0,
    resamples: int = 2000,
    output: str | Path | None = None,
    progress: bool = True,
    provenance: Mapping[str, Any] | None = None,
) -> Audit:
    """Predicts every image as it is, once, and again under each disturbance that applies to it.

    Args:
        pairs: a predictor and the images that it judges, all different: one for a single model, one per
            fold for a cross-validation, whose images are each judged by the network that kept them.
        disturbances: those to try.
        marks: of images; a disturbance that goes by one of them, as `strokes_out` by `burnt_in`, applies to
            the images that have it. Those with each mark, and those without, are told apart too.
        seed: of the disturbances and of the bootstrap.
        resamples: of the bootstrap.
        output: folder for the report (`busi_unet.evaluation.robustness_report`); nothing is written without
            it.
        progress: shows a progress bar on stderr.
        provenance: entries to add to `Audit.provenance`, such as model and command.

    Raises:
        DataLayoutError: a split is empty, lacks a column, or a mask does not fit its image.
        UsageError: a predicted mask or class does not fit the image, or no image has any of the marks.
        MissingDependencyError: a report is asked for without matplotlib installed.
    """
    if output is not None:
        require_matplotlib()
        Path(output).mkdir(parents=True, exist_ok=True)
    for _, split in pairs:
        check_split(split)
    check_marks(marks, [image_id for _, split in pairs for image_id in split["image_id"]])
    # Before the long part: it shall tell the code that ran, and not fail after it.
    made_with = {
        "bootstrap": {"level": LEVEL, "resamples": resamples, "seed": seed, "unit": "group"},
        "seed": seed,
        "commit": commit(),
        "versions": versions("datasets", "numpy", "opencv-python-headless", "pillow", "scipy", "torch"),
    }
    content = hashlib.sha256()
    rows, records = [], []
    with tqdm(
        total=sum(len(split) for _, split in pairs), desc="audit", unit="image", disable=not progress
    ) as bar:
        for predictor, split in pairs:
            label_names = split.features["label"].names
            for item in split:
                pixels, target = decode_pair(item)
                label = label_names[item["label"]]
                content.update(fingerprint(item, label, pixels, target))
                before = score(predictor.predict(pixels), target, item, label)
                rows.append(before)
                for each in disturbances:
                    marked = item["image_id"] in marks[each.mark] if each.mark in (marks or {}) else None
                    generator = generator_for(seed, each.name, item["image_id"])
                    disturbed = each(pixels, target, generator, marked=marked)
                    if disturbed is not None:
                        after = score(predictor.predict(disturbed[0]), disturbed[1], item, label)
                        records.append(Record(each.name, before, after))
                bar.update()

    def effects_of(chosen: Sequence[Record]) -> dict[str, Effect]:
        effects = {}
        for each in disturbances:
            own = [record for record in chosen if record.disturbance == each.name]
            effects[each.name] = effect_of(
                [record.before for record in own],
                [record.after for record in own],
                seed=seed,
                resamples=resamples,
            )
        return effects

    outcome = Audit(
        disturbances=tuple(disturbances),
        records=tuple(records),
        effects=effects_of(records),
        images={name: sum(row.label == name for row in rows) for name in CLASS_NAMES},
        groups=len({row.group for row in rows}),
        subsets={
            name: effects_of(part)
            for name, part in by_mark(records, lambda record: record.before.image_id, marks).items()
        },
        provenance={**made_with, "data_sha256": content.hexdigest(), **(provenance or {})},
    )
    if output is not None:
        write_audit(Path(output), outcome)
    return outcome
