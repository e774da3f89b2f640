import json
import shutil
from pathlib import Path

import pytest

from busi_unet.cli import main
from busi_unet.data.prepared import load_prepared
from busi_unet.evaluation import leakage, report
from busi_unet.evaluation.leakage import model_and_images
from busi_unet.evaluation.report import read_evaluations
from busi_unet.models.folder import model_hash, weights_hash


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Reports come here, without plots, which take long; test_report.py looks at them."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(report, "draw_plots", lambda _: {})


def test_prints_tables_and_writes_the_report(prepared, tiny_model, capsys):
    assert main(["evaluate", str(tiny_model), "--data", str(prepared), "--device", "cpu"]) == 0
    printed = capsys.readouterr()
    (folder,) = Path("reports").iterdir()
    assert str(folder) in printed.err
    assert "Dice" in printed.out
    stored = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    assert sum(stored["images"].values()) == len(load_prepared(prepared)["test"])
    assert stored["provenance"]["command"].startswith("busi-unet evaluate ")
    assert stored["provenance"]["model_sha256"] == model_hash(tiny_model)
    assert list(read_evaluations(tiny_model).values()) == [stored]


def test_robustness_is_told_and_written(prepared, tiny_model, capsys):
    assert main(["robustness", str(tiny_model), "--data", str(prepared), "--device", "cpu"]) == 0
    (folder,) = Path("reports").iterdir()
    stored = json.loads((folder / "robustness.json").read_text(encoding="utf-8"))
    assert stored["provenance"]["command"].startswith("busi-unet robustness ")
    printed = capsys.readouterr().out
    assert all(f"| {name} " in printed for name in stored["outcomes"])


def test_all_images_of_a_model_that_does_not_tell_what_it_was_trained_on(prepared, tiny_model, capsys):
    arguments = [str(tiny_model), "--data", str(prepared), "--split", "all", "--output", "out"]
    assert main(["evaluate", *arguments]) == 0
    summary = json.loads(Path("out/metrics.json").read_text(encoding="utf-8"))
    assert summary["provenance"]["split"] == "all"
    assert sum(summary["images"].values()) == sum(map(len, load_prepared(prepared).values()))
    assert "warning: " in capsys.readouterr().err


def test_models_of_different_images_are_pooled(prepared, tiny_model, tmp_path, monkeypatch, capsys):
    data, other = load_prepared(prepared), shutil.copytree(tiny_model, tmp_path / "other")
    halves = {str(tiny_model): data["test"], str(other): data["validation"]}

    def half(model, data, split, *, device):
        predictor, _, provenance = model_and_images(model, data, split, device=device)
        return predictor, halves[model], provenance

    monkeypatch.setattr(leakage, "model_and_images", half)
    assert main(["evaluate", *halves, "--data", str(prepared), "--output", "both"]) == 0
    both = json.loads(Path("both/metrics.json").read_text(encoding="utf-8"))
    assert sum(both["images"].values()) == sum(map(len, halves.values()))
    assert [part["weights_sha256"] for part in both["provenance"]["parts"]] == [weights_hash(tiny_model)] * 2
    halves[str(other)] = data["test"]
    assert main(["evaluate", *halves, "--data", str(prepared), "--output", "twice"]) == 2
    assert data["test"]["image_id"][0] in capsys.readouterr().err
    assert main(["evaluate", *halves, "--data", str(prepared)]) == 2, "which model's folder would it be?"


@pytest.mark.parametrize(("model", "data", "code"), [("./nowhere", None, 2), ("embedded", "not prepared", 1)])
def test_what_is_not_there_is_one_line(model, data, code, prepared, capsys):
    Path("not prepared").mkdir()
    assert main(["evaluate", model, "--data", data or str(prepared)]) == code
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.startswith("error: ")
    assert not Path("reports").exists()


def test_the_built_in_model_keeps_what_it_was_released_with(prepared, tiny_model, monkeypatch):
    """Not the 780 images of a real run: the tiny model stands in for the weights."""
    monkeypatch.setattr("busi_unet.inference.predictor.EMBEDDED", tiny_model)
    before = sorted(tiny_model.iterdir())
    assert main(["evaluate", "embedded", "--data", str(prepared), "--device", "cpu"]) == 0
    assert sorted(tiny_model.iterdir()) == before
