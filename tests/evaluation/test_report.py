"""The report folder of a made-up evaluation."""

import csv
import json

import numpy as np
import pytest
from fakes.evaluations import make_summary
from fakes.made_up import CASES, MadeUpPredictor, make_split
from fakes.pages import Page
from PIL import Image

from busi_unet.config import EVALUATION_NAME
from busi_unet.errors import UsageError
from busi_unet.evaluation.evaluate import evaluate
from busi_unet.evaluation.metrics import METRICS
from busi_unet.evaluation.plots import PLOTS
from busi_unet.evaluation.report import add_evaluation, read_evaluations
from busi_unet.models.folder import load_config, model_hash, save_config, weights_hash


def of_two(name):
    return "one" if name.endswith("(1)") else "<b>two"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "made" / "up"
    evaluation = evaluate(
        MadeUpPredictor(),
        make_split(source_of=of_two),
        output=folder,
        provenance={"model": "made-up", "warnings": ["This is made up."]},
        subgroups={"small": {"benign (1)"}},
    )
    return evaluation, folder


def test_metrics_json_is_the_summary(report):
    evaluation, folder = report
    text = (folder / "metrics.json").read_text(encoding="utf-8")
    stored = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert stored == evaluation.summary
    assert stored["sources"]["one"]["estimates"]["lesion_dice"]["n"] == 2
    assert stored["subgroups"]["small: any"]["images"]["benign"] == 1
    assert stored["provenance"]["bootstrap"] == {"level": 0.95, "resamples": 2000, "seed": 0, "unit": "group"}


def test_per_image_rows(report):
    with (report[1] / "per_image.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["image_id"]: row for row in csv.DictReader(stream)}
    assert list(rows) == [case[0] for case in CASES]
    half = rows["benign (2)"]
    assert (half["label"], half["predicted_label"], half["group"]) == ("benign", "malignant", "a")
    assert float(half["dice"]) == pytest.approx(2 / 3)
    assert (float(half["hd95_px"]), float(half["recall"]), float(half["p_malignant"])) == (4, 0.5, 0.5)
    missed = rows["malignant (1)"]
    assert (missed["predicted_area_px"], missed["ungated_area_px"], missed["ungated_dice"]) == (
        "0",
        "64",
        "1.0",
    )
    assert (rows["normal (1)"]["dice"], rows["normal (1)"]["height_px"]) == ("", "50")


def test_the_page_holds_metrics_plots_and_worst_cases(report):
    evaluation, folder = report
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    for name in evaluation.estimates:
        assert METRICS[name].title in page.words
    assert "This is made up." in page.words and "<b>two" in page.words
    drawn = {path.stem: np.asarray(Image.open(path)) for path in folder.glob("*.png")}
    assert set(drawn) == set(PLOTS) and all(np.ptp(plot) > 100 for plot in drawn.values())
    shown = [image["alt"] for image in page.images if image["alt"] not in PLOTS.values()]
    assert shown == ["malignant (1)", "normal (1)", "benign (2)"]


def test_normals_alone_replace_what_an_earlier_run_left(tmp_path):
    for name in ("roc.png", "missed_vs_outlined.csv"):
        (tmp_path / name).write_bytes(b"old")
    evaluate(MadeUpPredictor(), make_split(CASES[4:]), output=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "metrics.json",
        "per_image.csv",
        "reliability.png",
        "report.html",
    }


# --- The evaluations that a model folder keeps ---


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
