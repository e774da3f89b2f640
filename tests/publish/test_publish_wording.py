import pytest

from busi_unet.config import CLASS_NAMES
from busi_unet.data.busi import SPLITS, split_hash, split_of_fold
from busi_unet.data.fold_table import read_busi_folds
from busi_unet.publish.wording import busi_test_fold


def hash_of(test: int, validation: int | None = None, *, without: int = 0) -> str:
    split_of = split_of_fold(test, validation)
    parts = {split: {"image_id": [], "label": []} for split in SPLITS}
    for row in read_busi_folds()[without:]:
        parts[split_of[row.fold]]["image_id"].append(row.image_id)
        parts[split_of[row.fold]]["label"].append(CLASS_NAMES.index(row.label))
    return split_hash(parts)


@pytest.mark.parametrize(("test", "validation"), [(0, None), (4, None), (0, 3), (2, 1)])
def test_a_published_split_is_known_whichever_fold_validates(test, validation):
    assert busi_test_fold(hash_of(test, validation)) == test


def test_another_split_is_none_of_busi():
    assert busi_test_fold(None) is None
    assert busi_test_fold(hash_of(0, without=1)) is None
