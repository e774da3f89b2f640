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


@pytest.mark.parametrize("text", ["", "image_id,fold\na,0\n", "no table at all"])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataLayoutError, match="not a table of folds"):
        read_folds(path)
    with pytest.raises(DataLayoutError, match="cannot be read"):
        read_folds(tmp_path / "missing.csv")
