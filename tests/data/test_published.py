"""Data that look like BUSI and are not quite are told apart by their pixels and folds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from busi_unet.data.fold_table import FoldRow, read_busi_folds
from busi_unet.data.published import Placed, departures


@pytest.fixture(scope="module")
def published() -> list[FoldRow]:
    return read_busi_folds()


def placed(row: FoldRow) -> Placed:
    return Placed(row.image_id, row.label, row.pixel_sha256, row.fold)


def test_busi_and_parts_of_it_in_the_published_folds_are_no_departure(published: list[FoldRow]) -> None:
    assert departures([placed(row) for row in published], published) == []
    assert departures([placed(row) for row in published[:9]], published) == []


def test_other_names_and_pixels_are_no_departure(published: list[FoldRow]) -> None:
    assert departures([Placed("scan 7", "benign", "0" * 64, 3)], published) == []


def test_pictures_saved_anew_are_counted_and_named(published: list[FoldRow]) -> None:
    saved_anew = [replace(row, pixel_sha256=f"{n:064x}") for n, row in enumerate(published)]
    (sentence,) = departures([placed(row) for row in saved_anew], published)
    assert sentence.startswith(
        "780 of 780 pictures are called as in BUSI but have other pixels (benign (1), "
    )
    assert "cannot be compared" in sentence
    (sentence,) = departures([placed(row) for row in [saved_anew[0], *published[1:]]], published)
    assert sentence.startswith("1 of 780 pictures are called as in BUSI but have other pixels (benign (1)):")


def test_busi_with_pictures_from_elsewhere(published: list[FoldRow]) -> None:
    pictures = [*map(placed, published), Placed("scan 7", "benign", "0" * 64, 3)]
    (sentence,) = departures(pictures, published)
    assert sentence.startswith("780 of 781 pictures are BUSI's, the others not:")


def test_pictures_of_busi_under_another_class(published: list[FoldRow]) -> None:
    first = replace(published[0], label="malignant" if published[0].label == "benign" else "benign")
    (sentence,) = departures([placed(row) for row in [first, *published[1:]]], published)
    assert sentence.startswith(
        f"1 of {len(published)} pictures are BUSI's but have another class there ({first.image_id}):"
    )


def test_folds_that_are_not_the_published_ones(published: list[FoldRow]) -> None:
    moved = [placed(replace(row, fold=(row.fold + 1) % 5)) for row in published]
    (sentence,) = departures(moved, published)
    assert sentence.startswith("The pictures are BUSI's, their folds are not the published ones:")
