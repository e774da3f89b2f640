import csv
from importlib.resources import files

from busi_unet.app.examples import FOLDER, examples
from busi_unet.config import CLASS_NAMES


def test_the_examples_are_of_the_fold_that_no_training_used():
    table = (files("busi_unet") / "data" / "breast_folds.csv").read_text(encoding="utf-8").splitlines()
    rows = {row["image_id"]: row for row in csv.DictReader(table)}

    assert [example.label for example in examples()] == list(CLASS_NAMES)
    for example in examples():
        assert rows[example.case]["fold"] == "0" and rows[example.case]["label"] == example.label
        assert example.path.stat().st_size < 150_000


def test_licence_and_citation_lie_beside_the_examples():
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in readme and "10.7937/9WKK-Q141" in readme
    assert all(example.path.name in readme for example in examples())
