import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes.evaluations import write_evaluation
from huggingface_hub import ModelCard
from PIL import Image

from busi_unet.config import EVALUATION_NAME
from busi_unet.errors import HubAccessError, IncompatibleModelError, UsageError
from busi_unet.inference.predictor import Predictor
from busi_unet.models.folder import load_config, model_hash, save_config
from busi_unet.publish import model as module
from busi_unet.publish.folder import list_files
from busi_unet.publish.model import build_model_folder, push_model

ALWAYS = {"README.md", "config.json", "model.safetensors"} | {
    f"examples/{label}.png" for label in ("normal", "benign", "malignant")
}


def paths(folder: Path) -> set[str]:
    return {file["path"] for file in list_files(folder)}


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


def test_a_bare_model_folder_has_its_manifest_from_the_config(tiny_model, tmp_path):
    config = load_config(tiny_model)
    training = {"seconds": 12, "data": {"images": {"train": 4}}}
    save_config(tiny_model, replace(config, training=training))
    output = build_model_folder(tiny_model, tmp_path / "out", repo_id="someone/busi")
    assert paths(output) == ALWAYS | {"manifest.json"}
    assert json.loads((output / "manifest.json").read_text(encoding="utf-8")) == training


def test_examples_are_synthetic_images_beside_their_overlay(run, tmp_path):
    output = build_model_folder(run, tmp_path / "out", repo_id="someone/busi")
    for label in ("normal", "benign", "malignant"):
        pixels = np.asarray(Image.open(output / "examples" / f"{label}.png").convert("RGB"))
        left, right = pixels[:, : pixels.shape[1] // 2 - 4], pixels[:, pixels.shape[1] // 2 + 4 :]
        assert left.shape == right.shape
        assert (left[..., 0] == left[..., 2]).all(), "the original is grey"


def test_results_are_published_with_their_file(run, tmp_path):
    evaluation = write_evaluation(tmp_path / "metrics.json", model_hash(run / "model"))
    output = build_model_folder(run, tmp_path / "out", repo_id="someone/busi", evaluations=[evaluation])
    assert (output / "evaluation" / "test-ab12cd34.json").read_bytes() == evaluation.read_bytes()
    card = ModelCard.load(output / "README.md")
    assert card.data.eval_results[0].metric_value == 0.6123
    assert "(evaluation/test-ab12cd34.json)" in card.text
    assert (output / EVALUATION_NAME).read_bytes() == evaluation.read_bytes(), "what the app shows"


@pytest.mark.parametrize("own", [True, False, None])
def test_the_app_is_given_the_results_of_the_models_own_test_split_alone(run, tmp_path, own):
    digest = model_hash(run / "model")
    # Sorted by name, the foreign one comes first.
    foreign = write_evaluation(
        tmp_path / "a.json", digest, data_sha256="0" * 64, split_is_the_models_own=False
    )
    mine = write_evaluation(tmp_path / "b.json", digest, split_is_the_models_own=own)
    output = build_model_folder(run, tmp_path / "out", repo_id="someone/busi", evaluations=[foreign, mine])
    assert len(list((output / "evaluation").iterdir())) == 2
    assert (output / EVALUATION_NAME).exists() == (own is True)
    if own:
        assert (output / EVALUATION_NAME).read_bytes() == mine.read_bytes()


def test_results_of_other_weights_stop_it_before_anything_is_written(run, tmp_path):
    evaluation = write_evaluation(tmp_path / "metrics.json", "b" * 64)
    with pytest.raises(UsageError, match="is an evaluation of another model"):
        build_model_folder(run, tmp_path / "out", repo_id="someone/busi", evaluations=[evaluation])
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_loaded_is_not_published(run, tmp_path):
    (run / "model" / "model.safetensors").write_bytes(b"half a file")
    with pytest.raises(IncompatibleModelError):
        build_model_folder(run, tmp_path / "out", repo_id="someone/busi")
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(
        UsageError, match=r"is not a model folder \(config.json and model.safetensors not found\)"
    ):
        build_model_folder(tmp_path, tmp_path / "out", repo_id="someone/busi")


def test_pushed_and_pulled_it_is_the_same_model(hub, run):
    assert push_model(run, "me/busi").url == f"{hub.url}/me/busi"
    assert hub.files("me/busi").keys() >= ALWAYS | {"manifest.json", "history.csv", "curves.png"}
    assert model_hash(Predictor.from_pretrained("me/busi", device="cpu").folder) == model_hash(run / "model")


def test_a_second_push_removes_the_results_of_earlier_weights_and_nothing_else(hub, run, tmp_path):
    evaluation = write_evaluation(tmp_path / "metrics.json", model_hash(run / "model"))
    push_model(run, "me/busi", evaluations=[evaluation])
    mine = hub.files("me/busi") | {"LICENSE": b"added by hand"}
    assert "evaluation/test-ab12cd34.json" in mine
    hub.put("me/busi", mine)
    (run / "curves.png").unlink()
    push_model(run, "me/busi")
    files = hub.files("me/busi")
    assert not {"evaluation/test-ab12cd34.json", EVALUATION_NAME, "curves.png"} & files.keys()
    assert files["LICENSE"] == b"added by hand"


def test_a_branch_and_privacy(hub, run):
    push_model(run, "me/busi", private=True, revision="v2")
    assert hub.repo("me/busi").private
    assert "model.safetensors" in hub.files("me/busi", revision="v2")
    assert "model.safetensors" not in hub.files("me/busi")


def test_a_failed_push_says_where_the_weights_are_and_how_to_resume(hub, run, tmp_path):
    evaluation = write_evaluation(tmp_path / "my metrics.json", model_hash(run / "model"))
    hub.stop()
    with pytest.raises(HubAccessError) as caught:
        push_model(run, "me/busi", private=True, revision="v2", evaluations=[evaluation])
    assert f"The weights are intact in {run / 'model'}." in str(caught.value)
    assert str(caught.value).endswith(
        f"resume with: busi-unet push {run} me/busi --private --revision v2 --evaluation '{evaluation}'"
    )
