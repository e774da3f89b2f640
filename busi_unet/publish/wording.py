"""What the cards of a model and of a data set both say about BUSI."""

from __future__ import annotations

from functools import cache
from itertools import permutations

from busi_unet.config import CLASS_NAMES
from busi_unet.data.busi import SPLITS, split_hash, split_of_fold
from busi_unet.data.fold_table import read_busi_folds
from busi_unet.data.folds import N_FOLDS

BUSI_CITATION = """\
Al-Dhabyani W, Gomaa M, Khaled H, Fahmy A. Dataset of breast ultrasound images.
Data in Brief 28:104863 (2020).
On the copies in it: Pawłowska A, Karwat P, Żołek N. Data in Brief 48:109247 (2023)."""

BUSI_LICENCE = "The licence of BUSI is not clearly stated by its owners, and copies name different ones."

NOT_A_DEVICE = "**Research use only. Not a medical device, and not fit to find or to rule out cancer.**"


def busi_test_fold(split_sha256: str | None) -> int | None:
    """The published fold of BUSI that a split tests on; None where it is not a split of all of BUSI."""
    return _busi_splits().get(split_sha256)


@cache
def _busi_splits() -> dict[str, int]:
    """The test fold by the hash of the split, whichever of the other folds validates."""
    rows = read_busi_folds()
    hashes = {}
    for test, validation in permutations(range(N_FOLDS), 2):
        split_of = split_of_fold(test, validation)
        parts: dict[str, dict[str, list]] = {split: {"image_id": [], "label": []} for split in SPLITS}
        for row in rows:
            part = parts[split_of[row.fold]]
            part["image_id"].append(row.image_id)
            part["label"].append(CLASS_NAMES.index(row.label))
        hashes[split_hash(parts)] = test
    return hashes
