"""A table of folds as a CSV file: written, read and checked.

The folds in `busi_folds.csv` and `breast_folds.csv` are those that all results of this package refer to; make
them again with

    python research/publish_folds.py DATASET_FOLDER --output busi_folds.csv
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path

from busi_unet.config import CLASS_NAMES
from busi_unet.errors import DataLayoutError
from busi_unet.io.files import replace_file

BUSI_FOLDS_NAME = "busi_folds.csv"
BREAST_FOLDS_NAME = "breast_folds.csv"
# By the name of the source: how messages call it, and its table. BUS-BRA comes with folds of its own.
PUBLISHED = {"busi": ("BUSI", BUSI_FOLDS_NAME), "breast": ("BrEaST", BREAST_FOLDS_NAME)}


@dataclass(frozen=True)
class FoldRow:
    """One image of a published split.

    `group` is the patient, or the id of the first image among its copies; `pixel_sha256` is its
    `pixel_hash`, equal for pixel-identical images; `other_class_copies` are the ids of the images of its
    group that are filed under another class, and `cross_class` says that there are any: the label of such
    an image is in doubt.
    """

    image_id: str
    label: str
    group: str
    fold: int
    pixel_sha256: str
    cross_class: bool
    other_class_copies: tuple[str, ...]


_COLUMNS = [field.name for field in fields(FoldRow)]
_TABLE_HINT = f"Copy it again. Its columns are: {','.join(_COLUMNS)}"


def check_folds(rows: Iterable[FoldRow]) -> None:
    """Refuses a split that would leak.

    Raises:
        DataLayoutError: a group, or pixel-identical images, lie in several folds; an id occurs twice.
    """
    rows = list(rows)
    problems = [
        f"{image_id}: listed {count} times."
        for image_id, count in Counter(row.image_id for row in rows).items()
        if count > 1
    ]
    for what, key in (("group", "group"), ("pixels", "pixel_sha256")):
        folds = defaultdict(set)
        for row in rows:
            folds[getattr(row, key)].add(row.fold)
        problems += [
            f"{what} {name}: lies in folds {sorted(found)}."
            for name, found in folds.items()
            if len(found) > 1
        ]
    if problems:
        raise DataLayoutError("The folds leak:", problems, "Make them again with research/publish_folds.py.")


def read_folds(path: Path) -> list[FoldRow]:
    """Reads and checks a table that `write_folds` wrote.

    Raises:
        DataLayoutError: the file is missing, is no such table, is damaged, or its folds leak.
    """
    rows, problems = [], []
    for line, entry in enumerate(_entries(Path(path)), start=2):
        try:
            rows.append(_row(entry))
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            problems.append(f"line {line}: {type(error).__name__} {error}")
    if problems or not rows:
        raise DataLayoutError(
            f"{path} is not a table of folds, or is damaged.", problems or ["no rows"], _TABLE_HINT
        )
    check_folds(rows)
    return rows


def _entries(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            if reader.fieldnames != _COLUMNS:
                raise ValueError(f"line 1: {','.join(reader.fieldnames or ['empty'])[:200]}")
            return list(reader)
    except OSError as error:
        raise DataLayoutError(f"{path} cannot be read.", hint="Check the path.") from error
    except (ValueError, csv.Error) as error:
        raise DataLayoutError(f"{path} is not a table of folds.", [str(error)], _TABLE_HINT) from error


def _row(entry: dict[str, str]) -> FoldRow:
    row = FoldRow(
        image_id=entry["image_id"],
        label=entry["label"],
        group=entry["group"],
        fold=int(entry["fold"]),
        pixel_sha256=entry["pixel_sha256"],
        cross_class={"true": True, "false": False}[entry["cross_class"]],
        other_class_copies=tuple(filter(None, entry["other_class_copies"].split(";"))),
    )
    if row.label not in CLASS_NAMES or row.fold < 0 or not re.fullmatch("[0-9a-f]{64}", row.pixel_sha256):
        raise ValueError(f"no such label, fold or hash: {row.label}, {row.fold}, {row.pixel_sha256}")
    return row


def read_busi_folds() -> list[FoldRow]:
    """Return the published folds of BUSI, 780 rows, from the package."""
    return list(read_published_folds(BUSI_FOLDS_NAME))


@cache
def read_published_folds(name: str) -> tuple[FoldRow, ...]:
    """Return one of the tables that come with the package."""
    with resources.as_file(resources.files("busi_unet.data") / name) as path:
        return tuple(read_folds(path))


def write_folds(path: Path, rows: Sequence[FoldRow]) -> None:
    """Writes rows as CSV (UTF-8, LF line ends, so that the file is the same on every platform).

    Raises:
        DataLayoutError: the folds leak; nothing is written then.
    """
    check_folds(rows)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in rows:
        writer.writerow(
            [
                row.image_id,
                row.label,
                row.group,
                row.fold,
                row.pixel_sha256,
                str(row.cross_class).lower(),
                ";".join(row.other_class_copies),
            ]
        )
    replace_file(Path(path), lambda file: file.write(text.getvalue().encode()))
