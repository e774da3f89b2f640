import html
import io
import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pypdf
import pytest
from fakes.dicom_files import dicom, region
from PIL import Image, ImageDraw

from busi_unet.app import correction_handlers, text
from busi_unet.app.analysis import Analysis, Look
from busi_unet.app.image_answer import whole
from busi_unet.app.image_handlers import ImageHandlers, result_name
from busi_unet.app.image_parts import BRUSH_COLOR, BRUSH_OPACITY
from busi_unet.app.model import LazyModel
from busi_unet.app.newest import Newest
from busi_unet.config import CLASS_NAMES
from busi_unet.data.phantom import make_phantom
from busi_unet.errors import BusiUNetError, UsageError
from busi_unet.imaging import quality
from busi_unet.inference.correct import Click, ClickBox
from busi_unet.io.decode import decode_image

IMAGE = Image.fromarray(make_phantom("benign", seed=1, size=(72, 120)).image)
BLANK = Image.new("L", (60, 40), 90)
LOOK = tuple(asdict(Look()).values())
REQUEST = gr.Request(session_hash="visitor")


def _encode(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    return _encode(IMAGE, "JPEG", exif=exif)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))


@pytest.fixture
def handlers(tiny_model) -> ImageHandlers:
    return ImageHandlers(LazyModel(str(tiny_model)))


@pytest.fixture
def upload(tmp_path) -> Callable[..., str]:
    def write(content: bytes | Image.Image, name: str = "upload.png") -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else _encode(content, "PNG"))
        return str(path)

    return write


@pytest.fixture
def analysis(handlers, upload) -> Analysis:
    return handlers.analyse(upload(IMAGE), None, *LOOK)


def _whole(handlers: ImageHandlers, analysis: Analysis) -> dict[str, Any]:
    return whole(analysis, handlers._model())


def _redraw(
    handlers: ImageHandlers, analysis: Analysis, threshold: float | None = None, view: str = Look.view
) -> dict[str, Any]:
    return handlers.redraw(analysis, threshold, view, *LOOK[1:])


def _pixels(path: str | Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def _mask(handlers: ImageHandlers, analysis: Analysis) -> np.ndarray:
    return analysis.predict(handlers._model().predictor).mask


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(_encode(IMAGE.convert("P"), "PNG"), id="palette PNG"),
        pytest.param(_turned(), id="turned JPEG"),
        pytest.param(dicom(np.asarray(IMAGE)), id="DICOM"),
    ],
)
def test_the_overlay_is_of_the_decoded_image_whatever_the_file(handlers, content, upload):
    pixels = decode_image(content)
    # No ending tells what it is.
    answer = _whole(handlers, handlers.analyse(upload(content, "IM0001"), None, *LOOK))

    np.testing.assert_array_equal(_pixels(answer["original"]), pixels)
    assert _pixels(answer["overlay"]).shape == (*pixels.shape, 3)
    assert sum(answer["report"]["probabilities"].values()) == pytest.approx(1)
    assert (answer["report"]["height"], answer["report"]["width"]) == pixels.shape


@pytest.mark.parametrize("content", [b"hello", b"", _encode(IMAGE, "PNG")[:2000], None])
def test_a_bad_file_is_one_sentence(handlers, content, upload):
    path = content if content is None else upload(content)
    with pytest.raises(gr.Error) as caught:
        handlers.predict(path)
    assert caught.value.print_exception is False and "Traceback" not in caught.value.message

    newest = Newest()
    handlers.take(handlers.analyse, 1, newest, path, None, *LOOK)
    handlers.run(newest)
    with pytest.warns(UserWarning):
        answer = handlers.show(newest, REQUEST)
    assert text.NOT_ANALYSED in answer["verdict"] and html.escape(caught.value.message) in answer["verdict"]
    assert answer["overlay"] is answer["kept"] is answer["original"] is None


def test_a_new_image_is_shown_in_one_go(handlers, upload):
    newest, inputs = Newest(), (upload(IMAGE), 0.1, *LOOK)
    waiting = handlers.take(handlers.analyse, 1, newest, *inputs)
    assert text.ANALYSING in waiting["verdict"] and waiting["kept"] is None
    assert handlers.take(handlers.analyse, 0, newest, *inputs) == {}, "an older event"

    handlers.run(newest)
    answer = handlers.show(newest, REQUEST)
    assert answer["number"] == answer["kept"].number == 1
    assert Image.open(answer["overlay"]).size == Image.open(answer["original"]).size == IMAGE.size
    assert answer["kept"].pixel_size_mm == answer["pixel_size"].value == 0.1
    assert answer["reference"] is answer["editor"] is answer["files"] is None
    assert handlers.show(newest, REQUEST) == {}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"threshold": 5}, "threshold is 5"),
        ({"opacity": 2}, "opacity is 2"),
        ({"pixel_size_mm": -1}, "-1 mm"),
        ({"pixel_size_mm": 0}, "0 mm"),
        ({"clip_frame": 9}, "9"),
        ({"color": "mauve"}, "mauve"),
        ({"pixel_size_mm": "1 mm"}, "pixel_size_mm is '1 mm', not a number"),
        ({"clip_frame": "inf"}, "clip_frame is 'inf'"),
        ({"analyse_anyway": "perhaps"}, "analyse_anyway is 'perhaps'"),
    ],
)
def test_an_argument_out_of_range_is_one_sentence(handlers, upload, wrong, sentence):
    with pytest.raises(gr.Error, match=sentence) as caught:
        handlers.predict(upload(IMAGE), **wrong)
    assert caught.value.print_exception is False


def test_numbers_may_be_text(handlers, upload):
    numbers = {"pixel_size_mm": 0.1, "threshold": 0.4, "clip_frame": 1}
    texts = {name: str(value) for name, value in numbers.items()}
    reports = [handlers.predict(upload(IMAGE), **each).report for each in (texts, numbers)]
    assert reports[0] == reports[1]


def test_a_refused_image_is_analysed_only_when_the_visitor_insists(handlers, upload):
    refused = handlers.analyse(upload(BLANK), None, *LOOK)
    answer = _whole(handlers, refused)

    assert answer["anyway"].visible is True
    for name in ("label", "probabilities", "prediction_set", "coverage"):
        assert answer["report"][name] is None
    assert answer["report"]["refused"] is True and not answer["report"]["flagged"]
    for sentence in (text.NOT_ANALYSED, answer["report"]["reasons"][0], text.REFUSED_HELP):
        assert html.escape(sentence) in answer["verdict"]
    assert not any(name in answer["verdict"] + answer["findings"] for name in CLASS_NAMES)
    drawn = _pixels(answer["overlay"])
    assert (drawn[:10] != 90).any() and (drawn[20:] == 90).all()

    insisted = handlers.analyse_again(refused)["kept"]
    shown = _redraw(handlers, insisted)
    assert shown["anyway"].visible is False
    assert sum(shown["report"]["probabilities"].values()) == pytest.approx(1)
    assert shown["report"]["refused"] is True and text.ANALYSED_ANYWAY in shown["verdict"]
    assert handlers.predict(upload(BLANK), analyse_anyway="True").report == shown["report"]

    hidden, told = (
        pypdf.PdfReader(handlers.downloads(each, ["png"], None, *LOOK)["files"][2]).pages[0].extract_text()
        for each in (refused, insisted)
    )
    assert "malignant" not in hidden and "malignant" in told


def test_a_row_of_a_batch_opens_its_own_image(handlers, upload, tmp_path):
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as study:
        study.write(upload(IMAGE), "a.png")
        study.write(upload(BLANK), "b.png")
    paths = [upload(IMAGE), str(tmp_path / "study.zip")]

    def row(*values: Any) -> gr.SelectData:
        return gr.SelectData(None, {"index": (0, 0), "value": None, "row_value": values})

    opened = handlers.analyse_row(row(3, "study.zip/b.png"), paths, None, *LOOK)
    assert opened.source.is_file() and opened.source_name == "b.png"
    np.testing.assert_array_equal(opened.image.pixels, BLANK)
    for other in (row(2, "study.zip/b.png"), row(4, "c.png")):
        with pytest.raises(UsageError, match=re.escape(text.BATCH_CHANGED[0])):
            handlers.analyse_row(other, paths, None, *LOOK)


def test_a_redraw_asks_no_network_and_without_changes_gives_the_same(handlers, analysis, monkeypatch):
    first = _whole(handlers, analysis)
    monkeypatch.setattr(handlers._model().predictor, "run", None)
    again = _redraw(handlers, analysis, threshold=handlers._model().predictor.config.thresholds.mask)

    assert {name: again[name] for name in ("report", "findings")} == {
        name: first[name] for name in ("report", "findings")
    }
    images = {Path(_redraw(handlers, analysis, view=view)["overlay"]).read_bytes() for view in text.VIEWS}
    # The boundary band is not calibrated here, and the outline is shown.
    assert len(images) >= len(text.VIEWS) - 1


def test_a_threshold_set_by_hand_wins_over_the_models_rules(handlers, analysis):
    everything, nothing_left = (_redraw(handlers, analysis, threshold=value) for value in (0.05, 0.95))

    assert everything["report"]["lesion_area_px"] > nothing_left["report"]["lesion_area_px"]
    assert everything["report"]["threshold_by_hand"] == 0.05 and "0.05" in everything["findings"]
    raw = replace(analysis.raw, probability=analysis.raw.probability * 0 + 0.6)
    unreached = _redraw(handlers, replace(analysis, raw=raw), threshold=0.7)
    assert "0.70" in unreached["findings"] and "0.600" in unreached["findings"]


def test_a_typed_pixel_size_measures_in_millimetres(handlers, analysis):
    pixels = _redraw(handlers, analysis, threshold=0.3)
    typed = handlers.measure_in_mm(analysis, 0.1)["kept"]
    millimetres = _redraw(handlers, typed, threshold=0.3)

    assert pixels["measurements"][0][1].endswith("px²")
    assert millimetres["measurements"][0][1].endswith("mm²")
    area = pixels["report"]["measurements"][0]["area_px"]
    assert millimetres["report"]["measurements"][0]["area_mm2"] == pytest.approx(area / 100)
    assert millimetres["report"]["pixel_size_from"] == "typed" and "0.1 mm" in millimetres["findings"]
    with pytest.warns(UserWarning, match="50 mm"):
        rejected = handlers.measure_in_mm(typed, 50)
    assert rejected["kept"].pixel_size_mm is rejected["pixel_size"] is None
    assert handlers.measure_in_mm(typed, 0)["kept"].pixel_size_mm is None


def test_a_pixel_size_typed_before_counts_unless_the_file_has_its_own(handlers, upload):
    known = dicom(np.asarray(IMAGE), SequenceOfUltrasoundRegions=[region((0, 0, 119, 71))])
    assert handlers.analyse(upload(IMAGE), 0.2, *LOOK).pixel_size_mm == 0.2
    own = handlers.analyse(upload(known), 0.2, *LOOK)
    assert own.pixel_size_mm is None and own.image.spacing_mm == (0.1, 0.1)
    assert _whole(handlers, own)["report"]["pixel_size_from"] == "file"


def test_a_part_is_a_new_image_of_the_same_scale(handlers, upload):
    file = dicom(np.asarray(IMAGE), SequenceOfUltrasoundRegions=[region((0, 0, 119, 71))])
    analysis = handlers.analyse(upload(file, "scan.dcm"), None, *LOOK)
    part = handlers.analyse_part(analysis, "20,10,100,60", None, *LOOK)
    assert part.name == "scan (cropped)" and not part.in_box
    assert (part.image.pixels == np.asarray(IMAGE)[10:60, 20:100]).all()
    assert part.image.spacing_of(np.ones((50, 80), bool))[0] == (0.1, 0.1)
    assert handlers.analyse_part(part, (0, 0, 40, 40), None, *LOOK).name == "scan (cropped)"
    with pytest.raises(BusiUNetError, match="16 pixels"):
        handlers.analyse_part(analysis, "20,10,25,60", None, *LOOK)
    with pytest.raises(UsageError, match="box"):
        handlers.analyse_part(analysis, "", None, *LOOK)


def test_the_page_shows_a_large_image_reduced_and_crops_it_where_it_was_drawn(
    handlers, analysis, monkeypatch
):
    monkeypatch.setattr(quality, "_LOOKED_OVER", 40)
    answer = _whole(handlers, analysis)
    assert [Image.open(answer[name]).size for name in ("original", "overlay")] == [(60, 36)] * 2
    assert answer["report"]["width"] == 120
    part = handlers.analyse_part(analysis, "10,5,50,30", None, *LOOK)
    assert (part.image.pixels == np.asarray(IMAGE)[10:60, 20:100]).all()


def test_text_that_may_identify_the_patient_is_told_and_blackened(handlers, upload):
    named = Image.new("L", (200, 140))
    named.paste(IMAGE, (40, 60))
    ImageDraw.Draw(named).text((10, 10), "DOE, JANE", fill=220)
    analysis = handlers.analyse(upload(named), None, *LOOK)
    answer = _whole(handlers, analysis)
    assert answer["blacken"].visible and "top left" in answer["share"]
    assert answer["share"] in answer["findings"] and answer["report"]["text_boxes"]
    left, top, right, bottom = map(int, answer["crop_box"].split(","))
    assert abs(left - 40) < 5 and abs(top - 60) < 5 and abs(right - 160) < 5 and abs(bottom - 132) < 5

    black = handlers.analyse_blackened(analysis, None, *LOOK)
    assert black.name == "upload (blackened)" and not black.image.pixels[:50].any()
    assert (black.image.pixels[60:] == analysis.image.pixels[60:]).all()
    answer = _whole(handlers, black)
    assert not answer["blacken"].visible and answer["share"]
    # Calipers on the outline, which covers the whole scan here.
    with pytest.raises(UsageError):
        handlers.analyse_blackened(replace(analysis, text_boxes=((60, 80, 90, 100),)), None, *LOOK)


def test_a_clip_is_read_at_the_frame_asked_for(handlers, upload):
    frames = np.stack([np.asarray(IMAGE), np.asarray(IMAGE)[::-1], np.asarray(IMAGE)[:, ::-1]])
    clip = upload(dicom(frames, frames=3))
    answer = _whole(handlers, handlers.analyse(clip, None, *LOOK, clip_frame=2))

    np.testing.assert_array_equal(_pixels(answer["original"]), frames[1])
    slider = answer["clip_frame"]
    assert (slider.value, slider.maximum, slider.visible) == (2, 3, True)
    printed = (
        pypdf.PdfReader(handlers.downloads(answer["kept"], [], None, *LOOK)["files"][2])
        .pages[0]
        .extract_text()
    )
    for output in (answer["findings"], " ".join(answer["report"]["remarks"]), printed):
        assert "frame 2 of 3" in output
    newest = Newest()
    waiting = handlers.take(handlers.analyse, 1, newest, clip, None, *LOOK, frame_moves=True)
    handlers.run(newest)
    assert "clip_frame" not in waiting and "clip_frame" not in handlers.show(newest, REQUEST)


def test_what_is_painted_is_measured_and_given_as_a_training_pair(handlers, analysis):
    layer = np.zeros((72, 120, 4), dtype=np.uint8)
    layer[10:30, 20:60] = (*BRUSH_COLOR, round(255 * BRUSH_OPACITY))
    painted = {"background": np.zeros((72, 120, 3)), "layers": [layer]}
    corrected = handlers.paint(analysis, painted)
    drawing = _redraw(handlers, corrected["kept"])

    assert corrected["threshold"].interactive is False
    assert drawing["report"]["lesion_area_px"] == 800 and drawing["report"]["corrected_by_hand"]
    assert text.CORRECTED in drawing["findings"]
    made = handlers.training_pair(corrected["kept"], "benign", None, *LOOK)
    with zipfile.ZipFile(made["pair_file"]) as pair:
        assert sorted(pair.namelist()) == ["benign/upload.png", "benign/upload_mask.png"]
        mask = np.asarray(Image.open(pair.open("benign/upload_mask.png")))
        np.testing.assert_array_equal(np.asarray(Image.open(pair.open("benign/upload.png"))), IMAGE)
    np.testing.assert_array_equal(mask, layer[..., 3].astype(bool) * 255)
    with pytest.raises(UsageError):
        handlers.training_pair(corrected["kept"], None, None, *LOOK)

    dropped = handlers.undo_all(corrected["kept"], text.BRUSH, None, *LOOK)
    assert dropped["threshold"].interactive is True and dropped["kept"].corrected is None
    np.testing.assert_array_equal(_layer(dropped) > 0, _mask(handlers, dropped["kept"]))


def _layer(answer: dict[str, Any]) -> np.ndarray:
    return np.asarray(answer["editor"]["value"]["layers"][0])[..., 3]


def test_clicks_correct_the_mask_that_is_drawn_and_can_be_undone(handlers, analysis, monkeypatch):
    asked = []

    def correct(image: Any, probability: Any, mask: np.ndarray, clicks: Any, box: Any) -> np.ndarray:
        asked.append((mask.sum(), clicks, box))
        mask = mask.copy()
        mask[len(asked)] = True
        return mask

    monkeypatch.setattr(correction_handlers, "correct_mask", correct)
    drawn = _mask(handlers, replace(analysis, threshold=0.99))
    settings = (0.99, *LOOK)
    first = handlers.click(analysis, "0.25,0.25,1", text.LESION_HERE, *settings)
    second = handlers.click(first["kept"], "0.5,0.75,2", text.NOT_THIS_ONE, *settings)
    corner = handlers.click(second["kept"], "0,0,3", text.CLICK_BOX, *settings)
    third = handlers.click(corner["kept"], "0.5,0.5,4", text.CLICK_BOX, *settings)

    clicks = (Click(18, 30, True), Click(54, 60, False))
    assert [each[1:] for each in asked] == [
        (clicks[:1], None),
        (clicks, None),
        (clicks, ClickBox(0, 0, 36, 60)),
    ]
    assert asked[0][0] == drawn.sum() and first["threshold"].interactive is False
    report = _redraw(handlers, third["kept"])["report"]
    assert report["corrected_by_hand"] and report["lesion_area_px"] == third["kept"].corrected.mask.sum()
    assert corner["hint"] == text.CORRECT_CORNER and corner["kept"].corrected is second["kept"].corrected

    undone = handlers.undo(corner["kept"], text.CLICK_BOX, *settings)["kept"]
    assert undone.corner is None and undone.corrected is second["kept"].corrected
    undone = handlers.undo(undone, text.CLICK_BOX, *settings)["kept"]
    assert undone.corrected is first["kept"].corrected
    undone = handlers.undo(undone, text.CLICK_BOX, *settings)
    assert undone["kept"].corrected is None and undone["threshold"].interactive is True

    monkeypatch.setattr(correction_handlers, "correct_mask", lambda _image, _probability, mask, *_more: mask)
    nothing = handlers.click(analysis, "0.5,0.5,5", text.NOT_THIS_ONE, *settings)
    assert nothing == {"hint": text.CORRECT_NOTHING}


def test_the_downloads_say_what_the_page_says(handlers, analysis):
    mask = Image.fromarray(make_phantom("benign", seed=1, size=(72, 120)).mask)
    compared = handlers.compare(analysis, [_encode(mask, "PNG")])["kept"]
    drawing = _redraw(handlers, compared, threshold=0.3, view="Outline")
    paths = [
        Path(path)
        for path in handlers.downloads(compared, ["png", "csv"], 0.3, "Outline", *LOOK[1:])["files"]
    ]

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


def test_dicom_is_made_of_dicom_and_of_others_all_but_it(handlers, analysis, upload, monkeypatch):
    told = []
    monkeypatch.setattr(gr, "Warning", lambda message, **_options: told.append(message))
    files = handlers.downloads(analysis, ["dicom", "png"], None, *LOOK)["files"]
    assert [Path(file).name for file in files[3:]] == ["upload_mask.png"]
    assert "it is not a DICOM file. Choose PNG or COCO" in told.pop()
    uids = {f"{name}InstanceUID": f"1.2.{number}" for number, name in enumerate(("Study", "Series", "SOP"))}
    path = upload(dicom(np.asarray(IMAGE), **uids), "case12.dcm")
    analysed = handlers.analyse(path, None, *LOOK)
    files = handlers.downloads(analysed, ["dicom"], 0.3, *LOOK)["files"]
    assert [Path(file).name for file in files[3:]] == ["case12_seg.dcm", "case12_sr.dcm"]
    assert "case12.dcm" in pypdf.PdfReader(files[2]).pages[0].extract_text()
    Path(path).unlink()
    handlers.downloads(analysed, ["dicom"], None, *LOOK)
    assert "not kept" in told.pop()


@pytest.mark.parametrize(
    ("upload", "name"),
    [
        ("/tmp/cache/case 7 (left).PNG", "case_7_left"),
        ("1.2.840.7", "1.2.840.7"),
        ("größe.tif", "größe"),
        # What Gradio would run in a template.
        ("`${alert(1)}\\.png", "alert_1"),
        ("...png", "image"),
        ("a" * 300 + ".png", "a" * 80),
    ],
)
def test_results_are_named_like_the_upload(upload, name):
    assert result_name(upload) == name
