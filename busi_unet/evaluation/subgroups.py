"""Subgroups of images, such as those with annotations, named by the columns of a table."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path

from busi_unet.errors import UsageError
from busi_unet.evaluation.rows import ImageResult
from busi_unet.io.files import reading

Subgroups = Mapping[str, Set[str]]
"""Image ids by the name of the subgroup."""


def read_subgroups(table: str | Path, columns: Sequence[str]) -> Subgroups:
    """Return which images have an entry in a table, by column.

    Args:
        table: CSV with a column `image` (or `image_id`) of image ids.
        columns: names of other columns, at least one.

    Raises:
        UsageError: no such file or column, none named, or it is not a table.
    """
    path, hint = Path(table), "Name a CSV with a row per image."
    # Spreadsheets put a mark at the head of a file.
    with reading(path, "is not a CSV in UTF-8", hint), path.open(newline="", encoding="utf-8-sig") as stream:
        rows = list(csv.DictReader(stream))
    known = rows[0].keys() if rows else ()
    key = next((name for name in ("image", "image_id") if name in known), "image")
    missing = next((name for name in (key, *columns) if name not in known), None)
    if missing or not columns:
        raise UsageError(
            f"{path} has no column {missing}." if missing else f"No column of {path} is named.",
            f"It has: {', '.join(known) or 'no rows'}.",
        )
    # A row may be shorter than the head.
    return {name: frozenset(row[key] for row in rows if (row[name] or "").strip()) for name in columns}


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
