"""Marks on images, such as objections to them, so that the marked and the others are judged apart."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import TypeVar

from busi_unet.errors import UsageError
from busi_unet.io.files import reading

# Image ids by the name of a mark.
Marks = Mapping[str, Set[str]]
_Row = TypeVar("_Row")


def add_marks_flag(parser: argparse.ArgumentParser) -> None:
    """The flag whose value `marks_of` takes."""
    parser.add_argument(
        "--by",
        nargs="+",
        metavar=("TABLE", "COLUMN"),
        help="CSV with a column `image`, and columns of it: images with an entry there are judged apart too",
    )


def marks_of(arguments: list[str] | None) -> Marks | None:
    """What the flag named; raises as `read_marks`, and where no column is named."""
    if arguments is None:
        return None
    table, *columns = arguments
    if not columns:
        raise UsageError(f"--by {table} names no column.", "Name columns of the table behind it.")
    return read_marks(table, columns)


def read_marks(table: str | Path, columns: Iterable[str]) -> Marks:
    """Which images a table marks, by column: those whose cell is not empty.

    Args:
        table: CSV with a column `image` (or `image_id`) of image ids; such as a list of objections to BUSI.
        columns: names of other columns.

    Raises:
        UsageError: no such file or column, or it is no table.
    """
    path = Path(table)
    if not path.is_file():
        raise UsageError(f"There is no table {path}.", "Name a CSV with a row per image.")
    # With the mark that spreadsheets put at the head of a file, or without.
    with (
        reading(path, "is no CSV in UTF-8", "Name a CSV with a row per image."),
        path.open(newline="", encoding="utf-8-sig") as stream,
    ):
        rows = list(csv.DictReader(stream))
    known = rows[0].keys() if rows else ()
    key = next((name for name in ("image", "image_id") if name in known), None)
    missing = [name for name in columns if name not in known]
    if key is None or missing:
        raise UsageError(
            f"{path} has no column {missing[0] if missing else 'image'}.",
            f"It has: {', '.join(known) or 'no rows'}.",
        )
    # A row may be shorter than the head.
    return {name: frozenset(row[key] for row in rows if (row[name] or "").strip()) for name in columns}


def check_marks(marks: Marks | None, image_ids: Iterable[str]) -> None:
    """Raises UsageError where no image has any of the marks: the table is about others."""
    known = set(image_ids)
    if marks and not any(known & images for images in marks.values()):
        raise UsageError(
            f"The table marks none of these {len(known)} images under {', '.join(marks)}.",
            f"Name them as the data set does, such as {min(known)!r}, or leave out --by.",
        )


def by_mark(
    rows: Sequence[_Row], image_id: Callable[[_Row], str], marks: Marks | None
) -> dict[str, list[_Row]]:
    """The rows without and with each mark, under "NAME: none" and "NAME: any"; no part is empty."""
    parts = {
        f"{name}: {'any' if marked else 'none'}": [row for row in rows if (image_id(row) in images) == marked]
        for name, images in (marks or {}).items()
        for marked in (False, True)
    }
    return {name: part for name, part in parts.items() if part}
