"""The evaluation script from its arguments to its exit code, on phantoms and a predictor that cheats."""

from __future__ import annotations

import csv
import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import DatasetDict, load_from_disk

from busi_unet.config import CLASS_NAMES, Architecture, BundleConfig, Calibration, Preprocess, Thresholds
from busi_unet.data.busi import prepare, split_hash
from busi_unet.evaluation import leakage
from busi_unet.inference.predictor import Predictor
from busi_unet.io.decode import decode_image, decode_mask
from busi_unet.models.pretrained import load_config, save_bundle, save_config
from busi_unet.models.unet import UNet

SCRIPT = Path(__file__).parents[2] / "scripts" / "evaluate.py"


@pytest.fixture(scope="module")
def data(tmp_path_factory, phantom_root) -> Path:
    folder = tmp_path_factory.mktemp("data") / "prepared"
    prepare(phantom_root, folder, progress=False)
    return folder


@pytest.fixture
def script(monkeypatch, tmp_path):
    """The script as a module, in an empty working folder."""
    spec = importlib.util.spec_from_file_location("evaluate_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    return module


@pytest.fixture
def asked(script, data, tiny_bundle, monkeypatch):
    """Has the script use a predictor that looks up the reference; lists what it was asked for."""
    answers = {
        decode_image(row["image"]).tobytes(): SimpleNamespace(
            mask=decode_mask(row["mask"]),
            label=CLASS_NAMES[row["label"]],
            probabilities=dict(zip(CLASS_NAMES, np.eye(3)[row["label"]], strict=True)),
            refused=False,
            prediction_set=None,
            edge_band=None,
            suspicious=False,
        )
        for split in load_from_disk(data).values()
        for row in split
    }
    asked = []

    def from_pretrained(source, *, device):
        asked.append((source, device))
        return SimpleNamespace(
            source=source or "embedded",
            folder=tiny_bundle,
            config=BundleConfig(),
            predict=lambda image: answers[image.tobytes()],
        )

    monkeypatch.setattr(leakage, "Predictor", SimpleNamespace(from_pretrained=from_pretrained))
    return asked


def test_prints_tables_and_writes_the_report(script, asked, data, capsys):
    assert script.main(["embedded", "--data", str(data)]) == 0
    printed = capsys.readouterr()
    assert asked == [(None, "auto")]
    assert "| Dice, mean" in printed.out
    assert "1.000" in printed.out
    report = Path("reports/embedded-test")
    assert str(report) in printed.err
    stored = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    test = load_from_disk(data)["test"]
    assert sum(stored["images"].values()) == len(test)
    assert (stored["provenance"]["model"], stored["provenance"]["split"]) == ("embedded", "test")
    assert stored["provenance"]["command"].startswith("scripts/evaluate.py embedded --data")


def test_json_is_the_only_thing_on_stdout(script, asked, data, tmp_path, capsys):
    arguments = ["some/model", "--data", str(data), "--split", "train", "--output", "here", "--device", "cpu"]
    assert script.main([*arguments, "--seed", "7", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert asked == [("some/model", "cpu")]
    assert printed == json.loads((tmp_path / "here" / "metrics.json").read_text(encoding="utf-8"))
    assert (printed["provenance"]["split"], printed["provenance"]["bootstrap"]["seed"]) == ("train", 7)
    assert sum(printed["images"].values()) == len(load_from_disk(data)["train"])


def test_judges_a_model_folder(script, data, tmp_path):
    torch.manual_seed(0)
    config = BundleConfig(
        architecture=Architecture(encoder="plain", width=4),
        preprocess=Preprocess(size=64),
        thresholds=Thresholds(mask=0.5, presence=0.0),
    )
    save_bundle(tmp_path / "model", UNet(config.architecture), config)
    assert script.main(["model", "--data", str(data), "--device", "cpu"]) == 0
    table = Path("reports/model-test/per_image.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(table.splitlines()))

    predictor = Predictor.from_pretrained(tmp_path / "model", device="cpu")
    for row, item in zip(rows, load_from_disk(data)["test"], strict=True):
        expected = predictor.predict(item["image"])
        assert row["image_id"] == item["image_id"]
        assert int(row["predicted_area_px"]) == expected.mask.sum()
        assert float(row["p_benign"]) == pytest.approx(expected.probabilities["benign"], abs=1e-6)


def test_a_model_that_tells_nothing_of_itself_is_not_taken_at_its_word(script, data, tiny_bundle, capsys):
    assert script.main([str(tiny_bundle), "--data", str(data), "--device", "cpu", "--json"]) == 0
    printed = capsys.readouterr()
    assert "does not tell which data it was made on" in printed.err
    assert "not calibrated" in printed.err
    assert json.loads(printed.out)["provenance"]["split_is_the_models_own"] is None


def test_a_model_is_judged_on_the_fold_it_was_made_to_be_tested_on(
    script, data, phantom_root, tmp_path, tiny_bundle, capsys
):
    rotated = prepare(phantom_root, tmp_path / "rotated", test_fold=2, progress=False)
    made_on = {"split_sha256": split_hash(rotated), "folds": {"test": [2]}}
    config = replace(load_config(tiny_bundle), training={"data": made_on}, calibration=Calibration(1.5))
    save_config(tiny_bundle, config)
    assert script.main([str(tiny_bundle), "--data", str(data), "--device", "cpu", "--json"]) == 0
    printed = capsys.readouterr()
    assert "warning" not in printed.err
    assert json.loads(printed.out)["provenance"]["split_is_the_models_own"]
    table = next(Path("reports").glob("*/per_image.csv")).read_text(encoding="utf-8")
    assert [row["image_id"] for row in csv.DictReader(table.splitlines())] == rotated["test"]["image_id"]


def test_runs_from_any_folder_of_a_clone_that_is_not_installed(data, tiny_bundle, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    # -I leaves out the working folder and PYTHONPATH, so only the script itself can find the package.
    result = subprocess.run(
        [sys.executable, "-I", str(SCRIPT), str(tiny_bundle), "--data", str(data), "--device", "cpu"],
        capture_output=True,
        text=True,
        cwd=tmp_path / "elsewhere",
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("| Dice, mean") == 1
    assert "Report written to" in result.stderr
    report = Path(result.stderr.rpartition("Report written to ")[2].strip())
    assert report.parts[0] == "reports" and report.name.endswith(f"{tiny_bundle.name}-test")
    assert (tmp_path / "elsewhere" / report / "metrics.json").is_file()


def test_model_that_does_not_exist_is_wrong_usage(script, data, capsys):
    assert script.main(["./nowhere", "--data", str(data)]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert not Path("reports").exists()


def test_data_that_is_not_prepared_fails_with_a_message(script, tmp_path, capsys):
    assert script.main(["embedded", "--data", str(tmp_path)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert "Traceback" not in printed.err
    assert not Path("reports").exists()


def test_empty_split_fails_with_a_message(script, asked, data, monkeypatch, capsys):
    splits = load_from_disk(data)
    monkeypatch.setattr(script, "load_prepared", lambda _: DatasetDict(test=splits["test"].select([])))
    assert script.main(["embedded"]) == 1
    assert "no images" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [[], ["embedded", "--split", "holdout"], ["embedded", "--seed", "-1"]])
def test_wrong_usage(script, wrong, capsys):
    with pytest.raises(SystemExit) as stopped:
        script.main(wrong)
    assert stopped.value.code == 2
    assert "usage: evaluate.py" in capsys.readouterr().err
