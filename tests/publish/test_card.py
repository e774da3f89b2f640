from dataclasses import replace
from pathlib import Path

import pytest
from fakes.evaluations import write_evaluation
from huggingface_hub import ModelCard

from busi_unet.config import (
    Architecture,
    BoundaryBand,
    Calibration,
    ClassCalibration,
    ModelConfig,
    PredictionSets,
    Thresholds,
)
from busi_unet.data.published import CITATIONS
from busi_unet.publish.card import model_card
from busi_unet.publish.results import read_result

DIGEST = "a" * 64
DATA = {
    "images": {"train": 30, "test": 6},
    "folds": {"train": [2, 3, 4], "test": [0]},
    "split_sha256": "0" * 64,
    "trained_on": ["train"],
}
CONFIG = ModelConfig(
    architecture=Architecture("plain", width=16),
    thresholds=Thresholds(mask=0.43, lesion=0.37, min_area=0.002),
    calibration=Calibration(ClassCalibration(0.6)),
    training={"data": {**DATA, "sources": {"train": ["busbra", "breast"], "test": ["busi"]}}},
)


def card(config=CONFIG, **arguments):
    return ModelCard(model_card(config, repo_id="someone/busi", model_sha256=DIGEST, **arguments))


def trained(**training):
    return replace(CONFIG, training={**CONFIG.training, **training})


@pytest.fixture
def result(tmp_path):
    return read_result(write_evaluation(tmp_path / "metrics.json", DIGEST))


def test_front_matter_is_read_back_by_the_hubs_own_parser(result):
    data = card(results=[result]).data
    assert (data.license, data.library_name, data.pipeline_tag) == ("mit", "busi_unet", "image-segmentation")
    assert data.datasets == ["breast", "busbra"]
    values = {item.metric_name: item.metric_value for item in data.eval_results}
    assert 0.6123 in values.values()
    assert 0.875 in values.values()
    assert {item.dataset_type for item in data.eval_results} == {"one-two"}
    assert set(data.metrics) == {item.metric_type for item in data.eval_results}
    assert "roc_auc" not in data.metrics, "undefined here"


def test_results_have_their_interval_protocol_and_command(result):
    text = card(results=[result]).text
    assert "0.612 | 0.551 to 0.673 | 20 |" in text
    assert "0.150 (3 of 20)" in text
    assert "| one | two |" in text and "0.735, 0.661 to 0.808 | 0.432, 0.389 to 0.475 |" in text
    assert "| undefined | – | 20 |" in text
    assert "2000 bootstrap resamples over groups, seed 7" in text
    assert "scripts/evaluate.py runs/busi/model --data data/busi --split test --seed 7" in text


def test_without_an_evaluation_there_is_no_result_anywhere():
    parsed = card()
    assert "There are none" in parsed.text
    assert parsed.data.eval_results is None
    assert "model-index" not in parsed.content
    assert "model_name" not in parsed.content


def test_results_of_other_weights_are_never_taken(tmp_path):
    with pytest.raises(ValueError, match="another model"):
        card(results=[read_result(write_evaluation(tmp_path / "m.json", "b" * 64))])


def test_the_warnings_of_an_evaluation_are_told(tmp_path):
    path = write_evaluation(tmp_path / "m.json", DIGEST, warnings=["It saw these images."])
    assert "of one patient. **It saw these images.**" in card(results=[read_result(path)]).text


def test_sources_are_named_with_licence_and_citation_and_no_others():
    text = card().text
    for name, citation in CITATIONS.items():
        assert (citation.citation in text) == (name in ("busbra", "breast"))
    assert "Licence: CC BY 4.0. Gómez-Flores" in text


def test_a_source_of_ones_own_and_one_that_is_not_recorded():
    own = card(trained(data={**DATA, "sources": {"train": ["clinic"]}}))
    assert "Trained on clinic." in own.text
    assert "clinic. Licence and citation: to be added" in own.text
    unrecorded = card(trained(data=DATA))
    assert unrecorded.data.datasets is None
    assert "Its data are not recorded" in unrecorded.text


def test_the_embedded_weights_name_their_three_sources():
    path = Path(__file__).resolve().parents[2] / "busi_unet" / "weights" / "config.json"
    parsed = card(ModelConfig.from_json(path.read_bytes()))
    assert parsed.data.datasets == ["breast", "busbra", "busi"]
    for source in parsed.data.datasets:
        assert CITATIONS[source].citation in parsed.text
        assert all(limit in parsed.text for limit in CITATIONS[source].limits)


def test_training_without_validation_says_what_it_was_calibrated_on():
    sets = Calibration(prediction_sets=PredictionSets(coverage=0.9, threshold=0.2))
    whole = trained(data={**DATA, "trained_on": ["train", "validation"]})
    text = card(replace(whole, calibration=sets)).text
    assert "Trained on: train and validation." in text
    assert "sibling networks" in text
    assert "sibling networks" not in card(CONFIG).text


def test_a_mean_of_several_trainings_says_so():
    text = card(trained(options={"encoder": "plain", "seed": 0}, average_of=[{}, {}])).text
    assert "the mean of 2 trainings" in text
    assert "encoder plain, seed 0; all of them in `config.json`." in text


def test_a_model_whose_folds_ignore_duplicates_is_marked():
    assert "all results leak" in card(trained(data={**DATA, "folds_from": "image by image"})).text
    assert "all results leak" not in card().text


def test_config_is_told_as_it_is():
    text = card().text
    assert "Encoder `plain`, width 16" in text
    assert "logistic regressions" in text
    for row in ("| mask | 0.43 |", "| lesion | 0.37 |", "| min_area | 0.002 |", "| test | 6 | 0 |"):
        assert row in text
    assert "An image of anything else is analysed too" in text


def test_weights_without_calibration_never_look_calibrated(result):
    text = card(replace(CONFIG, calibration=Calibration()), results=[result]).text
    assert "**The class probabilities are not calibrated**" in text
    assert "logistic regressions" not in text


def test_what_the_weights_state_is_told_and_nothing_else():
    stated = Calibration(
        prediction_sets=PredictionSets(coverage=0.9, threshold=0.2345),
        boundary_band=BoundaryBand(coverage=0.8, inner=0.31, outer=0.42),
        ood_threshold=2.34,
    )
    text = card(replace(CONFIG, calibration=stated)).text
    for part in ("at least 0.2345", "about 90%", "about 80%", "0.31 inside and 0.42 outside", "above 2.34"):
        assert part in text
    assert "An image of anything else" not in text
    assert "Prediction sets:" not in card().text
    assert "Boundary band:" not in card().text


def test_the_plain_encoder_starts_at_random_whatever_the_option_says():
    text = card(trained(options={"encoder": "plain", "init": "imagenet"})).text
    assert "Options: encoder plain, init random;" in text


def test_weights_of_unknown_origin_and_what_every_card_says():
    text = card(ModelConfig()).text
    assert 'Predictor.from_pretrained("someone/busi")' in text
    assert "Not a medical device" in text
    assert "Not recorded" in text
