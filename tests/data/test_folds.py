"""Folds: no group ever crosses them, classes are spread evenly, the published ones are dealt by the rule."""

import hashlib
from collections import Counter

import numpy as np
import pytest

from busi_unet.config import CLASS_NAMES
from busi_unet.data.folds import (
    N_FOLDS,
    assign_folds,
    pixel_hash,
    random_split_leak,
    read_published_folds,
)
from busi_unet.errors import DataLayoutError


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


def spread(values: list, assigned: list[int]) -> int:
    """Largest difference between two folds, over all values."""
    counts = Counter(zip(values, assigned, strict=True))
    return max(
        max(counts[value, fold] for fold in range(N_FOLDS))
        - min(counts[value, fold] for fold in range(N_FOLDS))
        for value in set(values)
    )


@pytest.mark.parametrize("seed", range(12))
def test_no_group_crosses_folds_and_classes_are_even(seed):
    labels, groups = random_groups(seed)
    assigned = assign_folds(labels, groups)

    assert set(assigned) == set(range(N_FOLDS))
    assert len(set(zip(groups, assigned, strict=True))) == len(set(groups))
    assert spread(labels, assigned) <= 3


def test_the_order_of_the_input_does_not_matter():
    labels, groups = random_groups(0)
    assigned = assign_folds(labels, groups)
    order = np.random.default_rng(1).permutation(len(labels))
    shuffled = assign_folds([labels[i] for i in order], [groups[i] for i in order])
    assert shuffled == [assigned[i] for i in order]


def test_too_few_groups_are_refused():
    with pytest.raises(DataLayoutError, match="2 groups cannot fill 5"):
        assign_folds(["normal"] * 3, ["a", "a", "b"])


def test_leak_is_nought_without_copies_and_known_for_pairs():
    assert random_split_leak(range(10)) == 0.0
    # Ten images in five pairs, two tested: the twin of a tested one is the other with probability 1/9.
    assert random_split_leak([index // 2 for index in range(10)]) == pytest.approx(8 / 9)


def test_hash_tells_shape_and_values():
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert pixel_hash(pixels) == hashlib.sha256(b"2x3:" + bytes(range(6))).hexdigest()
    assert pixel_hash(pixels) == pixel_hash(np.asfortranarray(pixels))
    assert len({pixel_hash(pixels), pixel_hash(pixels.reshape(3, 2)), pixel_hash(pixels + 1)}) == 3


@pytest.mark.parametrize("source", ["busi", "breast"])
def test_published_groups_are_dealt_by_the_rule(source):
    rows = read_published_folds(source)
    labels, groups = [row.label for row in rows], [row.group for row in rows]
    assert assign_folds(labels, groups) == [row.fold for row in rows]


def test_published_folds_of_busi_have_even_classes_and_groups():
    published = read_published_folds("busi")
    assigned = [row.fold for row in published]
    labels = [row.label for row in published]
    groups = [row.group for row in published]
    assert Counter(labels) == {"normal": 133, "benign": 437, "malignant": 210}
    assert spread(labels, assigned) <= 1
    sizes = Counter(groups)
    fold_of = dict(zip(groups, assigned, strict=True))
    assert spread([min(sizes[group], 4) for group in fold_of], list(fold_of.values())) <= 2
    assert random_split_leak(groups) == pytest.approx(0.384, abs=0.001)
