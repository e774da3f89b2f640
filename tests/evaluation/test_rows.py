import pytest
from fakes.made_up import MadeUpPredictor, make_split

from busi_unet.errors import UsageError
from busi_unet.evaluation.evaluate import evaluate
from busi_unet.evaluation.rows import check_subgroups, read_subgroups

TABLE = """image,objection,annotations
benign (1),axilla,
benign (2),,text
malignant (1),,"calipers, text"
normal (1), ,
normal (2)
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(TABLE, encoding="utf-8-sig")  # As spreadsheets write it, with a short row.
    return path


def test_images_with_an_entry_and_those_without_are_evaluated_apart(table):
    subgroups = read_subgroups(table, ["objection", "annotations"])
    assert subgroups == {"objection": {"benign (1)"}, "annotations": {"benign (2)", "malignant (1)"}}
    parts = evaluate(MadeUpPredictor(), make_split(), subgroups=subgroups).subgroups
    assert list(parts) == ["objection: none", "objection: any", "annotations: none", "annotations: any"]
    assert parts["annotations: any"].estimates["lesion_dice"].value == pytest.approx((2 / 3 + 0) / 2)
    assert parts["annotations: none"].estimates["accuracy"].count == 3
    assert parts["objection: any"].estimates["auc_malignant"].value is None


def test_mistakes_are_named(table, tmp_path):
    with pytest.raises(UsageError, match="No column"):
        read_subgroups(table, [])
    with pytest.raises(UsageError, match=r"other\.csv"):
        read_subgroups(tmp_path / "other.csv", ["objection"])
    with pytest.raises(UsageError, match=r"(?s)no column quality.*image, objection, annotations"):
        read_subgroups(table, ["quality"])
    latin = tmp_path / "latin.csv"
    latin.write_bytes("image,quality\nbenign (1),mäßig\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"latin\.csv"):
        read_subgroups(latin, ["quality"])


def test_a_table_about_other_images_is_refused_before_the_long_part():
    subgroups = {"objection": {"benign_1"}, "annotations": {"malignant_1"}}
    with pytest.raises(UsageError, match="objection, annotations"):
        evaluate(None, make_split(), subgroups=subgroups)
    check_subgroups({"objection": set(), "annotations": {"benign (1)"}}, ["benign (1)"])
