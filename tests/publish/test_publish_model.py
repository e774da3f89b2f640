import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fakes.evaluations import write_evaluation
from huggingface_hub import ModelCard
from PIL import Image

from busi_unet.config import ModelConfig
from busi_unet.data.phantom import make_phantom
from busi_unet.errors import HubAccessError, IncompatibleModelError, UsageError
from busi_unet.inference.predictor import Predictor
from busi_unet.models.pretrained import EVALUATION_NAME, load_config, model_hash, save_config
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
    module._example_frame.cache_clear()
    yield
    module._example_frame.cache_clear()


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
    save_config(tiny_model, ModelConfig.from_dict({**config.to_dict(), "training": training}))
    output = build_model_folder(tiny_model, tmp_path / "out", repo_id="someone/busi")
    assert paths(output) == ALWAYS | {"manifest.json"}
    assert json.loads((output / "manifest.json").read_text(encoding="utf-8")) == training


def test_the_examples_are_predictions_and_the_same_each_time(run, tmp_path):
    first, second = (build_model_folder(run, tmp_path / name, repo_id="someone/busi") for name in ("a", "b"))
    for label in ("normal", "benign", "malignant"):
        pixels = np.asarray(Image.open(first / "examples" / f"{label}.png").convert("RGB"))
        again = np.asarray(Image.open(second / "examples" / f"{label}.png").convert("RGB"))
        assert np.array_equal(pixels, again)
        left, right = pixels[:, : pixels.shape[1] // 2 - 4], pixels[:, pixels.shape[1] // 2 + 4 :]
        assert left.shape == right.shape
        assert (left[..., 0] == left[..., 2]).all(), "the original is grey"


def test_figures_are_published_with_their_file(run, tmp_path):
    evaluation = write_evaluation(tmp_path / "metrics.json", model_hash(run / "model"))
    output = build_model_folder(run, tmp_path / "out", repo_id="someone/busi", evaluations=[evaluation])
    assert (output / "evaluation" / "test-ab12cd34.json").read_bytes() == evaluation.read_bytes()
    card = ModelCard.load(output / "README.md")
    assert card.data.eval_results[0].metric_value == 0.6123
    assert "(evaluation/test-ab12cd34.json)" in card.text
    assert (output / EVALUATION_NAME).read_bytes() == evaluation.read_bytes(), "what the app shows"


@pytest.mark.parametrize("own", [True, False, None])
def test_the_app_is_given_the_figures_of_the_models_own_test_split_alone(run, tmp_path, own):
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


def test_figures_of_other_weights_stop_it_before_anything_is_written(run, tmp_path):
    evaluation = write_evaluation(tmp_path / "metrics.json", "b" * 64)
    with pytest.raises(UsageError, match="measures another model"):
        build_model_folder(run, tmp_path / "out", repo_id="someone/busi", evaluations=[evaluation])
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_loaded_is_not_published(run, tmp_path):
    (run / "model" / "model.safetensors").write_bytes(b"half a file")
    with pytest.raises(IncompatibleModelError):
        build_model_folder(run, tmp_path / "out", repo_id="someone/busi")
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(UsageError, match="neither the folder of a finished run nor a model folder"):
        build_model_folder(tmp_path, tmp_path / "out", repo_id="someone/busi")


@pytest.mark.parametrize("output", ["model", "."])
def test_the_run_itself_is_never_replaced(run, output):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UsageError):
        build_model_folder(run, run / output, repo_id="someone/busi")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_pushed_and_pulled_gives_bit_equal_outputs(hub, run, tmp_path):
    frame = make_phantom("benign", seed=1, size=(96, 128)).image
    pushed = push_model(run, "me/busi")
    assert pushed.url == f"{hub.url}/me/busi"
    assert hub.files("me/busi").keys() >= ALWAYS | {"manifest.json", "history.csv", "curves.png"}
    before = Predictor.from_pretrained(run / "model", device="cpu").run([frame])[0]
    after = Predictor.from_pretrained("me/busi", device="cpu").run([frame])[0]
    assert np.array_equal(before.probability, after.probability)
    assert np.array_equal(before.class_logits, after.class_logits)


def test_a_second_push_removes_the_figures_of_earlier_weights_and_nothing_else(hub, run, tmp_path):
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
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    evaluation = write_evaluation(tmp_path / "my metrics.json", model_hash(run / "model"))
    hub.stop()
    with pytest.raises(HubAccessError) as caught:
        push_model(run, "me/busi", private=True, revision="v2", evaluations=[evaluation])
    assert f"The weights are intact in {run / 'model'}." in str(caught.value)
    assert str(caught.value).endswith(
        f"resume with: busi-unet push {run} me/busi --private --revision v2 --evaluation '{evaluation}'"
    )
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
