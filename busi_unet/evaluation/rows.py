"""What an evaluation keeps of each image: rows, the same as columns, and subgroups of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from busi_unet.config import CLASS_NAMES
from busi_unet.errors import UsageError
from busi_unet.io.tables import read_table

MISSED_DICE = 0.05
"""A lesion whose mask has a lower Dice counts as missed."""

Row = TypeVar("Row")  # anything of one image, with its `source`
Subgroups = Mapping[str, Set[str]]
"""Image ids by the name of the subgroup."""


@dataclass(frozen=True)
class ImageResult:
    """What the model said of one image, and its scores.

    Attributes:
        group: patient or copy group.
        label: true class; None where it is not known.
        predicted_label: None for an image refused without a class.
        prediction_set, probabilities: None where there are none.
        scores: by name, see `busi_unet.evaluation.metrics.score_image`; None where undefined.
    """

    image_id: str
    source: str
    group: str
    fold: int
    label: str | None
    predicted_label: str | None
    flagged: bool
    refused: bool
    prediction_set: tuple[str, ...] | None
    probabilities: Mapping[str, float] | None = field(hash=False)
    scores: Mapping[str, float | None] = field(hash=False)

    def to_row(self) -> dict[str, Any]:
        """Return the columns of per_image.csv."""
        names = ("image_id", "source", "group", "label", "predicted_label", "fold", "flagged", "refused")
        chances = self.probabilities or {}
        return {
            **{name: getattr(self, name) for name in names},
            "prediction_set": " ".join(self.prediction_set or ()),
            **{f"p_{name}": chances.get(name) for name in CLASS_NAMES},
            **self.scores,
        }


class Table:
    """Image rows as columns.

    Attributes:
        groups: name of the patient or copy group of each of the N images, with its source.
        truth: class index, int (N,), -1 where it is not known.
        predicted: class index, int (N,), -1 where none was predicted.
        probabilities: float (N, K), NaN where there are none.
    """

    def __init__(self, rows: Sequence[ImageResult]) -> None:
        self.rows = rows
        self.groups = np.array([f"{row.source}\t{row.group}" for row in rows])
        self.truth = _class_indices(row.label for row in rows)
        self.predicted = _class_indices(row.predicted_label for row in rows)
        none = dict.fromkeys(CLASS_NAMES, np.nan)
        chances = [[(row.probabilities or none)[name] for name in CLASS_NAMES] for row in rows]
        self.probabilities = np.array(chances, dtype=float).reshape(len(rows), len(CLASS_NAMES))

    def among(self, name: str) -> np.ndarray:
        """Return which images belong to a kind, bool (N,).

        Args:
            name: a class; "lesion" (benign or malignant; of an unknown class, with a reference that is not
                empty); "no lesion" (normal; of an unknown class, with an empty reference); "not malignant";
                "labelled"; "all".
        """
        unknown, area = self.truth < 0, self.column("target_area_px")
        kinds = {label: self.truth == index for index, label in enumerate(CLASS_NAMES)}
        kinds |= {
            "all": np.ones(len(self.rows), dtype=bool),
            "labelled": ~unknown,
            "lesion": kinds["benign"] | kinds["malignant"] | unknown & (area > 0),
            "no lesion": kinds["normal"] | unknown & (area == 0),
            "not malignant": ~unknown & ~kinds["malignant"],
        }
        return kinds[name]

    def column(self, name: str) -> np.ndarray:
        """Return a column, float (N,), NaN where it is undefined.

        Args:
            name: a score of `busi_unet.evaluation.metrics.score_image`; "malignancy" (malignant against
                benign: p_malignant / (p_malignant + p_benign)); "set size"; or, as 1 or 0, "missed",
                "outlined", "right", "called normal", "flagged", "not flagged", "refused", "in set".
        """
        match name:
            case "missed":
                dice = self.column("dice")
                return np.where(np.isnan(dice), np.nan, dice < MISSED_DICE)
            case "outlined":
                return (self.column("predicted_area_px") > 0).astype(float)
            case "right":
                # An image that is refused without a class is not right: leaving it out would flatter.
                return (self.predicted == self.truth).astype(float)
            case "called normal":
                return (self.predicted == CLASS_NAMES.index("normal")).astype(float)
            case "flagged" | "refused":
                return self._each(lambda row: getattr(row, name))
            case "not flagged":
                return 1 - self.column("flagged")
            case "in set":
                return self._each(
                    lambda row: (
                        row.label in row.prediction_set
                        if None not in (row.prediction_set, row.label)
                        else None
                    )
                )
            case "set size":
                return self._each(lambda row: None if row.prediction_set is None else len(row.prediction_set))
            case "malignancy":
                benign, malignant = (self.probability(label) for label in ("benign", "malignant"))
                either = benign + malignant
                # No preference where both are exactly 0.
                return np.where(either == 0, 0.5, malignant / np.where(either == 0, 1, either))
        return self._each(lambda row: row.scores.get(name))

    def _each(self, value: Callable[[ImageResult], float | None]) -> np.ndarray:
        # As floats, None becomes NaN.
        return np.array([value(row) for row in self.rows], dtype=float)

    def probability(self, label: str) -> np.ndarray:
        """Return the probability of a class, float (N,), NaN where there is none."""
        return self.probabilities[:, CLASS_NAMES.index(label)]


def by_source(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows of each source, in the order in which they first appear."""
    parts: dict[str, list[Row]] = {}
    for row in rows:
        parts.setdefault(row.source, []).append(row)
    return parts


def count_classes(rows: Sequence[ImageResult]) -> dict[str, int]:
    """Return the number of images of each class; "unknown" where there are any."""
    counts = {name: sum(row.label == name for row in rows) for name in CLASS_NAMES}
    unknown = len(rows) - sum(counts.values())
    return counts | ({"unknown": unknown} if unknown else {})


def _class_indices(labels: Iterable[str | None]) -> np.ndarray:
    return np.array([-1 if label is None else CLASS_NAMES.index(label) for label in labels], dtype=int)


# --- Subgroups -----------------------------------------------------------------------------------


def read_subgroups(table: str | Path, columns: Sequence[str]) -> Subgroups:
    """Return which images have an entry in a table with a column `image` of ids, by the name of the column.

    Raises:
        UsageError: no such file or column, none named, or it is not a table.
    """
    if not columns:
        raise UsageError(f"No column of {table} is named.", "Name one or more after it.")
    rows = read_table(Path(table), ("image", *columns))
    return {name: frozenset(row["image"] for row in rows if row[name.lower()]) for name in columns}


def check_subgroups(subgroups: Subgroups | None, image_ids: Iterable[str]) -> None:
    """Raise UsageError where no image is in any of the subgroups: the table is about others."""
    known = set(image_ids)
    if subgroups and not any(known & images for images in subgroups.values()):
        raise UsageError(
            f"The table has none of these {len(known)} images under {', '.join(subgroups)}.",
            f"Name them as the data set does, such as {min(known)!r}, or leave out --by.",
        )


def rows_by_subgroup(
    rows: Sequence[ImageResult], subgroups: Subgroups | None
) -> dict[str, list[ImageResult]]:
    """Return the rows without and with each subgroup, as "NAME: none" and "NAME: any"; no part is empty."""
    parts = {
        f"{name}: {'any' if inside else 'none'}": [row for row in rows if (row.image_id in images) == inside]
        for name, images in (subgroups or {}).items()
        for inside in (False, True)
    }
    return {name: part for name, part in parts.items() if part}
