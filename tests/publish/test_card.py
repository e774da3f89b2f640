import json
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
from busi_unet.publish.card import model_card
from busi_unet.publish.results import read_result

ROOT = Path(__file__).resolve().parents[2]
DIGEST = "a" * 64
EMBEDDED = ModelConfig.from_dict(
    json.loads((ROOT / "busi_unet" / "weights" / "config.json").read_text(encoding="utf-8"))
)
OTHER_DATA = ModelConfig(
    architecture=Architecture("plain", width=16),
    thresholds=Thresholds(mask=0.43, lesion=0.37, min_area=0.002),
    calibration=Calibration(ClassCalibration(0.6)),
    training={"data": {"split_sha256": "0" * 64, "images": {"train": 30}, "trained_on": ["train"]}},
)


def card(config=EMBEDDED, **arguments):
    return ModelCard(model_card(config, repo_id="someone/busi", model_sha256=DIGEST, **arguments))


def figures(parsed):
    return {(item.metric_name, item.dataset_split): item.metric_value for item in parsed.data.eval_results}


def test_front_matter_is_read_back_by_the_hubs_own_parser(tmp_path):
    parsed = card(results=[read_result(write_evaluation(tmp_path / "m.json", DIGEST))])
    data = parsed.data
    assert (data.license, data.library_name, data.pipeline_tag) == (
        "mit",
        "busi_unet",
        "image-segmentation",
    )
    assert {"breast-ultrasound", "medical", "unet", "pytorch"} <= set(data.tags)
    assert data.datasets == ["busi"]
    assert data.model_name == "busi"
    assert figures(parsed)["Lesion Dice, mean", "test"] == 0.6123
    assert figures(parsed)["Three-class accuracy", "test"] == 0.875
    assert {item.dataset_name for item in data.eval_results} == {"BUSI"}
    assert set(data.metrics) == {item.metric_type for item in data.eval_results}
    assert "roc_auc" not in data.metrics, "undefined here"


def test_the_body_gives_protocol_interval_command_and_seed(tmp_path):
    text = card(results=[read_result(write_evaluation(tmp_path / "m.json", DIGEST))]).text
    assert "Split `test`: 24 images" in text
    assert "| Lesion Dice, mean | 0.612 | 0.551 to 0.673 | 20 |" in text
    assert "| HD95 on lesion images, px | 41.4 | 37.2 to 45.5 | 20 |" in text
    assert "0.150 (3 of 20)" in text
    assert "2000 bootstrap resamples over groups, seed 7" in text
    assert "scripts/evaluate.py runs/busi/model --data data/busi --split test --seed 7" in text
    assert "0.087 (0.078 to 0.096) on `test`" in text, "calibration error beside the temperature"
    assert "the training never read this split" in text


def test_an_undefined_figure_is_no_number(tmp_path):
    parsed = card(results=[read_result(write_evaluation(tmp_path / "m.json", DIGEST))])
    assert "| AUC, benign against malignant | undefined | – | 20 |" in parsed.text
    assert ("AUC, malignant against benign", "test") not in figures(parsed)


def test_without_an_evaluation_there_is_no_figure_anywhere():
    parsed = card()
    assert "No figures were measured for exactly these weights" in parsed.text
    assert "Its error was not measured" in parsed.text
    assert parsed.data.eval_results is None
    assert "model-index" not in parsed.content
    assert "model_name" not in parsed.content


def test_figures_of_other_weights_are_never_taken(tmp_path):
    with pytest.raises(ValueError, match="another model"):
        card(results=[read_result(write_evaluation(tmp_path / "m.json", "b" * 64))])


@pytest.mark.parametrize(
    ("provenance", "sentence"),
    [
        ({"split": "train"}, "The model was trained on these images"),
        ({"split": "validation"}, "chosen on this split: it flatters"),
        ({"split_is_the_models_own": False}, "Not the split that the model was made on"),
        ({"split_is_the_models_own": None}, "does not say whether it is the split"),
    ],
)
def test_figures_that_flatter_say_so(tmp_path, provenance, sentence):
    config = replace(EMBEDDED, training={"data": {**EMBEDDED.training["data"], "trained_on": ["train"]}})
    path = write_evaluation(tmp_path / "m.json", DIGEST, **provenance)
    assert sentence in card(config, results=[read_result(path)]).text


def test_a_refit_says_that_validation_was_trained_on(tmp_path):
    path = write_evaluation(tmp_path / "m.json", DIGEST, split="validation")
    training = {
        **EMBEDDED.training,
        "data": {**EMBEDDED.training["data"], "trained_on": ["train", "validation"]},
    }
    text = card(replace(EMBEDDED, training=training), results=[read_result(path)]).text
    assert "The model was trained on these images" in text
    assert "Trained on: train and validation." in text


def test_a_mean_of_several_trainings_says_so():
    members = [
        {**OTHER_DATA.training, "options": {"encoder": "plain", "seed": 0, "epochs": n}} for n in (3, 4)
    ]
    training = {**OTHER_DATA.training, "options": {"encoder": "plain", "seed": 0}, "average_of": members}
    text = card(replace(OTHER_DATA, training=training)).text
    assert "the mean of those of 2 trainings" in text
    assert "encoder plain, seed 0; all of them in `config.json`." in text
    assert "validation images added" not in text
    members[0]["refit_of"] = {"options": {}}
    assert "validation images added" in card(replace(OTHER_DATA, training=training)).text
    assert "the mean of those of" not in card(OTHER_DATA).text


def test_busi_is_named_where_its_published_split_was_used_and_only_there():
    busi, other = card(EMBEDDED), card(OTHER_DATA)
    assert "Tested on fold 0" in busi.text
    assert EMBEDDED.training["data"]["split_sha256"] in busi.text
    assert "Al-Dhabyani" in busi.text
    assert "licence of BUSI is not clearly stated" in busi.text
    assert other.data.datasets is None
    assert "Al-Dhabyani" not in other.text
    assert "this card cannot name it" in other.text


def test_a_model_whose_folds_ignore_copies_is_marked():
    training = {**EMBEDDED.training, "data": {**EMBEDDED.training["data"], "split_sha256": "another"}}
    assert "figures leak" not in str(card(replace(EMBEDDED, training=training)))
    training["data"]["folds_from"] = "image by image"
    assert "all figures leak" in str(card(replace(EMBEDDED, training=training)))


def test_config_is_told_as_it_is():
    text = card(OTHER_DATA).text
    assert "Encoder `plain`, width 16" in text
    assert "logistic regressions" in text
    assert "| mask | 0.43 |" in text
    assert "| lesion | 0.37 |" in text
    assert "| min_area | 0.002 |" in text
    assert "No prediction sets, no edge band and no guard" in text
    assert "A picture of anything else is analysed all the same" in text


def test_weights_without_calibration_never_look_calibrated(tmp_path):
    result = read_result(write_evaluation(tmp_path / "m.json", DIGEST))
    text = card(replace(OTHER_DATA, calibration=Calibration()), results=[result]).text
    assert "**The class probabilities are not calibrated**" in text
    assert "logistic regressions" not in text
    assert "not calibrated" not in card(OTHER_DATA).text


STATED = Calibration(
    prediction_sets=PredictionSets(coverage=0.9, threshold=0.2345),
    boundary_band=BoundaryBand(coverage=0.8, inner=0.31, outer=0.42),
    ood_threshold=2.34,
)


def test_what_the_weights_state_is_told():
    text = card(replace(OTHER_DATA, calibration=STATED)).text
    assert "every class from a probability of 0.2345 on. They hold the true class in about 90% of" in text
    assert "on average about 80% of a lesion's edge lies between 0.31 inside and 0.42 outside" in text
    assert "farther than 2.34 from the usual" in text
    assert "A picture of anything else" not in text
    assert "before the refit" not in text


def test_what_is_not_stated_is_not_told():
    text = card(replace(OTHER_DATA, calibration=Calibration(ood_threshold=2.0))).text
    assert "Guard: " in text
    assert "Prediction sets: " not in text
    assert "Edge band: " not in text


def test_after_a_refit_sets_and_band_are_those_of_the_model_before():
    training = {"data": {"trained_on": ["train", "validation"]}}
    refit = replace(OTHER_DATA, training=training)
    assert "fitted for the model before the refit" in card(replace(refit, calibration=STATED)).text
    assert "fitted for the model before the refit" not in card(refit).text


@pytest.mark.parametrize(
    ("encoder", "init", "said"),
    [
        ("plain", "imagenet", "init random"),
        ("plain", "runs/first/model", "init runs/first/model"),
        ("efficientnet_lite0", "imagenet", "init imagenet"),
    ],
)
def test_what_the_training_started_from(encoder, init, said):
    training = {**OTHER_DATA.training, "options": {"encoder": encoder, "init": init}}
    assert f"Options: encoder {encoder}, {said};" in card(replace(OTHER_DATA, training=training)).text


def test_weights_of_unknown_origin():
    assert "How these weights came about is not recorded" in card(ModelConfig()).text


def test_it_says_how_to_use_it_and_what_it_is_not():
    text = card().text
    assert 'Predictor.from_pretrained("someone/busi")' in text
    assert "Not a medical device" in text
    assert "Out of scope: diagnosis" in text
