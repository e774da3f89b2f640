"""Tables that come with data sets: CSV of any delimiter, and the first sheet of an Excel file."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from busi_unet.errors import DataLayoutError, first_line

_MAX_BYTES = 100 * 1024**2
_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read a CSV or Excel table with a header.

    Args:
        path: .csv (separated by commas, semicolons or tabs) or .xlsx, of which the first sheet is read.
        columns: those that must be there, whatever the case of their letters.

    Returns:
        A dictionary per row: values without surrounding blanks by column, lower case; "" for an empty cell.

    Raises:
        DataLayoutError: the file cannot be read or lacks a column.
    """
    try:
        rows = _xlsx_rows(path) if path.suffix.lower() == ".xlsx" else _csv_rows(path)
    except (OSError, ValueError, KeyError, csv.Error, zipfile.BadZipFile, ElementTree.ParseError) as error:
        raise DataLayoutError(
            f"The table {path} cannot be read ({first_line(error)}).", hint="Save it as CSV in UTF-8."
        ) from error
    header = [name.strip().lower() for name in rows[0]] if rows else []
    missing = [name for name in columns if name.lower() not in header]
    if missing:
        raise DataLayoutError(
            f"The table {path} has no column {' and no column '.join(missing)}.",
            hint=f"Its columns are: {', '.join(rows[0]) if rows else 'none'}.",
        )
    padding = [""] * len(header)
    return [
        dict(zip(header, [cell.strip() for cell in row] + padding, strict=False))
        for row in rows[1:]
        if any(cell.strip() for cell in row)
    ]


def _csv_rows(path: Path) -> list[list[str]]:
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError("larger than 100 MiB")
    text = path.read_text(encoding="utf-8-sig")
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def _xlsx_rows(path: Path) -> list[list[str]]:
    """Return the cells of the first sheet as text."""
    with zipfile.ZipFile(path) as book:

        def xml(name: str) -> ElementTree.Element:
            if book.getinfo(name).file_size > _MAX_BYTES:
                raise ValueError(f"{name} is larger than 100 MiB")
            return ElementTree.fromstring(book.read(name))

        shared = []
        if "xl/sharedStrings.xml" in book.namelist():
            strings = xml("xl/sharedStrings.xml").iter(f"{_SHEET}si")
            shared = ["".join(text.text or "" for text in item.iter(f"{_SHEET}t")) for item in strings]
        rows = []
        for row in xml("xl/worksheets/sheet1.xml").iter(f"{_SHEET}row"):
            cells: dict[int, str] = {}
            for cell in row.iter(f"{_SHEET}c"):
                texts = [text.text or "" for tag in "vt" for text in cell.iter(f"{_SHEET}{tag}")]
                value = "".join(texts)
                place = _column(cell.get("r", ""))
                cells[place] = shared[int(value)] if cell.get("t") == "s" and value else value
            rows.append([cells.get(index, "") for index in range(max(cells, default=-1) + 1)])
    return rows


def _column(reference: str) -> int:
    """Return the index of a cell's column: 0 for "A7", 26 for "AA7"."""
    letters = re.match("[A-Z]{1,3}", reference)
    if letters is None:
        raise ValueError(f"no such cell: {reference!r}")
    index = 0
    for letter in letters[0]:
        index = 26 * index + ord(letter) - ord("A") + 1
    return index - 1
