"""Data that look like BUSI and are not quite are told apart by their pixels and folds."""

from __future__ import annotations

from dataclasses import replace

from busi_unet.data.published import FoldRow, Placed, departures, read_published_folds

ROWS = read_published_folds("busi")
STRANGER = Placed("scan 7", "benign", "0" * 64, 3)


def placed(row: FoldRow) -> Placed:
    return Placed(row.image_id, row.label, row.pixel_sha256, row.fold)


def test_busi_and_parts_of_it_in_the_published_folds_are_no_departure() -> None:
    assert departures([placed(row) for row in ROWS], "busi") == []
    assert departures([placed(row) for row in ROWS[:9]], "busi") == []
    assert departures([STRANGER], "busi") == []


def test_images_saved_anew_are_counted_and_named() -> None:
    saved_anew = [replace(row, pixel_sha256=f"{n:064x}") for n, row in enumerate(ROWS)]
    (sentence,) = departures([placed(row) for row in saved_anew], "busi")
    assert sentence.startswith("780 of 780") and "(benign (1), " in sentence
    (sentence,) = departures([placed(row) for row in [saved_anew[0], *ROWS[1:]]], "busi")
    assert sentence.startswith("1 of 780") and "(benign (1))" in sentence


def test_busi_with_images_from_elsewhere() -> None:
    (sentence,) = departures([*map(placed, ROWS), STRANGER], "busi")
    assert sentence.startswith("1 of 781") and "scan 7" in sentence


def test_images_of_busi_under_another_class() -> None:
    first = replace(ROWS[0], label="malignant" if ROWS[0].label == "benign" else "benign")
    (sentence,) = departures([placed(row) for row in [first, *ROWS[1:]]], "busi")
    assert sentence.startswith("1 of 780") and first.image_id in sentence


def test_folds_that_are_not_the_published_ones() -> None:
    (sentence,) = departures([placed(replace(row, fold=(row.fold + 1) % 5)) for row in ROWS], "busi")
    assert sentence.startswith("780 of 780")
