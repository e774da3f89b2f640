import shutil
from pathlib import Path

import numpy as np
import pytest
from fakes.evaluations import write_evaluation
from PIL import Image

from busi_unet.config import EVALUATION_NAME
from busi_unet.errors import IncompatibleModelError, UsageError
from busi_unet.models.folder import model_hash
from busi_unet.publish import model as module
from busi_unet.publish.model import build_model_folder, push_model

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


def test_a_bare_model_folder_and_its_examples_beside_their_overlay(tiny_model, tmp_path):
    output = build_model_folder(tiny_model, tmp_path / "out", repo_id="someone/busi")
    assert paths(output) == ALWAYS
    for label in ("normal", "benign", "malignant"):
        pixels = np.asarray(Image.open(output / "examples" / f"{label}.png").convert("RGB"))
        left, right = pixels[:, : pixels.shape[1] // 2 - 4], pixels[:, pixels.shape[1] // 2 + 4 :]
        assert left.shape == right.shape
        assert (left[..., 0] == left[..., 2]).all(), "the original is grey"


@pytest.mark.parametrize("own", [True, False, None])
def test_the_app_is_given_the_results_of_the_models_own_test_split_alone(run, tmp_path, own):
    digest = model_hash(run / "model")
    # Sorted by name, the foreign one comes first.
    foreign = write_evaluation(
        tmp_path / "a.json", digest, data_sha256="0" * 64, split_is_the_models_own=False
    )
    mine = write_evaluation(tmp_path / "b.json", digest, split_is_the_models_own=own)
    output = build_model_folder(run, tmp_path / "out", repo_id="someone/busi", evaluations=[foreign, mine])
    assert (output / "evaluation" / "test-ab12cd34.json").read_bytes() == mine.read_bytes()
    assert (output / "evaluation" / "test-00000000.json").read_bytes() == foreign.read_bytes()
    assert "(evaluation/test-ab12cd34.json)" in (output / "README.md").read_text(encoding="utf-8")
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
