import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from busi_unet.app import text
from busi_unet.app.about import about_model, results_of
from busi_unet.app.model import load_predictor
from busi_unet.config import EVALUATION_NAME
from busi_unet.evaluation.report import read_evaluations, write_evaluations
from busi_unet.inference.predictor import EMBEDDED
from busi_unet.models.folder import model_hash, weights_hash


@pytest.fixture
def own(tiny_model) -> dict:
    """An evaluation of the tiny model on its own test images."""
    summary = next(each for each in read_evaluations(EMBEDDED).values() if len(each["sources"]) > 1)
    hashes = {"model_sha256": model_hash(tiny_model), "weights_sha256": weights_hash(tiny_model)}
    return {**summary, "provenance": {**summary["provenance"], **hashes}}


def page_of(folder: Path) -> str:
    return about_model(load_predictor(str(folder)))


def test_the_embedded_weights_say_what_they_flag_at_their_own_and_at_unseen_hospitals():
    results = results_of(EMBEDDED)
    assert [result["unseen"] for result in results] == [False, True, True, True]
    page = about_model(load_predictor(None))
    for result in results:
        for share in result["flagged"].values():
            assert f"{share['of_100']} are flagged ({share['count']} of {share['images']} images)" in page
    assert page.count("<details") == 1, "siblings stand for the hospitals, not for these weights"


def test_results_are_not_borrowed(tiny_model):
    shutil.copy(EMBEDDED / EVALUATION_NAME, tiny_model)
    assert results_of(tiny_model) == []
    page = page_of(tiny_model)
    assert "<table" not in page
    assert "BUSI" not in page, "nor the data of other weights"


def test_own_results_are_shown(tiny_model, own):
    own["estimates"]["auc_malignant"] |= {"value": None, "ci_low": None, "ci_high": None}
    own["estimates"]["malignant_sensitivity"] |= {"value": 1.0, "ci_low": None, "ci_high": None}
    seen = {**own["provenance"], "split": "all", "warnings": ["It <saw> these images."]}
    write_evaluations(tiny_model, [own, {**own, "provenance": seen}])
    first, second = results_of(tiny_model)
    assert first["flagged"] and not second["flagged"], "images that it was trained on tell nothing"
    page = page_of(tiny_model)
    dice = own["estimates"]["lesion_dice"]
    assert f"<td>{dice['value']:.3f}</td><td>{dice['ci_low']:.3f} to {dice['ci_high']:.3f}</td>" in page
    assert f"<span>{own['confusion_matrix'][0][0]}</span>" in page
    assert text.NOT_DEFINED in page and "It &lt;saw&gt; these images." in page
    assert "<td>1.000</td><td>–</td>" in page, "defined, though no resample tells how sure it is"


def test_texts_from_outside_are_escaped(tiny_model, own):
    own["class_names"] = ["<script>x</script>", "benign", "malignant"]
    own["images"]["<script>x</script>"] = 3
    own["provenance"]["split"] = "<b>test"
    write_evaluations(tiny_model, [own])
    model = replace(load_predictor(str(tiny_model)), notice="<i>gone</i>")
    page = about_model(model)
    assert "<script>" not in page and "<b>test" not in page and "<i>gone" not in page
    assert "&lt;i&gt;gone" in page
