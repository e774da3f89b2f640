"""Data that look like BUSI and are not quite are told apart by their pixels and folds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from busi_unet.data import published
from busi_unet.data.fold_table import FoldRow, read_busi_folds
from busi_unet.data.published import Placed


@pytest.fixture(scope="module")
def rows() -> list[FoldRow]:
    return read_busi_folds()


def placed(row: FoldRow) -> Placed:
    return Placed(row.image_id, row.label, row.pixel_sha256, row.fold)


def departures(images: list[Placed]) -> list[str]:
    return published.departures(images, read_busi_folds(), "BUSI")


def test_busi_and_parts_of_it_in_the_published_folds_are_no_departure(rows: list[FoldRow]) -> None:
    assert departures([placed(row) for row in rows]) == []
    assert departures([placed(row) for row in rows[:9]]) == []


def test_other_names_and_pixels_are_no_departure() -> None:
    assert departures([Placed("scan 7", "benign", "0" * 64, 3)]) == []


def test_images_saved_anew_are_counted_and_named(rows: list[FoldRow]) -> None:
    saved_anew = [replace(row, pixel_sha256=f"{n:064x}") for n, row in enumerate(rows)]
    (sentence,) = departures([placed(row) for row in saved_anew])
    assert sentence.startswith("780 of 780") and "(benign (1), " in sentence
    (sentence,) = departures([placed(row) for row in [saved_anew[0], *rows[1:]]])
    assert sentence.startswith("1 of 780") and "(benign (1))" in sentence


def test_busi_with_images_from_elsewhere(rows: list[FoldRow]) -> None:
    (sentence,) = departures([*map(placed, rows), Placed("scan 7", "benign", "0" * 64, 3)])
    assert sentence.startswith("780 of 781")


def test_images_of_busi_under_another_class(rows: list[FoldRow]) -> None:
    first = replace(rows[0], label="malignant" if rows[0].label == "benign" else "benign")
    (sentence,) = departures([placed(row) for row in [first, *rows[1:]]])
    assert sentence.startswith(f"1 of {len(rows)}") and first.image_id in sentence


def test_folds_that_are_not_the_published_ones(rows: list[FoldRow]) -> None:
    assert len(departures([placed(replace(row, fold=(row.fold + 1) % 5)) for row in rows])) == 1
