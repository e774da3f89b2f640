"""Evaluate a model on images of the prepared data set: metrics with intervals, pooled and by source."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from busi_unet.config import CLASS_NAMES, Thresholds
from busi_unet.data.prepared import decode_row
from busi_unet.errors import UsageError
from busi_unet.evaluation.metrics import METRICS, score_image
from busi_unet.evaluation.report import write_report
from busi_unet.evaluation.rows import (
    ImageResult,
    Subgroups,
    Table,
    by_source,
    check_subgroups,
    count_classes,
    rows_by_subgroup,
)
from busi_unet.evaluation.statistics import Bootstrap, Estimate
from busi_unet.inference.predictor import Predictor
from busi_unet.version import commit, versions

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Part:
    """Some of the images, and their metrics: those of `METRICS`, by name, that rest on any of the images.

    `images` is the number by class, `groups` that of patients or copy groups.
    """

    images: dict[str, int]
    groups: int
    refused: int
    estimates: dict[str, Estimate]

    @classmethod
    def of(cls, rows: Sequence[ImageResult]) -> Part:
        """Return the part that these rows are."""
        table = Table(rows)
        bootstrap = Bootstrap(table.groups)
        measures = {name: metric.measure(table) for name, metric in METRICS.items()}
        return cls(
            images=count_classes(rows),
            groups=len(np.unique(table.groups)),
            refused=sum(row.refused for row in rows),
            estimates={name: bootstrap.estimate(*found) for name, found in measures.items() if found.n},
        )


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        rows: one per image, in the order of the split.
        pooled, sources, subgroups: all images, those of each source, and those of `rows_by_subgroup`.
        confusion: counts, rows: true class, columns: predicted, in the order of CLASS_NAMES.
        provenance: split, data fingerprint, versions, and whatever the caller added.
    """

    rows: tuple[ImageResult, ...]
    pooled: Part
    sources: dict[str, Part]
    confusion: list[list[int]]
    provenance: dict[str, Any]
    subgroups: dict[str, Part]

    @property
    def estimates(self) -> dict[str, Estimate]:
        """Metrics of all images, by name."""
        return self.pooled.estimates

    @property
    def summary(self) -> dict[str, Any]:
        """Everything but the rows, ready for JSON."""
        return {
            **asdict(self.pooled),
            "class_names": list(CLASS_NAMES),
            "confusion_matrix": self.confusion,
            "sources": {name: asdict(part) for name, part in self.sources.items()},
            "subgroups": {name: asdict(part) for name, part in self.subgroups.items()},
            "provenance": self.provenance,
        }


def evaluate(
    predictor: Predictor,
    split: Dataset,
    *,
    output: str | Path | None = None,
    provenance: Mapping[str, Any] | None = None,
    subgroups: Subgroups | None = None,
) -> Evaluation:
    """Run the predictor on every image of a split and score it at native resolution.

    Images are predicted one at a time, as a user's would be. An image that the predictor refuses
    stays in every metric, with the mask and the class it was given: leaving it out would flatter.

    Args:
        predictor, split: the model, and images of the prepared data set (`load_prepared`).
        output: folder for the report (`busi_unet.evaluation.report`); nothing is written without it.
        provenance: entries to add to `Evaluation.provenance`, such as model and command.
        subgroups: evaluated apart, too.

    Raises:
        UsageError: a mask or a class does not fit its image, or no image is in any subgroup.
    """
    if output is not None:
        Path(output).mkdir(parents=True, exist_ok=True)
    # Before the long part: of the code that runs, not of what it has become meanwhile.
    made_at = commit()
    check_subgroups(subgroups, split["image_id"])
    content = hashlib.sha256()
    rows = []
    for item in tqdm(split, desc="evaluate", unit="image"):
        pixels, target = decode_row(item)
        identity = (item["image_id"], item["source"], item["label"], item["group"], pixels.shape)
        content.update(repr(identity).encode() + pixels.tobytes())
        content.update(b"" if target is None else target.tobytes())
        rows.append(score(predictor.predict(pixels), target, item, predictor.config.thresholds))
    evaluation = evaluation_of(
        rows,
        provenance={
            "data_sha256": content.hexdigest(),
            "split": str(split.split) if split.split is not None else None,
            "commit": made_at,
            **(provenance or {}),
        },
        subgroups=subgroups,
    )
    if output is not None:
        write_report(Path(output), evaluation, split, lambda _, pixels: predictor.predict(pixels).mask)
    return evaluation


def evaluation_of(
    rows: Sequence[ImageResult], *, provenance: Mapping[str, Any], subgroups: Subgroups | None
) -> Evaluation:
    """Return the evaluation that these rows amount to; the arguments are those of `evaluate`."""
    pooled, sources, table = Part.of(rows), by_source(rows), Table(rows)
    classes = range(len(CLASS_NAMES))
    return Evaluation(
        rows=tuple(rows),
        pooled=pooled,
        sources={name: Part.of(part) if len(sources) > 1 else pooled for name, part in sources.items()},
        confusion=[
            [int(np.sum((table.truth == true) & (table.predicted == said))) for said in classes]
            for true in classes
        ],
        provenance={
            "bootstrap": Bootstrap.settings(),
            "versions": versions("datasets", "numpy", "pillow", "scipy", "torch"),
            **provenance,
        },
        subgroups={name: Part.of(part) for name, part in rows_by_subgroup(rows, subgroups).items()},
    )


def report_together(
    output: str | Path,
    parts: Sequence[tuple[Predictor, Dataset, Evaluation]],
    *,
    provenance: Mapping[str, Any],
    subgroups: Subgroups | None = None,
) -> Evaluation:
    """Return the evaluation of all images of several models together, and write its report to a folder.

    The parts are each model with its images, such as the test images of a fold, and its evaluation of them;
    their provenances are kept under "parts".

    Raises:
        UsageError: an image is in two parts, or no image is in any subgroup.
    """
    import datasets

    model_of: dict[tuple[str, str], Predictor] = {}
    for predictor, _, part in parts:
        for row in part.rows:
            if model_of.setdefault((row.source, row.image_id), predictor) is not predictor:
                raise UsageError(
                    f"{row.image_id} of {row.source} would be counted for two of the models.",
                    "Name models that keep different images for testing, such as one for each fold.",
                )
    check_subgroups(subgroups, [image_id for _, image_id in model_of])
    commits = {part.provenance["commit"] for _, _, part in parts}
    together = evaluation_of(
        [row for _, _, part in parts for row in part.rows],
        provenance={
            "parts": [
                {key: value for key, value in part.provenance.items() if key not in ("bootstrap", "versions")}
                for _, _, part in parts
            ],
            "commit": None if None in commits else ", ".join(sorted(commits)),
            **provenance,
        },
        subgroups=subgroups,
    )
    images = datasets.concatenate_datasets([split for _, split, _ in parts])
    write_report(
        Path(output),
        together,
        images,
        lambda row, pixels: model_of[row.source, row.image_id].predict(pixels).mask,
    )
    return together


def score(
    prediction: Any, target: np.ndarray | None, item: Mapping[str, Any], thresholds: Thresholds | None = None
) -> ImageResult:
    """Return what a `Prediction` is worth on a row of the data set; the others are as for `score_image`."""
    try:
        scores = score_image(prediction, target, thresholds)
    except UsageError as error:
        raise UsageError(f"{item['image_id']}: {error.message}", error.hint) from error
    chances = prediction.probabilities
    return ImageResult(
        **{name: item[name] for name in ("image_id", "source", "group", "fold")},
        label=None if item["label"] < 0 else CLASS_NAMES[item["label"]],
        predicted_label=prediction.label,
        flagged=bool(prediction.flagged),
        refused=bool(prediction.refused),
        prediction_set=prediction.prediction_set,
        probabilities={name: float(chances[name]) for name in CLASS_NAMES} if chances else None,
        scores=scores,
    )
