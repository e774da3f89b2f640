from dataclasses import replace

import pytest
from fakes.evaluations import make_summary
from huggingface_hub import ModelCard

from busi_unet.config import (
    Architecture,
    Calibration,
    ClassCalibration,
    ModelConfig,
    Thresholds,
)
from busi_unet.data.readers import citation_of
from busi_unet.publish.model import model_card

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


@pytest.fixture
def result():
    return make_summary("a" * 64)


def test_front_matter_is_read_back_by_the_hubs_own_parser(result):
    data = card(evaluations=[result]).data
    assert (data.license, data.library_name, data.pipeline_tag) == ("mit", "busi_unet", "image-segmentation")
    assert data.datasets == ["breast", "busbra"]
    values = {item.metric_name: item.metric_value for item in data.eval_results}
    assert {0.6123, 0.875} <= set(values.values())
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


def test_weights_without_calibration_never_look_calibrated(result):
    uncalibrated = "**The class probabilities are not calibrated**"
    assert uncalibrated in card(replace(CONFIG, calibration=Calibration()), evaluations=[result]).text
    assert uncalibrated not in card().text
