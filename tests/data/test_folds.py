"""Folds: no group ever crosses them, classes are spread evenly, and the published table fits the pixels."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from busi_unet.config import CLASS_NAMES
from busi_unet.data.fold_table import FoldRow, check_folds, read_busi_folds
from busi_unet.data.folds import (
    N_FOLDS,
    assign_folds,
    build_folds,
    pixel_hash,
    random_split_leak,
)
from busi_unet.data.readers import scan_folder
from busi_unet.io.decode import decode_image


@pytest.fixture(scope="module")
def published() -> list[FoldRow]:
    return read_busi_folds()


def random_groups(seed: int) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(seed)
    labels, groups = [], []
    for group in range(150):
        label = rng.choice(CLASS_NAMES, p=(0.2, 0.5, 0.3))
        for _ in range(rng.choice((1, 2, 3, 7), p=(0.7, 0.2, 0.08, 0.02))):
            mislabelled = rng.random() < 0.03
            labels.append(str(rng.choice(CLASS_NAMES) if mislabelled else label))
            groups.append(f"group {group}")
    return labels, groups


def folds_of_groups(groups: list, assigned: list[int]) -> dict:
    found = defaultdict(set)
    for group, fold in zip(groups, assigned, strict=True):
        found[group].add(fold)
    return found


def spread(values: list, assigned: list[int], n_folds: int) -> int:
    """Largest difference between two folds, over all values."""
    counts = Counter(zip(values, assigned, strict=True))
    return max(
        max(counts[value, fold] for fold in range(n_folds))
        - min(counts[value, fold] for fold in range(n_folds))
        for value in set(values)
    )


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("n_folds", [2, 5, 10])
def test_no_group_crosses_folds_and_classes_are_even(seed: int, n_folds: int) -> None:
    labels, groups = random_groups(seed)
    assigned = assign_folds(labels, groups, n_folds=n_folds, seed=seed)

    assert set(assigned) == set(range(n_folds))
    assert all(len(found) == 1 for found in folds_of_groups(groups, assigned).values())
    assert spread(labels, assigned, n_folds) <= 3


def test_the_order_of_the_input_does_not_matter() -> None:
    labels, groups = random_groups(0)
    assigned = assign_folds(labels, groups)
    order = np.random.default_rng(1).permutation(len(labels))
    shuffled = assign_folds([labels[i] for i in order], [groups[i] for i in order])
    assert shuffled == [assigned[i] for i in order]


def test_the_seed_deals_anew() -> None:
    labels, groups = random_groups(0)
    assert assign_folds(labels, groups, seed=0) == assign_folds(labels, groups, seed=0)
    assert assign_folds(labels, groups, seed=0) != assign_folds(labels, groups, seed=1)


@pytest.mark.parametrize(
    ("labels", "groups", "n_folds"),
    [(["normal"], ["a", "b"], 2), (["normal"] * 3, ["a", "a", "b"], 3), (["normal"] * 3, ["a", "b", "c"], 1)],
)
def test_refuses_what_cannot_be_split(labels: list[str], groups: list[str], n_folds: int) -> None:
    with pytest.raises(ValueError, match=r"fit|fill"):
        assign_folds(labels, groups, n_folds=n_folds)


def test_leak_is_nought_without_copies_and_known_for_pairs() -> None:
    assert random_split_leak(range(10)) == 0.0
    # Ten images in five pairs, two tested: the twin of a tested one is the other with probability 1/9.
    assert random_split_leak([index // 2 for index in range(10)]) == pytest.approx(8 / 9)


def test_leak_agrees_with_simulated_splits() -> None:
    _, groups = random_groups(3)
    count = len(groups)
    tested = round(count / 5)
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(400):
        order = rng.permutation(count)
        trained = {groups[index] for index in order[tested:]}
        shares.append(np.mean([groups[index] in trained for index in order[:tested]]))
    assert random_split_leak(groups) == pytest.approx(np.mean(shares), abs=0.01)


@pytest.mark.parametrize("share", [0.0, 1.0, 0.01])
def test_leak_needs_a_test_part(share: float) -> None:
    with pytest.raises(ValueError, match="test share"):
        random_split_leak(range(10), test_share=share)


def test_hash_tells_shape_and_values() -> None:
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert pixel_hash(pixels) == hashlib.sha256(b"2x3:" + bytes(range(6))).hexdigest()
    assert pixel_hash(pixels) == pixel_hash(np.asfortranarray(pixels))
    assert len({pixel_hash(pixels), pixel_hash(pixels.reshape(3, 2)), pixel_hash(pixels + 1)}) == 3
    with pytest.raises(ValueError, match="uint8"):
        pixel_hash(pixels.astype(float))


def test_copies_of_phantoms_share_fold_group_and_doubt(phantom_root: Path) -> None:
    cases = scan_folder(phantom_root).cases
    images = [decode_image(case.image) for case in cases]
    ids, labels = [case.image_id for case in cases], [case.label for case in cases]
    # A mirrored copy of the first image, filed under another class.
    other = next(name for name in CLASS_NAMES if name != labels[0])
    ids, labels, images = [*ids, "copy (1)"], [*labels, other], [*images, images[0][:, ::-1].copy()]

    rows = build_folds(ids, labels, images)
    check_folds(rows)
    row_of = {row.image_id: row for row in rows}
    original, copy = row_of[ids[0]], row_of["copy (1)"]
    assert (copy.group, copy.fold) == (original.group, original.fold)
    assert copy.cross_class and copy.other_class_copies == (ids[0],)
    assert original.cross_class and original.other_class_copies == ("copy (1)",)
    assert sum(row.cross_class for row in rows) == 2

    order = np.random.default_rng(0).permutation(len(ids))
    again = build_folds([ids[i] for i in order], [labels[i] for i in order], [images[i] for i in order])
    assert again == rows


def test_published_folds_keep_groups_apart_and_classes_even(published: list[FoldRow]) -> None:
    assigned = [row.fold for row in published]
    labels = [row.label for row in published]
    groups = [row.group for row in published]
    assert Counter(labels) == {"normal": 133, "benign": 437, "malignant": 210}
    assert all(len(found) == 1 for found in folds_of_groups(groups, assigned).values())
    assert set(assigned) == set(range(N_FOLDS))
    assert spread(labels, assigned, N_FOLDS) <= 1
    sizes = Counter(groups)
    fold_of = dict(zip(groups, assigned, strict=True))
    assert spread([min(sizes[group], 4) for group in fold_of], list(fold_of.values()), N_FOLDS) <= 2


def test_published_groups_are_dealt_by_the_rule(published: list[FoldRow]) -> None:
    labels, groups = [row.label for row in published], [row.group for row in published]
    assert assign_folds(labels, groups) == [row.fold for row in published]


def test_published_conflicts_are_mutual(published: list[FoldRow]) -> None:
    row_of = {row.image_id: row for row in published}
    for row in published:
        assert row.cross_class == bool(row.other_class_copies)
        for name in row.other_class_copies:
            other = row_of[name]
            assert other.label != row.label and other.group == row.group
            assert row.image_id in other.other_class_copies


def test_a_random_split_of_busi_would_leak_more_than_a_third(published: list[FoldRow]) -> None:
    assert random_split_leak([row.group for row in published]) == pytest.approx(0.384, abs=0.001)
