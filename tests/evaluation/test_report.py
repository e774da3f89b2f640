"""The report folder of a made-up evaluation."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fakes.made_up import CASES, PIXELS, MadeUpPredictor, make_split
from PIL import Image as PILImage

from busi_unet.evaluation import plots
from busi_unet.evaluation.evaluate import evaluate
from busi_unet.evaluation.report import default_folder, to_markdown


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "made" / "up"
    evaluation = evaluate(
        MadeUpPredictor(), make_split(), output=folder, progress=False, provenance={"model": "made-up"}
    )
    return evaluation, folder


def test_metrics_json_is_the_summary(report):
    evaluation, folder = report
    text = (folder / "metrics.json").read_text(encoding="utf-8")
    stored = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert stored == evaluation.summary
    assert list(stored) == sorted(stored)
    assert stored["provenance"]["model"] == "made-up"
    assert stored["provenance"]["bootstrap"] == {
        "level": 0.95,
        "resamples": 2000,
        "seed": 0,
        "unit": "group",
    }
    assert stored["provenance"]["versions"]["numpy"] == np.__version__


def test_per_image_rows(report):
    with (report[1] / "per_image.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["image_id"]: row for row in csv.DictReader(stream)}
    assert list(rows) == [case[0] for case in CASES]
    half = rows["benign (2)"]
    assert (half["label"], half["predicted_label"], half["group"]) == ("benign", "malignant", "a")
    assert float(half["dice"]) == pytest.approx(2 / 3)
    assert (float(half["hd95_px"]), float(half["recall"]), float(half["p_malignant"])) == (4, 0.5, 0.5)
    assert (half["target_area_px"], half["predicted_area_px"]) == ("64", "32")
    false_mask = rows["normal (1)"]
    assert (false_mask["dice"], false_mask["hd95_px"], false_mask["false_mask"]) == ("", "", "True")
    assert (false_mask["height_px"], false_mask["width_px"]) == ("50", "36")
    assert rows["malignant (1)"]["precision"] == ""


def test_images_are_drawn(report):
    drawn = {path.stem: np.asarray(PILImage.open(path)) for path in report[1].glob("*.png")}
    assert set(drawn) == {
        "confusion_matrix",
        "dice_histogram",
        "dice_by_size",
        "roc",
        "lesion_detection",
        "reliability",
        "gallery_best",
        "gallery_worst",
        "gallery_false_masks",
    }
    assert all(np.ptp(image) > 100 for image in drawn.values())


def test_galleries_show_the_extremes_and_no_lesion_twice(tmp_path):
    names = {pixels.tobytes(): name for name, pixels in PIXELS.items()}
    predictor, seen = MadeUpPredictor(), []

    def predict(image):
        seen.append(names[image.tobytes()])
        return predictor.predict(image)

    evaluate(SimpleNamespace(predict=predict), make_split(), output=tmp_path, progress=False)
    drawn = seen[len(CASES) :]
    worst, best, false_masks = drawn[:2], drawn[2:4], drawn[4:]
    assert worst == ["malignant (1)", "benign (2)"]
    assert set(best) == {"benign (1)", "malignant (2)"}
    assert false_masks == ["normal (1)"]


def test_summary_table_shows_values_intervals_and_counts(report):
    text = (report[1] / "summary.md").read_text(encoding="utf-8")
    assert text == to_markdown(report[0]) + "\n"
    assert "0.500 [0.000, 1.000] (1 of 2)" in text
    assert "6 images (2 normal, 2 benign, 2 malignant) in 5 groups" in text


def test_gallery_of_an_earlier_run_does_not_stay(tmp_path):
    (tmp_path / "gallery_false_masks.png").write_bytes(b"old")
    cases = CASES[:4]
    evaluate(MadeUpPredictor(cases), make_split(cases), output=tmp_path, progress=False)
    assert not (tmp_path / "gallery_false_masks.png").exists()
    assert (tmp_path / "gallery_worst.png").exists()


def test_normals_alone_make_a_report(tmp_path):
    cases = CASES[4:]
    evaluate(MadeUpPredictor(cases), make_split(cases), output=tmp_path, progress=False)
    assert (tmp_path / "gallery_false_masks.png").exists()
    assert not (tmp_path / "dice_histogram.png").exists()
    assert not (tmp_path / "roc.png").exists()
    assert (tmp_path / "reliability.png").exists()


def test_a_class_without_images_has_no_shares_in_the_confusion_matrix():
    figure = plots.confusion_matrix([[0, 0, 0], [0, 3, 1], [0, 0, 2]])
    cells = [text.get_text() for text in figure.axes[0].texts]
    assert cells == ["0", "0", "0", "0\n0%", "3\n75%", "1\n25%", "0\n0%", "0\n0%", "2\n100%"]


def test_tables_say_what_is_undefined_and_what_was_refused():
    cases = CASES[:2]
    predictor = MadeUpPredictor(cases, refused=["benign (1)"])
    text = to_markdown(evaluate(predictor, make_split(cases), progress=False))
    assert "undefined" in text
    assert "1 refused" in text


def test_models_of_one_folder_name_have_reports_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert default_folder("runs/a/fold-1/model", "test") == Path("reports/runs-a-fold-1-model-test")
    assert default_folder("runs/b/fold-1/model", "test") == Path("reports/runs-b-fold-1-model-test")
    assert default_folder("user/name", "test") == Path("reports/user-name-test")
    elsewhere = tmp_path.parent / "model"
    assert default_folder(str(elsewhere), "audit") == default_folder("../model", "audit")
    assert default_folder("../model", "audit").parent == Path("reports")
