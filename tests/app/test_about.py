from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import gradio as gr
import pytest

from busi_unet.app import text
from busi_unet.app.about import about_model, build_about_tab, own_results
from busi_unet.app.model import ModelInUse, load_predictor
from busi_unet.config import EVALUATION_NAME
from busi_unet.inference.predictor import EMBEDDED
from busi_unet.models.folder import model_hash


def evaluation() -> dict:
    return json.loads((EMBEDDED / EVALUATION_NAME).read_text(encoding="utf-8"))


def write_evaluation(folder: Path, content: dict) -> None:
    (folder / EVALUATION_NAME).write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def own(tiny_model: Path) -> dict:
    """An evaluation that names the weights of the tiny model."""
    content = evaluation()
    content["provenance"]["model_sha256"] = model_hash(tiny_model)
    return content


def test_the_embedded_weights_show_their_results() -> None:
    assert own_results(EMBEDDED)["classes"] == evaluation()["class_names"]


def test_results_are_not_borrowed(tiny_model: Path) -> None:
    assert own_results(None) is None
    shutil.copy(EMBEDDED / EVALUATION_NAME, tiny_model)
    assert own_results(tiny_model) is None
    page = about_model(load_predictor(str(tiny_model)))
    assert "<table" not in page
    assert "BUSI" not in page, "nor the data of other weights"


def test_own_results_are_shown(tiny_model: Path, own: dict) -> None:
    own["estimates"]["auc_malignant"] |= {"value": None, "ci_low": None, "ci_high": None}
    own["estimates"]["malignant_sensitivity"] |= {"value": 1.0, "ci_low": None, "ci_high": None}
    write_evaluation(tiny_model, own)
    page = about_model(load_predictor(str(tiny_model)))
    dice = own["estimates"]["lesion_dice"]
    assert f"<td>{dice['value']:.3f}</td><td>{dice['ci_low']:.3f} to {dice['ci_high']:.3f}</td>" in page
    assert f"<span>{own['confusion_matrix'][0][0]}</span>" in page
    assert text.NOT_DEFINED in page
    assert "<td>1.000</td><td>–</td>" in page, "defined, though no resample tells how sure it is"


def test_weights_without_calibration_say_so(tiny_model: Path) -> None:
    page = about_model(load_predictor(str(tiny_model)))
    assert "<dt>Calibration</dt><dd>none: " in page
    assert "<dt>Calibration</dt><dd>logistic regression" in about_model(load_predictor(None))


@pytest.mark.parametrize("content", ["not JSON", "[]", '{"provenance": {}}'])
def test_a_file_that_cannot_be_read_shows_nothing(tiny_model: Path, content: str) -> None:
    (tiny_model / EVALUATION_NAME).write_text(content, encoding="utf-8")
    assert own_results(tiny_model) is None


def test_a_file_of_another_version_shows_nothing(tiny_model: Path, own: dict) -> None:
    del own["confusion_matrix"]
    write_evaluation(tiny_model, own)
    assert own_results(tiny_model) is None


def test_texts_from_outside_are_escaped(tiny_model: Path, own: dict) -> None:
    own["class_names"] = ["<script>x</script>", "benign", "malignant"]
    own["images"]["<script>x</script>"] = 3
    own["provenance"]["split"] = "<b>test"
    write_evaluation(tiny_model, own)
    model = replace(load_predictor(str(tiny_model)), notice="<i>gone</i>")
    page = about_model(model)
    assert "<script>" not in page and "<b>test" not in page and "<i>gone" not in page
    assert "&lt;i&gt;gone" in page


def test_the_tab_waits_until_it_is_opened() -> None:
    def fail() -> ModelInUse:
        raise AssertionError("loaded at the start")

    with gr.Blocks(analytics_enabled=False) as demo, gr.Tab("About this model") as tab:
        build_about_tab(fail, tab)
    (event,) = demo.fns.values()
    assert event.api_visibility == "private"
