"""The marks of others on BUSI that the package brings: `busi_marks.csv`."""

from pathlib import Path

import busi_unet.data
from busi_unet.data.fold_table import read_busi_folds
from busi_unet.evaluation.subgroups import read_subgroups

TABLE = Path(busi_unet.data.__file__).with_name("busi_marks.csv")


def test_every_marked_image_is_one_of_busi():
    marks = read_subgroups(TABLE, ["objection", "burnt_in"])
    known = {row.image_id for row in read_busi_folds()}
    assert all(images and images <= known for images in marks.values())
