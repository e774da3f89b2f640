"""The marks of others on BUSI that the package brings: `busi_marks.csv`."""

import csv
import re
from collections import Counter
from pathlib import Path

import busi_unet.data
from busi_unet.data.fold_table import read_busi_folds
from busi_unet.evaluation.subgroups import read_marks

TABLE = Path(busi_unet.data.__file__).with_name("busi_marks.csv")
DATA_PAGE = Path(__file__).resolve().parents[2] / "docs" / "data.md"


def test_every_marked_image_is_one_of_busi():
    marks = read_marks(TABLE, ["objection", "burnt_in"])
    known = {row.image_id for row in read_busi_folds()}
    assert all(images and images <= known for images in marks.values())


def test_the_page_counts_the_marks():
    with TABLE.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    kinds = Counter(row["objection"] for row in rows if row["objection"])
    burnt_in = sum(bool(row["burnt_in"]) for row in rows)
    page = re.sub(r"\s+", " ", DATA_PAGE.read_text(encoding="utf-8"))
    assert (
        f"{kinds.total()} with an objection ({kinds['axilla']} `axilla`, {kinds['needle']} `needle`, "
        f"{kinds['multiclass']} `multiclass`, whose copies lie in another class) and {burnt_in} with"
    ) in page
