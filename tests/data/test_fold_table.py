from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from busi_unet.data.fold_table import FoldRow, check_folds, read_busi_folds, read_folds, write_folds
from busi_unet.data.folds import N_FOLDS
from busi_unet.errors import DataLayoutError


@pytest.fixture(scope="module")
def published() -> list[FoldRow]:
    return read_busi_folds()


def test_rows_survive_the_file(tmp_path: Path, published: list[FoldRow]) -> None:
    path = tmp_path / "folds.csv"
    write_folds(path, published)
    assert read_folds(path) == published
    assert b"\r" not in path.read_bytes()


def test_leaking_folds_are_refused(tmp_path: Path, published: list[FoldRow]) -> None:
    sizes = Counter(row.group for row in published)
    index = next(i for i, row in enumerate(published) if sizes[row.group] > 1)
    moved = list(published)
    moved[index] = replace(moved[index], fold=(moved[index].fold + 1) % N_FOLDS)
    with pytest.raises(DataLayoutError, match=r"group .* lies in folds"):
        check_folds(moved)
    path = tmp_path / "leak.csv"
    with pytest.raises(DataLayoutError):
        write_folds(path, moved)
    assert not path.exists()


def test_identical_pixels_in_two_folds_are_refused(published: list[FoldRow]) -> None:
    first, other = published[0], next(row for row in published if row.fold != published[0].fold)
    with pytest.raises(DataLayoutError, match=r"pixels .* lies in folds"):
        check_folds([first, replace(other, pixel_sha256=first.pixel_sha256)])


def test_a_repeated_id_is_refused(published: list[FoldRow]) -> None:
    with pytest.raises(DataLayoutError, match="listed 2 times"):
        check_folds([published[0], published[0]])


@pytest.mark.parametrize(
    "content", [b"", b"image_id,fold\na,0\n", b"no table at all", b"\x89PNG\r\n\x1a\n\x00"]
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.csv"
    path.write_bytes(content)
    with pytest.raises(DataLayoutError, match="not a table of folds"):
        read_folds(path)
    with pytest.raises(DataLayoutError, match="cannot be read"):
        read_folds(tmp_path / "missing.csv")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (",benign,", ",begin,"),
        (",3,0e92", ",three,0e92"),
        (",3,0e92", ",-3,0e92"),
        ("0e9278136502", "0e92"),
        (",false,", ",no,"),
        ("benign (1),benign", "benign (1)"),
    ],
)
def test_a_damaged_row_is_named_by_its_line(
    tmp_path: Path, published: list[FoldRow], before: str, after: str
) -> None:
    path = tmp_path / "folds.csv"
    write_folds(path, published)
    text = path.read_text(encoding="utf-8")
    assert before in text.splitlines()[1]
    path.write_text(text.replace(before, after, 1), encoding="utf-8")
    with pytest.raises(DataLayoutError, match="damaged") as caught:
        read_folds(path)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["line 2"]


def test_a_table_cut_short_is_refused(tmp_path: Path, published: list[FoldRow]) -> None:
    path = tmp_path / "folds.csv"
    write_folds(path, published)
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index(published[100].pixel_sha256) + 9], encoding="utf-8")
    with pytest.raises(DataLayoutError, match="damaged"):
        read_folds(path)
