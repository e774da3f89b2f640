"""Folds made from pixels: of phantoms, and those of BUSI, which come out again as they were published."""

import csv
from importlib import resources

import numpy as np
import pytest

from busi_unet.config import CLASS_NAMES
from busi_unet.data.phantom import make_phantom
from busi_unet.errors import DataLayoutError
from research.publish_folds import build_folds, main, write_folds


def test_copies_of_phantoms_share_fold_group_and_doubt(tmp_path):
    kinds = [(label, seed) for label in CLASS_NAMES for seed in range(4)]
    images = [make_phantom(label, seed=seed, size=(128, 160)).image for label, seed in kinds]
    ids, labels = [f"{label} ({seed})" for label, seed in kinds], [label for label, _ in kinds]
    # A mirrored copy of the first image, filed under another class.
    ids, labels, images = [*ids, "copy (1)"], [*labels, "malignant"], [*images, images[0][:, ::-1].copy()]

    rows = build_folds(ids, labels, images)
    row_of = {row.image_id: row for row in rows}
    original, copy = row_of[ids[0]], row_of["copy (1)"]
    assert (copy.group, copy.fold) == (original.group, original.fold)
    write_folds(tmp_path / "folds.csv", rows)
    with (tmp_path / "folds.csv").open(newline="", encoding="utf-8") as file:
        doubts = {row["image_id"]: row["other_class_copies"] for row in csv.DictReader(file)}
    assert {name: copies for name, copies in doubts.items() if copies} == {
        ids[0]: "copy (1)",
        "copy (1)": ids[0],
    }

    order = np.random.default_rng(0).permutation(len(ids))
    again = build_folds([ids[i] for i in order], [labels[i] for i in order], [images[i] for i in order])
    assert again == rows
    with pytest.raises(DataLayoutError, match="one id"):
        build_folds([*ids[:-1], ids[0]], labels, images)


@pytest.mark.slow
@pytest.mark.busi
def test_the_published_table_comes_out_again(busi_root, tmp_path):
    assert main([str(busi_root), "--output", str(tmp_path / "folds.csv")]) == 0
    published = resources.files("busi_unet.data").joinpath("busi_folds.csv").read_bytes()
    assert (tmp_path / "folds.csv").read_bytes() == published
