import argparse

import pytest
from fakes.made_up import MadeUpPredictor, make_split

from busi_unet.errors import UsageError
from busi_unet.evaluation.evaluate import evaluate
from busi_unet.evaluation.report import to_markdown
from busi_unet.evaluation.subgroups import add_marks_flag, check_marks, marks_of, read_marks

TABLE = """image,objection,burnt_in
benign (1),axilla,
benign (2),,text
malignant (1),,"calipers, text"
normal (1), ,
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "marks.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def test_an_image_is_marked_where_its_cell_is_not_empty(table):
    assert read_marks(table, ["objection", "burnt_in"]) == {
        "objection": {"benign (1)"},
        "burnt_in": {"benign (2)", "malignant (1)"},
    }


def test_the_flag_names_a_table_and_columns(table):
    parser = argparse.ArgumentParser()
    add_marks_flag(parser)
    arguments = parser.parse_args(["--by", str(table), "objection"])
    assert marks_of(arguments.by) == {"objection": {"benign (1)"}}
    assert marks_of(parser.parse_args([]).by) is None
    with pytest.raises(UsageError, match="names no column"):
        marks_of([str(table)])


def test_mistakes_are_named(table, tmp_path):
    with pytest.raises(UsageError, match="no table"):
        read_marks(tmp_path / "other.csv", ["objection"])
    with pytest.raises(UsageError, match=r"no column quality.*image, objection, burnt_in"):
        read_marks(table, ["quality"])
    latin = tmp_path / "latin.csv"
    latin.write_bytes("image,quality\nbenign (1),mäßig\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"latin\.csv is no CSV in UTF-8"):
        read_marks(latin, ["quality"])


def test_tables_of_spreadsheets_and_short_rows_are_read(tmp_path):
    path = tmp_path / "marks.csv"
    path.write_text("image,objection\nbenign (1),axilla\nbenign (2)\n", encoding="utf-8-sig")
    assert read_marks(path, ["objection"]) == {"objection": {"benign (1)"}}


def test_a_table_about_other_images_is_refused_before_the_long_part():
    marks = {"objection": {"benign_1"}, "burnt_in": {"malignant_1"}}
    with pytest.raises(UsageError, match=r"marks none of these 6 images under objection, burnt_in"):
        evaluate(None, make_split(), progress=False, marks=marks)
    check_marks({"objection": set(), "burnt_in": {"benign (1)"}}, ["benign (1)"])


def test_marked_images_and_the_others_are_judged_apart(table):
    marks = read_marks(table, ["objection", "burnt_in"])
    evaluation = evaluate(MadeUpPredictor(), make_split(), progress=False, marks=marks)

    assert list(evaluation.subsets) == [
        "objection: none",
        "objection: any",
        "burnt_in: none",
        "burnt_in: any",
    ]
    assert evaluation.subsets["burnt_in: any"]["lesion_dice"].value == pytest.approx((2 / 3 + 0) / 2)
    assert evaluation.subsets["burnt_in: none"]["accuracy"].count == 3
    assert evaluation.subsets["objection: any"]["auc_malignant"].value is None
    assert "| Marked as " in to_markdown(evaluation)
    assert evaluation.summary["subsets"]["burnt_in: any"]["lesion_dice"]["n"] == 2
