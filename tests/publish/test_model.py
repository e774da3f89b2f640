import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.evaluations import make_summary
from huggingface_hub import ModelCard

from busi_unet.config import (
    EVALUATION_NAME,
    Architecture,
    Calibration,
    ClassCalibration,
    ModelConfig,
    Thresholds,
)
from busi_unet.data.readers import citation_of
from busi_unet.errors import IncompatibleModelError
from busi_unet.evaluation.report import read_evaluations, write_evaluations
from busi_unet.inference.predictor import EMBEDDED
from busi_unet.models.folder import model_hash, weights_hash
from busi_unet.publish import model as module
from busi_unet.publish.model import build_model_folder, model_card, push_model

ALWAYS = {"README.md", "config.json", "model.safetensors"} | {
    f"examples/{label}.png" for label in ("normal", "benign", "malignant")
}


def paths(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def small_examples(monkeypatch):
    monkeypatch.setattr(module, "EXAMPLE_SIZE", (64, 80))


@pytest.fixture
def run(tiny_model, tmp_path) -> Path:
    """A run folder as train.py leaves it."""
    folder = tmp_path / "runs" / "busi"
    shutil.copytree(tiny_model, folder / "model")
    (folder / "best").mkdir()
    for name in ("manifest.json", "options.json", "history.csv", "curves.png", "checkpoint.pt"):
        (folder / name).write_text(f"{name} of the run", encoding="utf-8")
    return folder


def test_a_run_folder(run, tmp_path):
    output = build_model_folder(run, tmp_path / "out", repo_id="someone/busi")
    assert paths(output) == ALWAYS | {"manifest.json", "history.csv", "curves.png"}, "and no checkpoint"
    for name in ("model.safetensors", "config.json"):
        assert (output / name).read_bytes() == (run / "model" / name).read_bytes()
    assert (output / "manifest.json").read_text(encoding="utf-8") == "manifest.json of the run"
    assert "](curves.png)" in (output / "README.md").read_text(encoding="utf-8")


def test_a_twin_travels_with_the_weights_that_it_was_made_from(tmp_path):
    model = shutil.copytree(EMBEDDED, tmp_path / "model")
    output = build_model_folder(model, tmp_path / "out", repo_id="someone/busi")
    assert (output / "model.onnx").read_bytes() == (model / "model.onnx").read_bytes()
    with (model / "model.onnx").open("ab") as file:
        file.write(b" ")
    with pytest.raises(IncompatibleModelError, match="busi-unet export"):
        build_model_folder(model, tmp_path / "stale", repo_id="someone/busi")


def evaluations(model: Path) -> dict[str, dict]:
    """Of the model on its own and on other images, of a sibling, and of weights that were here before."""
    ours, weights = model_hash(model), weights_hash(model)
    return {
        "test": make_summary(ours, command="busi-unet evaluate ours", weights_sha256=weights),
        "validation": make_summary(ours, split="validation", weights_sha256=weights),
        "sibling": make_summary("b" * 64, sibling_of=weights, command="busi-unet evaluate sibling"),
        "old": make_summary("b" * 64, weights_sha256="d" * 64, command="busi-unet evaluate old"),
    }


def test_the_evaluations_of_these_weights_travel_with_them(run, tmp_path):
    write_evaluations(run / "model", evaluations(run / "model").values())
    output = build_model_folder(run, tmp_path / "out", repo_id="someone/busi")
    sent = read_evaluations(output)
    assert len(sent) == 3 and sent == json.loads((output / EVALUATION_NAME).read_text(encoding="utf-8"))
    card = (output / "README.md").read_text(encoding="utf-8")
    assert "split `test`" in card and "split `validation`" in card and "evaluate ours" in card
    assert "evaluate sibling" not in card and "evaluate old" not in card


def test_a_second_push_removes_what_is_gone_here_and_nothing_else(hub, run):
    write_evaluations(run / "model", [evaluations(run / "model")["test"]])
    push_model(run, "me/busi")
    mine = hub.files("me/busi") | {"LICENSE": b"added by hand"}
    assert EVALUATION_NAME in mine
    hub.put("me/busi", mine)
    for left in (run / "curves.png", run / "model" / EVALUATION_NAME):
        left.unlink()
    push_model(run, "me/busi")
    files = hub.files("me/busi")
    assert not {EVALUATION_NAME, "curves.png"} & files.keys()
    assert files["LICENSE"] == b"added by hand"


# --- The card ------------------------------------------------------------------------------------

DATA = {
    "images": {"train": 30, "test": 6},
    "folds": {"train": [2, 3, 4], "test": [0]},
    "split_sha256": "0" * 64,
    "trained_on": ["train"],
    "sources": {"train": ["busbra", "breast"], "test": ["busi"]},
}
CONFIG = ModelConfig(
    architecture=Architecture("plain", width=16),
    thresholds=Thresholds(mask=0.43, lesion=0.37, min_area=0.002),
    calibration=Calibration(ClassCalibration(0.6)),
    training={"data": DATA},
)


def card(config=CONFIG, **arguments):
    return ModelCard(model_card(config, repo_id="someone/busi", **arguments))


def test_front_matter_is_read_back_by_the_hubs_own_parser():
    result = make_summary("a" * 64)
    result["estimates"]["auc_malignant"]["value"] = None
    data = card(evaluations=[result]).data
    assert (data.license, data.library_name, data.pipeline_tag) == ("mit", "busi_unet", "image-segmentation")
    assert data.datasets == ["breast", "busbra"]
    dice = {item.metric_value for item in data.eval_results if item.metric_name == "Lesion Dice, mean"}
    assert dice == {round(result["estimates"]["lesion_dice"]["value"], 4)}
    assert {item.dataset_type for item in data.eval_results} == {"one-two"}
    assert set(data.metrics) == {item.metric_type for item in data.eval_results}
    assert "roc_auc" not in data.metrics, "undefined here"


def test_without_an_evaluation_there_is_no_result_anywhere():
    parsed = card()
    assert "There are none" in parsed.text
    assert parsed.data.eval_results is None
    assert "model-index" not in parsed.content
    assert "model_name" not in parsed.content


def test_sources_are_named_with_licence_and_citation_and_doubts_are_told():
    text = card().text
    for source in ("busi", "busbra", "breast"):
        known = citation_of(source)
        assert known.citation and (known.citation in text) == (source in DATA["sources"]["train"])
    assert "all results leak" not in text
    leaking = {**DATA, "folds_from": "image by image", "sources": {"train": ["clinic"]}}
    warned = make_summary("a" * 64, warnings=["It saw these images."])
    text = card(replace(CONFIG, training={"data": leaking}), evaluations=[warned]).text
    assert "clinic. Licence" in text and "all results leak" in text and "**It saw these images.**" in text


def test_weights_without_calibration_never_look_calibrated():
    uncalibrated = "**The class probabilities are not calibrated**"
    assert uncalibrated in card(replace(CONFIG, calibration=Calibration())).text
    assert uncalibrated not in card().text
