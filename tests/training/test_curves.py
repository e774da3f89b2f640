import csv
import os

import pytest
from PIL import Image

from busi_unet.training.curves import CURVES_NAME, HISTORY_NAME, write_curves


def row(epoch: int, dice: float | None) -> dict:
    parts = {f"{part}_{name}": 0.5 for part in ("train", "validation") for name in ("loss", "accuracy")}
    return {
        "epoch": epoch,
        "learning_rate": 1e-3,
        "seconds": 1.0,
        **parts,
        "train_dice": dice,
        "validation_dice": dice,
    }


def test_table_and_picture(tmp_path):
    write_curves(tmp_path, [row(1, None), row(2, 0.7)])
    with (tmp_path / HISTORY_NAME).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [line["validation_dice"] for line in rows] == ["", "0.7"]
    with Image.open(tmp_path / CURVES_NAME) as picture:
        assert picture.width > 3 * picture.height / 2
        assert len(set(picture.convert("L").tobytes())) > 10


def test_a_full_disk_leaves_the_curves_before(tmp_path, monkeypatch):
    def full(_file):
        raise OSError(28, "No space left on device")

    write_curves(tmp_path, [row(1, None)])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_curves(tmp_path, [row(1, None), row(2, 0.7)])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
