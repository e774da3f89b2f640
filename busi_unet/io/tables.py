"""Tables: CSV and workbooks of anyone, read by one function; and CSV written for spreadsheets."""

from __future__ import annotations

import csv
import io
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from busi_unet.errors import MissingDependencyError, UsageError, first_line
from busi_unet.io.files import composed

_MAX_BYTES = 100 * 1024**2
_MAX_ROWS = 2**20  # all that Excel has


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of a table with a header: values without surrounding blanks, by column in lower case.

    Args:
        path: .csv (separated by commas, semicolons or tabs) or .xlsx, of which the first sheet is read.
        columns: those that must be there, whatever the case of their letters.

    Raises:
        UsageError: the file cannot be read or lacks a column.
        MissingDependencyError: a workbook, where openpyxl is not installed.
    """
    try:
        rows = _xlsx_rows(path) if path.suffix.lower() == ".xlsx" else _csv_rows(path)
    except OSError as error:
        raise UsageError(f"The table {path} cannot be read ({error.strerror}).", "Check the path.") from error
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"{path} is a workbook, which openpyxl reads.", "Save it as CSV, or run: pip install openpyxl"
        ) from error
    # What openpyxl raises on damaged workbooks could be anything.
    except Exception as error:
        raise UsageError(
            f"The table {path} cannot be read ({first_line(error)}).", "Save it as CSV in UTF-8."
        ) from error
    header = [composed(name.strip().lower()) for name in rows[0]] if rows else []
    problems = [f"the column {name} twice" for name in sorted(set(header)) if name and header.count(name) > 1]
    problems += [f"no column {name}" for name in columns if name.lower() not in header]
    if problems:
        listed = f"Its columns are: {', '.join(header)}." if header else "It is empty."
        raise UsageError(f"The table {path} has {' and '.join(problems)}.", listed)
    padding = [""] * len(header)
    return [
        dict(zip(header, [composed(cell.strip()) for cell in row] + padding, strict=False))
        for row in rows[1:]
        if any(cell.strip() for cell in row)
    ]


def _csv_rows(path: Path) -> list[list[str]]:
    if path.stat().st_size > _MAX_BYTES:
        raise ValueError("larger than 100 MiB")
    text = path.read_text(encoding="utf-8-sig")
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    # Strict: a quote that is not closed would swallow the rows below it.
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    for line, row in enumerate(rows, start=1):
        if any(cell.strip() for cell in row[len(rows[0]) :]):
            raise ValueError(f"row {line} has more cells than there are columns")
    return rows


def _xlsx_rows(path: Path) -> list[list[str]]:
    with zipfile.ZipFile(path) as book:
        if sum(entry.file_size for entry in book.infolist()) > _MAX_BYTES:
            raise ValueError("unpacks to more than 100 MiB")
    import openpyxl

    # What it warns of, such as rules for the cells, changes no value.
    with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
        sheet = openpyxl.load_workbook(file, read_only=True, data_only=True).worksheets[0]
        # The size that the file states, to which rows would be filled up, may be far too large.
        sheet.reset_dimensions()
        rows = sheet.iter_rows(max_row=_MAX_ROWS, values_only=True)
        return [["" if value is None else str(value) for value in row] for row in rows]


def table_lines(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Iterator[bytes]:
    """Yield the columns of rows as a CSV that spreadsheets read as it is meant, UTF-8 with a mark.

    Numbers are rounded to 4 digits; text that a spreadsheet would run as a formula gets a quote before it.
    """
    line = io.StringIO(newline="")
    writer = csv.DictWriter(line, columns, extrasaction="ignore")
    writer.writeheader()
    # Excel takes a table without the mark for the local 8-bit code.
    yield line.getvalue().encode("utf-8-sig")
    for row in rows:
        line.seek(line.truncate(0))
        writer.writerow({column: _cell(value) for column, value in row.items()})
        yield line.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    # File names are anyone's text.
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r"))
    return f"'{value}" if formula else value
