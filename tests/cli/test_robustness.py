import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from busi_unet.cli import main
from busi_unet.data.prepared import load_prepared, resplit, split_hash
from busi_unet.models.pretrained import load_config, save_config


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def made_for(folder: Path, data, fold: int) -> None:
    """Have a model folder say that it was made to be tested on a fold."""
    made_on = {"split_sha256": split_hash(resplit(data, fold)), "folds": {"test": [fold]}}
    save_config(folder, replace(load_config(folder), training={"data": made_on}))


def test_a_model_on_altered_images(prepared, tiny_model, capsys):
    arguments = [str(tiny_model), "--data", str(prepared), "--only", "text_in", "half_size", "--seed", "7"]
    assert main(["robustness", *arguments]) == 0
    printed = capsys.readouterr()
    (folder,) = Path("reports").iterdir()
    assert str(folder) in printed.err
    (stored,) = (json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json"))
    assert list(stored["effects"]) == ["half_size", "text_in"]
    assert stored["provenance"]["command"].startswith(f"busi-unet robustness {tiny_model} --data")
    assert stored["provenance"]["seed"] == 7
    with (folder / "per_image.csv").open(encoding="utf-8", newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 2 * len(load_prepared(prepared)["test"])


def test_a_cross_validation_each_fold_by_the_model_that_kept_it(prepared, tiny_model, tmp_path, capsys):
    data = load_prepared(prepared)
    for fold in range(5):
        shutil.copytree(tiny_model, tmp_path / "cv" / f"fold-{fold}" / "model")
        made_for(tmp_path / "cv" / f"fold-{fold}" / "model", data, fold)
    arguments = ["--cross-validation", str(tmp_path / "cv"), "--data", str(prepared)]
    assert main(["robustness", *arguments, "--only", "borders_in", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert sum(printed["images"].values()) == sum(map(len, data.values()))
    assert [part["fold"] for part in printed["provenance"]["parts"]] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        ["embedded", "--cross-validation", "cv"],
        ["--cross-validation", "nowhere"],
        ["--cross-validation", ".", "--split", "test"],
        ["./nowhere"],
    ],
)
def test_wrong_usage_is_one_line(wrong, prepared, capsys):
    assert main(["robustness", *wrong, "--data", str(prepared)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and len(printed.err.splitlines()) == 1
    assert not Path("reports").exists()
