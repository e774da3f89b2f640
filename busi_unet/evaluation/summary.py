"""A row per image, what metrics they amount to, and by how much two such tables differ."""

from __future__ import annotations

import csv
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from busi_unet.config import CLASS_NAMES
from busi_unet.errors import UsageError
from busi_unet.evaluation.bootstrap import Bootstrap, Estimate, Statistic
from busi_unet.evaluation.measures import Table
from busi_unet.evaluation.metrics import METRICS
from busi_unet.io.files import reading


@dataclass(frozen=True)
class ImageResult:
    """What the model said of one image, and its scores.

    Attributes:
        image_id: unique in the data set.
        group: patient or copy group.
        source: data set it came from.
        fold: None where there are none.
        label: true class; None where it is not known.
        predicted_label: None for an image refused without a class.
        flagged: whether malignancy was flagged; None where that is not known.
        refused: whether the image was refused as out of distribution; None where that is not known.
        prediction_set: None where none was stated.
        probabilities: by class; None where there are none.
        scores: by name, see `busi_unet.evaluation.metrics.score_image`; None where undefined.
    """

    image_id: str
    group: str
    source: str = ""
    fold: int | None = None
    label: str | None = None
    predicted_label: str | None = None
    flagged: bool | None = None
    refused: bool | None = None
    prediction_set: tuple[str, ...] | None = None
    probabilities: Mapping[str, float] | None = field(default=None, hash=False)
    scores: Mapping[str, float | None] = field(default_factory=dict, hash=False)

    def to_row(self) -> dict[str, Any]:
        """Return the flat columns of per_image.csv."""
        chances = self.probabilities or {}
        return {
            **{name: getattr(self, name) for name in _TEXTS},
            "fold": self.fold,
            "flagged": self.flagged,
            "refused": self.refused,
            "prediction_set": None if self.prediction_set is None else " ".join(self.prediction_set),
            **{f"p_{name}": chances.get(name) for name in CLASS_NAMES},
            **self.scores,
        }

    @classmethod
    def from_row(cls, row: Mapping[str, str]) -> ImageResult:
        """Return what `to_row` became in a CSV; all columns but `image_id` may be missing.

        Raises:
            KeyError: no `image_id`.
            ValueError: a cell that is not what its column holds.
        """
        cells = {name: cell for name, cell in row.items() if cell}
        image_id = cells.pop("image_id")
        texts = {name: cells.pop(name) for name in _TEXTS if name in cells}
        flags = {name: _FLAGS[cells.pop(name)] for name in ("flagged", "refused") if name in cells}
        chances = {name: float(cells.pop(f"p_{name}")) for name in CLASS_NAMES if f"p_{name}" in cells}
        unknown = {texts.get(name) for name in ("label", "predicted_label")} - {None, *CLASS_NAMES}
        if unknown:
            raise ValueError(f"{image_id} has the class {', '.join(map(str, unknown))}")
        return cls(
            image_id=image_id,
            group=texts.pop("group", image_id),
            fold=int(cells.pop("fold")) if "fold" in cells else None,
            prediction_set=tuple(cells.pop("prediction_set", "").split()) or None,
            probabilities=chances if len(chances) == len(CLASS_NAMES) else None,
            scores={
                name: float(cells[name]) if name in cells else None
                for name in row
                if name not in _OWN_COLUMNS
            },
            **texts,
            **flags,
        )


_TEXTS = ("image_id", "source", "group", "label", "predicted_label")
_FLAGS = {"True": True, "False": False}
_OWN_COLUMNS = {*ImageResult("", "").to_row()}


def summarise(
    rows: Sequence[ImageResult],
    *,
    seed: int = 0,
    resamples: int = 2000,
    names: Collection[str] | None = None,
) -> dict[str, Estimate]:
    """Return the metrics of image rows with their intervals, by name.

    Args:
        rows: one per image.
        seed: of the bootstrap over groups.
        resamples: of the bootstrap.
        names: the metrics wanted; None for all.

    Returns:
        Of `busi_unet.evaluation.metrics.METRICS`, those for which the rows hold what they need.
    """
    table = Table(rows)
    bootstrap = Bootstrap(table.groups, seed=seed, resamples=resamples)
    measures = {
        name: metric.measure(table) for name, metric in METRICS.items() if names is None or name in names
    }
    return {
        name: bootstrap.estimate(measure.statistic, measure.n, measure.count)
        for name, measure in measures.items()
        if measure.n
    }


def compare(
    rows: Sequence[ImageResult],
    others: Sequence[ImageResult],
    *,
    seed: int = 0,
    resamples: int = 2000,
    names: Collection[str] | None = None,
) -> dict[str, Estimate]:
    """Return by how much the metrics of the others lie above those of the rows, over the same images.

    Both are resampled together, so that the interval tells whether they differ, not how hard the images are.
    A metric that is undefined on some image of one of them alone, such as the precision of an empty mask,
    is over other images in each.

    Args:
        rows: their groups count.
        others: of the same images, in any order.
        seed: of the bootstrap over groups.
        resamples: of the bootstrap.
        names: the metrics wanted; None for all.

    Raises:
        UsageError: the images are not the same.
    """
    by_id = {row.image_id: row for row in others}
    if len(by_id) != len(others) or set(by_id) != {row.image_id for row in rows} or len(by_id) != len(rows):
        raise UsageError(
            "The two tables are not about the same images.", "Compare two evaluations of the same split."
        )
    first, second = Table(rows), Table([by_id[row.image_id] for row in rows])
    bootstrap = Bootstrap(first.groups, seed=seed, resamples=resamples)

    def difference(before: Statistic, after: Statistic) -> Statistic:
        return lambda weights: after(weights) - before(weights)

    found = {}
    for name, metric in METRICS.items():
        if names is None or name in names:
            before, after = metric.measure(first), metric.measure(second)
            if n := min(before.n, after.n):
                found[name] = bootstrap.estimate(difference(before.statistic, after.statistic), n)
    return found


def by_source(rows: Sequence[ImageResult]) -> dict[str, list[ImageResult]]:
    """Return the rows of each source, in the order in which they first appear."""
    parts: dict[str, list[ImageResult]] = {}
    for row in rows:
        parts.setdefault(row.source, []).append(row)
    return parts


def count_classes(rows: Sequence[ImageResult]) -> dict[str, int]:
    """Return the number of images of each class; "unknown" where there are any."""
    counts = {name: sum(row.label == name for row in rows) for name in CLASS_NAMES}
    unknown = len(rows) - sum(counts.values())
    return counts | ({"unknown": unknown} if unknown else {})


def confusion_of(rows: Sequence[ImageResult]) -> list[list[int]]:
    """Return counts, rows: true class, columns: predicted, in the order of CLASS_NAMES."""
    table = Table(rows)
    return [
        [int(np.sum((table.truth == true) & (table.predicted == said))) for said in range(len(CLASS_NAMES))]
        for true in range(len(CLASS_NAMES))
    ]


def read_rows(path: str | Path) -> list[ImageResult]:
    """Read a per_image.csv.

    Raises:
        UsageError: no such file, or another table.
    """
    path = Path(path)
    hint = "Name the per_image.csv in a report folder of evaluate."
    with (
        reading(path, "is not a table of evaluated images", hint),
        path.open(newline="", encoding="utf-8") as stream,
    ):
        rows = [ImageResult.from_row(row) for row in csv.DictReader(stream)]
    if not rows:
        raise UsageError(f"{path} holds no image.", "Name another per_image.csv.")
    return rows
