import pytest
from fakes.evaluations import make_summary

from busi_unet.config import EVALUATION_NAME
from busi_unet.errors import UsageError
from busi_unet.evaluation.record import add_evaluation, read_evaluations
from busi_unet.models.folder import load_config, model_hash, save_config, weights_hash


def summary_of(folder, **provenance):
    return make_summary(model_hash(folder), weights_sha256=weights_hash(folder), **provenance)


def test_evaluations_of_other_splits_stay_and_the_same_one_is_replaced(tiny_model):
    assert read_evaluations(tiny_model) == {}
    first, other, again = (
        summary_of(tiny_model, split=split, data_sha256=data)
        for split, data in (("test", "a"), ("all", "a"), ("test", "b"))
    )
    for summary in (first, other, again):
        add_evaluation(tiny_model, summary)
    assert list(read_evaluations(tiny_model).values()) == [other, again]


def test_what_was_measured_before_a_threshold_moved_is_not_the_models(tiny_model):
    add_evaluation(tiny_model, summary_of(tiny_model))
    sibling = make_summary("e" * 64, sibling_of=weights_hash(tiny_model))
    add_evaluation(tiny_model, sibling)
    config = load_config(tiny_model)
    object.__setattr__(config.thresholds, "malignant", 0.3)
    save_config(tiny_model, config)
    assert list(read_evaluations(tiny_model).values()) == [sibling]


@pytest.mark.parametrize("text", ["", "[]", '{"busi test": {}}'])
def test_a_damaged_file_is_named_and_left(tiny_model, text):
    path = tiny_model / EVALUATION_NAME
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=EVALUATION_NAME):
        add_evaluation(tiny_model, summary_of(tiny_model))
    assert path.read_text(encoding="utf-8") == text
