import csv
import json
from pathlib import Path

import pytest

from busi_unet.cli import main
from busi_unet.data.prepared import load_prepared
from busi_unet.evaluation import report
from busi_unet.models.folder import load_config
from busi_unet.training import run_folder

RECIPE = ["--encoder", "plain", "--width", "4", "--size", "32", "--epochs", "1", "--batch-size", "4"]


@pytest.fixture(autouse=True, scope="module")
def undrawn():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_folder, "draw_curves", lambda *_: None)
        patch.setattr(report, "draw_plots", lambda _: {})
        yield


@pytest.fixture(scope="module")
def command(prepared, tmp_path_factory) -> list[str]:
    """A cross-validation that has been done once."""
    output = tmp_path_factory.mktemp("cross") / "validation"
    command = ["cross-validate", *RECIPE, "--data", str(prepared), "--output", str(output)]
    assert main(command) == 0
    return command


def summary(results: Path) -> dict:
    return json.loads((results / "metrics.json").read_text(encoding="utf-8"))


def folds(results: Path) -> dict[str, int]:
    with (results / "per_image.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    found = {row["image_id"]: int(row["fold"]) for row in rows}
    assert len(found) == len(rows)
    return found


def test_every_image_is_evaluated_once_by_the_network_that_kept_its_fold(command, prepared):
    results = Path(command[-1]) / "results"
    assert folds(results) == {
        image_id: fold
        for split in load_prepared(prepared).values()
        for image_id, fold in zip(split["image_id"], split["fold"], strict=True)
    }
    for part in summary(results)["provenance"]["parts"]:
        trained = load_config(part["model"]).training["data"]["folds"]
        assert trained["test"] == [part["fold"]]
        assert part["fold"] not in trained["train"] + trained["validation"]


def test_called_again_it_trains_nothing_and_finds_the_same(command, capsys):
    output = Path(command[-1])
    kept = [output / "fold-1" / "history.csv", output / "results" / "metrics.json"]
    before = [path.read_bytes() for path in kept]
    assert main([*command, "--folds", "1", "2"]) == 0
    assert str(output / "results-1-2") in capsys.readouterr().err
    assert [path.read_bytes() for path in kept] == before
    again = summary(output / "results-1-2")
    assert [part["fold"] for part in again["provenance"]["parts"]] == [1, 2]
    assert again["provenance"]["command"].startswith("busi-unet cross-validate --encoder plain")
    of_all = folds(output / "results")
    assert folds(output / "results-1-2") == {name: fold for name, fold in of_all.items() if fold in (1, 2)}


def test_what_cannot_be_cross_validated_is_refused(command, monkeypatch, capsys):
    assert main([*command, "--seed", "1"]) == 2
    assert "--seed was 0" in capsys.readouterr().err
    assert main([*command, "--folds", "5"]) == 2
    assert "no fold 5" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(command) == 2
    assert "one process" in capsys.readouterr().err
