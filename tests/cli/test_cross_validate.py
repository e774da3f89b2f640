import csv
import json

import pytest

from busi_unet.cli import main
from busi_unet.cli.cross_validate import cross_validate
from busi_unet.data.prepared import load_prepared
from busi_unet.errors import UsageError
from busi_unet.evaluation import report
from busi_unet.models.folder import load_config
from busi_unet.training import run_folder
from busi_unet.training.options import TrainOptions


@pytest.fixture(scope="module")
def options(prepared, tmp_path_factory) -> TrainOptions:
    output = tmp_path_factory.mktemp("cross") / "validation"
    return TrainOptions(
        data=prepared, output=output, encoder="plain", width=4, size=32, epochs=1, batch_size=4
    )


@pytest.fixture(scope="module")
def evaluation(options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_folder, "draw_curves", lambda *_: None)
        patch.setattr(report, "draw_plots", lambda _: {})
        return cross_validate(options, provenance={"command": "made up"})


def test_every_image_is_evaluated_once_by_the_network_that_kept_its_fold(options, evaluation):
    data = load_prepared(options.data)
    expected = {
        image_id: fold
        for split in data
        for image_id, fold in zip(data[split]["image_id"], data[split]["fold"], strict=True)
    }
    assert len(evaluation.rows) == len(expected)
    assert {row.image_id: row.fold for row in evaluation.rows} == expected
    for part in evaluation.provenance["parts"]:
        folds = load_config(part["model"]).training["data"]["folds"]
        assert folds["test"] == [part["fold"]]
        assert part["fold"] not in folds["train"] + folds["validation"]
    results = options.output / "results"
    assert json.loads((results / "metrics.json").read_text(encoding="utf-8")) == evaluation.summary
    assert evaluation.summary["provenance"]["command"] == "made up"
    with (results / "per_image.csv").open(encoding="utf-8", newline="") as stream:
        assert len(list(csv.DictReader(stream))) == len(expected)


def test_called_again_it_trains_nothing_and_finds_the_same(options, evaluation, capsys):
    trained = (options.output / "fold-1" / "history.csv").read_bytes()
    of_all = (options.output / "results" / "metrics.json").read_bytes()
    recipe = ["--encoder", "plain", "--width", "4", "--size", "32", "--epochs", "1", "--batch-size", "4"]
    where = ["--data", str(options.data), "--output", str(options.output)]
    assert main(["cross-validate", *recipe, *where, "--folds", "1", "2"]) == 0
    printed = capsys.readouterr()
    assert (options.output / "results" / "metrics.json").read_bytes() == of_all
    again = json.loads((options.output / "results-1-2" / "metrics.json").read_text(encoding="utf-8"))
    assert str(options.output / "results-1-2") in printed.err
    assert [part["fold"] for part in again["provenance"]["parts"]] == [1, 2]
    assert again["provenance"]["command"].startswith("busi-unet cross-validate --encoder plain")
    assert (options.output / "fold-1" / "history.csv").read_bytes() == trained
    assert sum(again["images"].values()) == sum(row.fold in (1, 2) for row in evaluation.rows)
    with pytest.raises(UsageError, match="--seed was 0"):
        cross_validate(options.replace(seed=1))


def test_what_cannot_be_cross_validated_is_refused(options, monkeypatch):
    with pytest.raises(UsageError, match="no fold 5"):
        cross_validate(options.replace(output=options.output / "new"), folds=(5,))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="one process"):
        cross_validate(options)
