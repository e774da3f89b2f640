from dataclasses import replace
from pathlib import Path

import pytest
from fakes.evaluations import write_evaluation
from huggingface_hub import ModelCard

from busi_unet.config import (
    Architecture,
    Calibration,
    ClassCalibration,
    ModelConfig,
    Thresholds,
)
from busi_unet.data.published import CITATIONS
from busi_unet.errors import UsageError
from busi_unet.publish.model import model_card, read_result, results_of

WEIGHTS = Path(__file__).resolve().parents[2] / "busi_unet" / "weights"
OURS, OTHERS = "a" * 64, "b" * 64
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


def trained(**training):
    return replace(CONFIG, training={**CONFIG.training, **training})


@pytest.fixture
def result(tmp_path):
    return read_result(write_evaluation(tmp_path / "metrics.json", OURS))


def test_front_matter_is_read_back_by_the_hubs_own_parser(result):
    data = card(results=[result]).data
    assert (data.license, data.library_name, data.pipeline_tag) == ("mit", "busi_unet", "image-segmentation")
    assert data.datasets == ["breast", "busbra"]
    values = {item.metric_name: item.metric_value for item in data.eval_results}
    assert {0.6123, 0.875} <= set(values.values())
    assert {item.dataset_type for item in data.eval_results} == {"one-two"}
    assert set(data.metrics) == {item.metric_type for item in data.eval_results}
    assert "roc_auc" not in data.metrics, "undefined here"


def test_results_have_their_interval_protocol_and_command(result):
    text = card(results=[result]).text
    assert "0.612 | 0.551 to 0.673 | 20 |" in text
    assert "0.150 (3 of 20)" in text
    assert "| one | two |" in text and "| 0.735, 0.661 to 0.808 | 0.432, 0.389 to 0.475 |\n" in text
    assert "| undefined | – | 20 |" in text
    assert "2000 bootstrap resamples over groups, seed 7" in text
    assert result.provenance["command"] in text


def test_without_an_evaluation_there_is_no_result_anywhere():
    parsed = card()
    assert "There are none" in parsed.text
    assert parsed.data.eval_results is None
    assert "model-index" not in parsed.content
    assert "model_name" not in parsed.content


def test_the_warnings_of_an_evaluation_are_told(tmp_path):
    path = write_evaluation(tmp_path / "m.json", OURS, warnings=["It saw these images."])
    assert "**It saw these images.**" in card(results=[read_result(path)]).text


def test_sources_are_named_with_licence_and_citation_and_no_others():
    text = card().text
    for name, citation in CITATIONS.items():
        assert (citation.citation in text) == (name in ("busbra", "breast"))
    assert "clinic. Licence" in card(trained(data={**DATA, "sources": {"train": ["clinic"]}})).text
    unrecorded = card(ModelConfig())
    assert unrecorded.data.datasets is None
    assert "Not recorded" in unrecorded.text


def test_a_model_whose_folds_ignore_duplicates_is_marked():
    assert "all results leak" in card(trained(data={**DATA, "folds_from": "image by image"})).text
    assert "all results leak" not in card().text


def test_weights_without_calibration_never_look_calibrated(result):
    uncalibrated = "**The class probabilities are not calibrated**"
    assert uncalibrated in card(replace(CONFIG, calibration=Calibration()), results=[result]).text
    assert uncalibrated not in card().text


def test_an_evaluation_of_this_repository_is_read():
    result = read_result(WEIGHTS / "evaluation.json")
    assert result.split == "test"
    assert sum(result.images.values()) == result.estimates["accuracy"].n
    assert 0 < result.estimates["lesion_dice"].value < 1


def test_found_evaluations_count_only_where_they_measure_these_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_evaluation(Path("reports/mine/metrics.json"), OURS)
    write_evaluation(Path("reports/mine-again/metrics.json"), OURS)
    write_evaluation(Path("reports/other/metrics.json"), OTHERS)
    write_evaluation(Path("reports/validation/metrics.json"), OURS, split="validation")
    Path("reports/notes").mkdir()
    Path("reports/notes/metrics.json").write_text("[]", encoding="utf-8")
    names = [result.file_name for result in results_of(OURS)]
    assert names == ["test-ab12cd34.json", "validation-ab12cd34.json"]
    assert results_of("c" * 64) == []
    given = write_evaluation(Path("elsewhere.json"), OURS, split="validation")
    assert [result.path for result in results_of(OURS, [given])] == [given], "those given are used alone"


def test_given_evaluations_of_other_weights_or_of_one_split_are_refused(tmp_path):
    paths = [write_evaluation(tmp_path / name, OURS) for name in ("a.json", "b.json")]
    with pytest.raises(UsageError, match="same split of the same data"):
        results_of(OURS, paths)
    with pytest.raises(UsageError, match="is an evaluation of another model"):
        results_of(OTHERS, paths)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"estimates": {"ece": {"value": 1}}}', "null"])
def test_what_is_not_an_evaluation_is_refused(tmp_path, text):
    path = tmp_path / "metrics.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=r"metrics\.json is not an evaluation file"):
        read_result(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_result(tmp_path / "missing.json")
