import html
import json
import zipfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pypdf
import pytest
from fakes.dicom_files import dicom
from fakes.image_files import encoded
from PIL import Image

from busi_unet.app import image_actions, text
from busi_unet.app.analysis import Analysis, Look
from busi_unet.app.image_parts import BRUSH_COLOR, BRUSH_OPACITY
from busi_unet.app.model import LazyModel
from busi_unet.config import CLASS_NAMES
from busi_unet.data.phantom import make_phantom
from busi_unet.errors import UsageError
from busi_unet.inference.correct import Click, ClickBox

IMAGE = Image.fromarray(make_phantom("benign", seed=1, size=(72, 120)).image)
BLANK = Image.new("L", (60, 40), 90)
LOOK = tuple(asdict(Look()).values())


def _pixels(path: str | Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def _mask(model: LazyModel, analysis: Analysis) -> np.ndarray:
    return analysis.predict(model().predictor).mask


def test_a_refused_image_is_analysed_only_when_the_visitor_insists(handlers, actions, upload, shown, redraw):
    refused = handlers.analyse(upload(BLANK), None)
    answer = shown(refused)

    assert answer["anyway"].visible is True
    for name in ("label", "probabilities", "prediction_set", "coverage"):
        assert answer["report"][name] is None
    assert answer["report"]["refused"] is True and not answer["report"]["flagged"]
    for sentence in (text.NOT_ANALYSED, answer["report"]["reasons"][0], text.REFUSED_HELP):
        assert html.escape(sentence) in answer["verdict"]
    assert not any(name in answer["verdict"] + answer["findings"] for name in CLASS_NAMES)
    drawn = _pixels(answer["overlay"])
    assert (drawn[:10] != 90).any() and (drawn[20:] == 90).all()

    insisted = actions.analyse_again(refused)["kept"]
    again = redraw(insisted)
    assert again["anyway"].visible is False
    assert sum(again["report"]["probabilities"].values()) == pytest.approx(1)
    assert again["report"]["refused"] is True and text.ANALYSED_ANYWAY in again["verdict"]
    assert handlers.predict(upload(BLANK), analyse_anyway="True").report == again["report"]

    hidden, told = (
        pypdf.PdfReader(actions.downloads(each, ["png"], None, *LOOK)["files"][2]).pages[0].extract_text()
        for each in (refused, insisted)
    )
    assert "malignant" not in hidden and "malignant" in told


def test_a_redraw_asks_no_network_and_without_changes_gives_the_same(
    model, analysis, shown, redraw, monkeypatch
):
    first = shown(analysis)
    monkeypatch.setattr(model().predictor, "run", None)
    again = redraw(analysis, threshold=model().predictor.config.thresholds.mask)

    assert {name: again[name] for name in ("report", "findings")} == {
        name: first[name] for name in ("report", "findings")
    }
    images = {Path(redraw(analysis, view=view)["overlay"]).read_bytes() for view in text.VIEWS}
    # The boundary band is not calibrated here, and the outline is shown.
    assert len(images) >= len(text.VIEWS) - 1


def test_a_threshold_set_by_hand_wins_over_the_models_rules(analysis, redraw):
    everything, nothing_left = (redraw(analysis, threshold=value) for value in (0.05, 0.95))

    assert everything["report"]["lesion_area_px"] > nothing_left["report"]["lesion_area_px"]
    assert everything["report"]["threshold_by_hand"] == 0.05 and "0.05" in everything["findings"]
    raw = replace(analysis.raw, probability=analysis.raw.probability * 0 + 0.6)
    unreached = redraw(replace(analysis, raw=raw), threshold=0.7)
    assert "0.70" in unreached["findings"] and "0.600" in unreached["findings"]


def test_a_typed_pixel_size_measures_in_millimetres(actions, analysis, redraw):
    pixels = redraw(analysis, threshold=0.3)
    typed = actions.measure_in_mm(analysis, 0.1)["kept"]
    millimetres = redraw(typed, threshold=0.3)

    assert pixels["measurements"][0][1].endswith("px²")
    assert millimetres["measurements"][0][1].endswith("mm²")
    area = pixels["report"]["measurements"][0]["area_px"]
    assert millimetres["report"]["measurements"][0]["area_mm2"] == pytest.approx(area / 100)
    assert millimetres["report"]["pixel_size_from"] == "typed" and "0.1 mm" in millimetres["findings"]
    with pytest.warns(UserWarning, match="50 mm"):
        rejected = actions.measure_in_mm(typed, 50)
    assert rejected["kept"].pixel_size_mm is rejected["pixel_size"] is None
    assert actions.measure_in_mm(typed, 0)["kept"].pixel_size_mm is None


def test_what_is_painted_is_measured_and_given_as_a_training_pair(model, actions, analysis, redraw):
    layer = np.zeros((72, 120, 4), dtype=np.uint8)
    layer[10:30, 20:60] = (*BRUSH_COLOR, round(255 * BRUSH_OPACITY))
    painted = {"background": np.zeros((72, 120, 3)), "layers": [layer]}
    corrected = actions.paint(analysis, painted)
    drawing = redraw(corrected["kept"])

    assert corrected["threshold"].interactive is False
    assert drawing["report"]["lesion_area_px"] == 800 and drawing["report"]["corrected_by_hand"]
    assert text.CORRECTED in drawing["findings"]
    made = actions.training_pair(corrected["kept"], "benign", None, *LOOK)
    with zipfile.ZipFile(made["pair_file"]) as pair:
        assert sorted(pair.namelist()) == ["benign/upload.png", "benign/upload_mask.png"]
        mask = np.asarray(Image.open(pair.open("benign/upload_mask.png")))
        np.testing.assert_array_equal(np.asarray(Image.open(pair.open("benign/upload.png"))), IMAGE)
    np.testing.assert_array_equal(mask, layer[..., 3].astype(bool) * 255)
    with pytest.raises(UsageError):
        actions.training_pair(corrected["kept"], None, None, *LOOK)

    dropped = actions.undo_all(corrected["kept"], text.BRUSH, None, *LOOK)
    assert dropped["threshold"].interactive is True and dropped["kept"].corrected is None
    np.testing.assert_array_equal(_layer(dropped) > 0, _mask(model, dropped["kept"]))


def _layer(answer: dict[str, Any]) -> np.ndarray:
    return np.asarray(answer["editor"]["value"]["layers"][0])[..., 3]


def test_clicks_correct_the_mask_that_is_drawn_and_can_be_undone(
    model, actions, analysis, redraw, monkeypatch
):
    asked = []

    def correct(image: Any, probability: Any, mask: np.ndarray, clicks: Any, box: Any) -> np.ndarray:
        asked.append((mask.sum(), clicks, box))
        mask = mask.copy()
        mask[len(asked)] = True
        return mask

    monkeypatch.setattr(image_actions, "correct_mask", correct)
    drawn = _mask(model, replace(analysis, threshold=0.99))
    settings = (0.99, *LOOK)
    first = actions.click(analysis, "0.25,0.25,1", text.LESION_HERE, *settings)
    second = actions.click(first["kept"], "0.5,0.75,2", text.NOT_THIS_ONE, *settings)
    corner = actions.click(second["kept"], "0,0,3", text.CLICK_BOX, *settings)
    third = actions.click(corner["kept"], "0.5,0.5,4", text.CLICK_BOX, *settings)

    clicks = (Click(18, 30, True), Click(54, 60, False))
    assert [each[1:] for each in asked] == [
        (clicks[:1], None),
        (clicks, None),
        (clicks, ClickBox(0, 0, 36, 60)),
    ]
    assert asked[0][0] == drawn.sum() and first["threshold"].interactive is False
    report = redraw(third["kept"])["report"]
    assert report["corrected_by_hand"] and report["lesion_area_px"] == third["kept"].corrected.mask.sum()
    assert corner["hint"] == text.CORRECT_CORNER and corner["kept"].corrected is second["kept"].corrected

    undone = actions.undo(corner["kept"], text.CLICK_BOX, *settings)["kept"]
    assert undone.corner is None and undone.corrected is second["kept"].corrected
    undone = actions.undo(undone, text.CLICK_BOX, *settings)["kept"]
    assert undone.corrected is first["kept"].corrected
    undone = actions.undo(undone, text.CLICK_BOX, *settings)
    assert undone["kept"].corrected is None and undone["threshold"].interactive is True

    monkeypatch.setattr(image_actions, "correct_mask", lambda _image, _probability, mask, *_more: mask)
    nothing = actions.click(analysis, "0.5,0.5,5", text.NOT_THIS_ONE, *settings)
    assert nothing == {"hint": text.CORRECT_NOTHING}


def test_the_downloads_say_what_the_page_says(actions, analysis, redraw):
    mask = Image.fromarray(make_phantom("benign", seed=1, size=(72, 120)).mask)
    compared = actions.compare(analysis, [encoded(mask)])["kept"]
    drawing = redraw(compared, threshold=0.3, view="Outline")
    files = actions.downloads(compared, ["png", "csv"], 0.3, "Outline", *LOOK[1:])["files"]
    paths = list(map(Path, files))

    kinds = ("overlay.png", "result.json", "report.pdf", "mask.png", "measurements.csv")
    assert [path.name for path in paths] == [f"upload_{kind}" for kind in kinds]
    mask = _pixels(paths[3])
    assert set(np.unique(mask)) <= {0, 255} and (mask > 0).sum() == drawing["report"]["lesion_area_px"]
    np.testing.assert_array_equal(_pixels(paths[0]), _pixels(drawing["overlay"]))
    result = json.loads(paths[1].read_text(encoding="utf-8"))
    assert result.pop("date")
    assert result == json.loads(json.dumps(drawing["report"]))
    printed = " ".join(pypdf.PdfReader(paths[2]).pages[0].extract_text().split())
    assert "(0.30)" in printed and "Dice" in printed and "*" not in printed


def test_dicom_is_made_of_dicom_and_of_others_all_but_it(handlers, actions, analysis, upload, monkeypatch):
    told = []
    monkeypatch.setattr(gr, "Warning", lambda message, **_options: told.append(message))
    files = actions.downloads(analysis, ["dicom", "png"], None, *LOOK)["files"]
    assert [Path(file).name for file in files[3:]] == ["upload_mask.png"]
    assert "is not a DICOM file. Choose PNG or COCO" in told.pop()
    uids = {f"{name}InstanceUID": f"1.2.{number}" for number, name in enumerate(("Study", "Series", "SOP"))}
    path = upload(dicom(np.asarray(IMAGE), **uids), "case12.dcm")
    analysed = handlers.analyse(path, None)
    files = actions.downloads(analysed, ["dicom"], 0.3, *LOOK)["files"]
    assert [Path(file).name for file in files[3:]] == ["case12_seg.dcm", "case12_sr.dcm"]
    assert "case12.dcm" in pypdf.PdfReader(files[2]).pages[0].extract_text()
    Path(path).unlink()
    actions.downloads(analysed, ["dicom"], None, *LOOK)
    assert "not kept" in told.pop()
