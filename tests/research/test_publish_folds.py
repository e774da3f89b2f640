"""Folds made from pixels: of phantoms, and those of BUSI, which come out again as they were published."""

import csv
from collections import defaultdict
from importlib import resources
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from busi_unet.config import CLASS_NAMES
from busi_unet.data import duplicates
from busi_unet.data.phantom import make_phantom
from busi_unet.errors import DataLayoutError
from research.publish_folds import build_folds, main


def test_copies_of_phantoms_share_fold_group_and_doubt():
    kinds = [(label, seed) for label in CLASS_NAMES for seed in range(4)]
    images = [make_phantom(label, seed=seed, size=(128, 160)).image for label, seed in kinds]
    ids, labels = [f"{label} ({seed})" for label, seed in kinds], [label for label, _ in kinds]
    # A mirrored copy of the first image, filed under another class.
    ids, labels, images = [*ids, "copy (1)"], [*labels, "malignant"], [*images, images[0][:, ::-1].copy()]

    rows = build_folds(ids, labels, images)
    row_of = {row.image_id: row for row in rows}
    original, copy = row_of[ids[0]], row_of["copy (1)"]
    assert (copy.group, copy.fold) == (original.group, original.fold)
    assert copy.cross_class and copy.other_class_copies == (ids[0],)
    assert original.cross_class and original.other_class_copies == ("copy (1)",)
    assert sum(row.cross_class for row in rows) == 2

    order = np.random.default_rng(0).permutation(len(ids))
    again = build_folds([ids[i] for i in order], [labels[i] for i in order], [images[i] for i in order])
    assert again == rows
    with pytest.raises(DataLayoutError, match="one id"):
        build_folds([*ids[:-1], ids[0]], labels, images)


@pytest.mark.slow
@pytest.mark.busi
def test_the_published_table_comes_out_again(busi_root, tmp_path, monkeypatch):
    pairs, find_copies = [], duplicates.find_copies

    def overheard(*arguments: Any, **options: Any) -> list:
        pairs.extend(find_copies(*arguments, **options))
        return pairs

    monkeypatch.setattr(duplicates, "find_copies", overheard)
    assert main([str(busi_root), "--output", str(tmp_path / "folds.csv")]) == 0
    published = resources.files("busi_unet.data").joinpath("busi_folds.csv").read_bytes()
    assert (tmp_path / "folds.csv").read_bytes() == published
    _compare_with_listed_copies(busi_root.parent / "groups.csv", tmp_path / "folds.csv", pairs)


def _compare_with_listed_copies(listed: Path, made: Path, pairs: list) -> None:
    if not listed.is_file():
        pytest.skip(f"{listed} is missing: no list of copies to measure against")
    row_of = {row["image"]: row for row in csv.DictReader(listed.open(encoding="utf-8", newline=""))}
    rows = list(csv.DictReader(made.open(encoding="utf-8", newline="")))
    known = [row_of[row["image_id"]] for row in rows]
    published = _pairs_within([row["published_group"] for row in known])
    within = _pairs_within([row["group"] for row in known])
    linked = _pairs_within([row["group"] for row in rows])
    direct = {(pair.first, pair.second) for pair in pairs}
    assert len(published & linked) / len(published) >= 0.98
    assert len(linked - within) / len(linked) <= 0.05
    assert len(direct - within) / len(direct) <= 0.05


def _pairs_within(groups: list) -> set[tuple[int, int]]:
    members = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    return {pair for group in members.values() for pair in combinations(group, 2)}
