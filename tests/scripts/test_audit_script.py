"""The audit script from its arguments to its exit code, on phantoms and untrained networks."""

from __future__ import annotations

import csv
import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from busi_unet.config import Calibration
from busi_unet.data.busi import load_prepared, resplit, split_hash
from busi_unet.models.pretrained import bundle_hash, load_config, save_config

SCRIPT = Path(__file__).parents[2] / "scripts" / "audit.py"


@pytest.fixture
def script(monkeypatch, tmp_path):
    """The script as a module, in an empty working folder."""
    spec = importlib.util.spec_from_file_location("audit_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    return module


def made_for(folder: Path, data, fold: int) -> None:
    """Has a model folder say that it was made to be tested on a fold."""
    split = resplit(data, fold)
    made_on = {"split_sha256": split_hash(split), "folds": {"test": [fold]}}
    save_config(folder, replace(load_config(folder), training={"data": made_on}))


def test_audits_a_model(script, prepared, tiny_bundle, capsys):
    made_for(tiny_bundle, load_prepared(prepared), 0)
    save_config(tiny_bundle, replace(load_config(tiny_bundle), calibration=Calibration(1.5)))
    arguments = [str(tiny_bundle), "--data", str(prepared), "--only", "text_in", "half_size", "--seed", "7"]
    assert script.main(arguments) == 0
    printed = capsys.readouterr()
    assert "warning" not in printed.err
    folder = next(Path("reports").iterdir())
    assert folder.name.endswith("model-audit")
    assert str(folder) in printed.err
    assert printed.out == (folder / "audit.md").read_text(encoding="utf-8")
    stored = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    assert list(stored["effects"]) == ["half_size", "text_in"]
    made_with = stored["provenance"]
    assert made_with["command"].startswith(f"scripts/audit.py {tiny_bundle} --data")
    assert (made_with["seed"], made_with["split"], made_with["split_is_the_models_own"]) == (7, "test", True)
    assert made_with["bundle_sha256"] == bundle_hash(tiny_bundle)
    images = len(load_prepared(prepared)["test"])
    with (folder / "per_image.csv").open(encoding="utf-8", newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 2 * images


def test_audits_a_cross_validation_each_fold_by_its_own_network(
    script, prepared, tiny_bundle, tmp_path, capsys
):
    data = load_prepared(prepared)
    for fold in range(5):
        shutil.copytree(tiny_bundle, tmp_path / "cv" / f"fold-{fold}" / "model")
        made_for(tmp_path / "cv" / f"fold-{fold}" / "model", data, fold)
    arguments = ["--cross-validation", "cv", "--data", str(prepared), "--only", "borders_in", "--json"]
    assert script.main([*arguments, "--output", "here"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(Path("here/audit.json").read_text(encoding="utf-8"))
    assert sum(printed["images"].values()) == sum(map(len, data.values()))
    assert printed["provenance"]["split"] == "cross-validation"
    assert [part["fold"] for part in printed["provenance"]["parts"]] == [0, 1, 2, 3, 4]


def test_a_model_of_unknown_origin_is_warned_about(script, prepared, tiny_bundle, capsys):
    assert script.main([str(tiny_bundle), "--data", str(prepared), "--only", "square", "--json"]) == 0
    warned = capsys.readouterr().err
    assert "warning: the model does not tell which data it was made on" in warned
    assert "warning: the model's probabilities are not calibrated" in warned


def test_marks_decide_where_strokes_are_painted_out(script, prepared, tiny_bundle, capsys):
    image = load_prepared(prepared)["test"]["image_id"][0]
    Path("marks.csv").write_text(f"image,burnt_in\n{image},text\n", encoding="utf-8")
    arguments = [str(tiny_bundle), "--data", str(prepared), "--only", "strokes_out", "--json"]
    assert script.main([*arguments, "--by", "marks.csv", "burnt_in"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert sum(printed["effects"]["strokes_out"]["images"].values()) == 1
    assert list(printed["subsets"]) == ["burnt_in: any"]


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        ["embedded", "--cross-validation", "cv"],
        ["--cross-validation", "cv", "--split", "test"],
        ["embedded", "--only", "snow"],
        ["embedded", "--only"],
        ["embedded", "--seed", "x"],
        ["embedded", "--seed", "-1"],
    ],
)
def test_wrong_usage(script, wrong, capsys):
    with pytest.raises(SystemExit) as stopped:
        script.main(wrong)
    assert stopped.value.code == 2
    assert "usage: audit.py" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["./nowhere"], "nowhere"),
        (["--cross-validation", "nowhere"], "There is no folder nowhere."),
        (["--cross-validation", "."], "no complete cross-validation"),
        (["embedded", "--by", "none.csv", "burnt_in"], "There is no table none.csv."),
    ],
)
def test_what_is_not_there_is_one_line_and_exit_code_2(script, prepared, arguments, said, capsys):
    assert script.main([*arguments, "--data", str(prepared)]) == 2
    printed = capsys.readouterr()
    assert said in printed.err
    assert printed.out == "" and len(printed.err.splitlines()) == 1
    assert not Path("reports").exists()


def test_data_that_are_not_prepared(script, tmp_path, capsys):
    assert script.main(["embedded", "--data", str(tmp_path)]) == 1
    assert "is not a prepared data set" in capsys.readouterr().err


def test_help_lists_the_disturbances(script, capsys):
    with pytest.raises(SystemExit):
        script.main(["--help"])
    assert "scanner_convex       scanner: fanned out" in capsys.readouterr().out
