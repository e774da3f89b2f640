from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pypdf
import pytest
from fakes.dicom_files import dicom, region
from PIL import Image

from busi_unet.app import image_handlers
from busi_unet.app.analysis import VIEWS, Analysis, Look
from busi_unet.app.image_handlers import (
    BRUSH_COLOR,
    BRUSH_OPACITY,
    LAYOUTS,
    Answer,
    Drawing,
    ImageHandlers,
    nothing,
)
from busi_unet.app.model import LazyModel, ModelInUse, load_predictor
from busi_unet.app.newest import Newest
from busi_unet.config import CLASS_NAMES, Thresholds
from busi_unet.data.phantom import make_phantom
from busi_unet.errors import IncompatibleModelError
from busi_unet.imaging.quality import image_warnings
from busi_unet.io.decode import DecodedImage, decode_image
from busi_unet.version import __version__

IMAGE = Image.fromarray(make_phantom("benign", seed=1, size=(72, 120)).image)


EMPTY_EDITOR = {"background": None, "layers": [], "composite": None}
BLANK = Image.new("L", (60, 40), 90)


def _encode(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    return _encode(IMAGE, "JPEG", exif=exif)


def _sixteen_bit() -> Image.Image:
    return Image.fromarray(np.asarray(IMAGE).astype(np.uint16) * 257)


LOOK = (Look.view, Look.color, Look.opacity, Look.diameters)


@pytest.fixture
def handlers(tiny_model: Path) -> ImageHandlers:
    return ImageHandlers(LazyModel(str(tiny_model)))


@pytest.fixture
def upload(tmp_path: Path) -> Callable[..., str]:
    def write(content: bytes | Image.Image, name: str = "upload.png") -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else _encode(content, "PNG"))
        return str(path)

    return write


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(_encode(IMAGE, "PNG"), id="grey PNG"),
        pytest.param(_encode(IMAGE.convert("RGBA"), "PNG"), id="PNG with alpha"),
        pytest.param(_encode(IMAGE.convert("P"), "PNG"), id="palette PNG"),
        pytest.param(_encode(_sixteen_bit(), "PNG"), id="16-bit PNG"),
        pytest.param(_encode(_sixteen_bit(), "TIFF"), id="16-bit TIFF"),
        pytest.param(_encode(IMAGE.convert("RGB"), "JPEG"), id="RGB JPEG"),
        pytest.param(_encode(IMAGE.convert("RGB"), "WEBP"), id="RGB WebP"),
        pytest.param(_encode(IMAGE.convert("RGB"), "BMP"), id="RGB BMP"),
        pytest.param(_turned(), id="turned JPEG"),
        pytest.param(_encode(IMAGE.convert("P"), "GIF"), id="GIF"),
        pytest.param(dicom(np.asarray(IMAGE)), id="DICOM"),
    ],
)
def test_every_format_gives_an_overlay_of_the_decoded_frame(
    handlers: ImageHandlers, content: bytes, upload: Callable[..., str]
) -> None:
    frame = decode_image(content)
    # No ending tells what it is.
    answer = handlers.analyse_upload(upload(content, "IM0001"), None, *LOOK)

    np.testing.assert_array_equal(np.asarray(answer.original), frame)
    assert answer.overlay.size == answer.original.size
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert (answer.report["height"], answer.report["width"]) == frame.shape
    assert answer.report["weights"]["kind"] == "folder"


def test_overlay_leaves_everything_outside_the_mask_as_it_is(handlers: ImageHandlers, answer: Answer) -> None:
    frame = np.asarray(IMAGE)
    mask = handlers._model().predictor.predict(frame).mask
    drawn = np.asarray(answer.overlay)

    np.testing.assert_array_equal(drawn[~mask], np.repeat(frame[:, :, None], 3, axis=2)[~mask])
    assert (drawn[mask] != frame[mask][:, None]).any(axis=1).mean() > 0.9


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            b"hello",
            "The file is not a picture that can be read. Use a PNG, JPEG, WebP, BMP, TIFF or DICOM picture.",
        ),
        (b"", "The file is empty (0 bytes). Export or copy the picture again."),
        (
            _encode(IMAGE, "PNG")[:2000],
            "The file is damaged or cut short. Export or copy the picture again.",
        ),
        (
            _encode(Image.new("1", (9000, 9000)), "PNG"),
            "The file is far too large (9000×9000 pixels). Use a picture of at most 50 million pixels.",
        ),
        (None, "No picture was given. Choose one and try again."),
    ],
)
def test_a_bad_file_is_one_sentence(
    handlers: ImageHandlers, content: bytes | None, sentence: str, upload: Callable[..., str]
) -> None:
    path = content if content is None else upload(content)
    with pytest.raises(gr.Error) as caught:
        handlers.predict(path)

    assert caught.value.message == sentence
    assert caught.value.print_exception is False
    assert handlers.analyse_upload(path, None, *LOOK) == nothing(f"**Not analysed.** {sentence}")


def test_an_image_has_a_size_limit_of_its_own(
    handlers: ImageHandlers, upload: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = upload(b"0" * 2_400_000)
    monkeypatch.setattr(image_handlers, "MAX_IMAGE_MEGABYTES", 1)

    with pytest.raises(gr.Error, match=r"The file is 2 MB large; one picture may have 1\."):
        handlers.predict(path)


def test_the_page_shows_a_result_or_the_reason_in_one_go(
    handlers: ImageHandlers, upload: Callable[..., str]
) -> None:
    analyse = handlers.shown(handlers.analyse_upload)
    good = analyse(upload(IMAGE), 0.1, *LOOK, LAYOUTS[1])
    bad = analyse(upload(b""), 0.1, *LOOK, LAYOUTS[1])

    assert len(good) == len(bad)
    drawing = Drawing(*good[:10])
    assert drawing.pair[1].size == good[11].size == IMAGE.size
    assert drawing.analysis.pixel_size_mm == good[10].pixel_size_mm == good[15].value == 0.1
    assert Drawing(*bad[:10]).overlay is bad[10] is bad[11] is None
    assert Drawing(*bad[:10]).findings.startswith("**Not analysed.** The file is empty (0 bytes).")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"threshold": 5}, r"The threshold is 5\. Choose it between 0 and 1\."),
        ({"opacity": 2}, "The opacity is 2"),
        ({"pixel_size_mm": -1}, "A pixel of -1 mm is not plausible"),
        ({"pixel_size_mm": 0}, "A pixel of 0 mm is not plausible"),
        ({"clip_frame": 9}, "no frame number 9"),
        ({"color": "mauve"}, "no colour 'mauve'"),
    ],
)
def test_an_argument_out_of_range_is_one_sentence(
    handlers: ImageHandlers, upload: Callable[..., str], wrong: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(gr.Error, match=sentence) as caught:
        handlers.predict(upload(IMAGE), **wrong)
    assert caught.value.print_exception is False


def test_a_program_may_set_the_threshold(handlers: ImageHandlers, upload: Callable[..., str]) -> None:
    low, high = (handlers.predict(upload(IMAGE), threshold=value).report for value in (0.05, 0.95))

    assert low["lesion_area_px"] > high["lesion_area_px"]
    assert (low["threshold_by_hand"], high["threshold_by_hand"]) == (0.05, 0.95)


def test_no_weights_at_all_is_one_sentence(upload: Callable[..., str]) -> None:
    def fail() -> ModelInUse:
        raise IncompatibleModelError("The weights are gone.", "Install again.")

    with pytest.raises(gr.Error, match=r"The weights are gone\. Install again\."):
        ImageHandlers(fail).predict(upload(IMAGE))


def test_a_refused_image_has_reasons_and_no_class(
    handlers: ImageHandlers, upload: Callable[..., str]
) -> None:
    answer = handlers.analyse_upload(upload(BLANK), None, *LOOK)

    assert answer.probabilities is None
    assert answer.report["label"] is answer.report["probabilities"] is None
    for name in ("prediction_set", "coverage", "flagged"):
        assert answer.report[name] is None
    assert answer.report["refused"] is True
    assert "Not analysed" in answer.findings
    assert answer.report["reasons"][0] in answer.findings
    assert (np.asarray(answer.overlay) == 90).all()


def test_what_is_odd_about_an_image_is_said(handlers: ImageHandlers, upload: Callable[..., str]) -> None:
    faint = np.full((160, 200), 100, dtype=np.uint8)
    faint[::2] += 10

    findings = handlers.predict(upload(Image.fromarray(faint))).findings

    (warning,) = image_warnings(DecodedImage(faint))
    assert findings.startswith(f"> {warning}")


def test_a_notice_comes_first_and_is_in_the_report(
    tiny_model: Path, upload: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("busi_unet.inference.predictor.EMBEDDED", tiny_model)

    answer = ImageHandlers(LazyModel("someone/busi")).predict(upload(IMAGE))

    assert answer.findings.startswith("> The model someone/busi is not in use")
    assert answer.report["weights"]["kind"] == "embedded"
    assert "someone/busi" in answer.report["weights"]["notice"]


@pytest.mark.parametrize("index", range(3))
def test_an_example_is_analysed_and_said_to_be_one(handlers: ImageHandlers, index: int) -> None:
    answer = handlers.analyse_example(gr.SelectData(None, {"index": index, "value": None}), None, *LOOK)

    assert f"labelled {CLASS_NAMES[index]}." in answer.findings
    assert answer.overlay.size == answer.original.size


def test_nothing_clears_every_output() -> None:
    assert nothing("Gone.") == (None, None, None, "Gone.", None, None)


@pytest.fixture
def answer(handlers: ImageHandlers, upload: Callable[..., str]) -> Answer:
    return handlers.analyse_upload(upload(IMAGE), None, *LOOK)


def _redraw(handlers: ImageHandlers, answer: Answer, **changed: Any) -> Drawing:
    own = handlers._model().predictor.config.thresholds.mask
    settings = {"threshold": own, "layout": LAYOUTS[0], "view": Look.view, **changed}
    view = settings.pop("view")
    return handlers.redraw(answer.analysis, *settings.values(), view, *LOOK[1:])


def test_a_redraw_with_nothing_changed_is_the_answer(handlers: ImageHandlers, answer: Answer) -> None:
    drawing = _redraw(handlers, answer)

    assert drawing.report == answer.report
    assert drawing.findings == answer.findings
    assert drawing.overlay.tobytes() == answer.overlay.tobytes()
    assert len(drawing.measurements) == len(answer.report["measurements"])


def test_no_redraw_asks_the_network(
    handlers: ImageHandlers, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers._model().predictor, "run", None)
    images = {_redraw(handlers, answer, view=view).overlay.tobytes() for view in VIEWS}

    # The edge range is not calibrated here and falls back to the outline and its tint.
    assert len(images) >= len(VIEWS) - 1


def test_a_threshold_set_by_hand_wins_over_the_models_rules(handlers: ImageHandlers, answer: Answer) -> None:
    everything = _redraw(handlers, answer, threshold=0.05)
    nothing_left = _redraw(handlers, answer, threshold=0.95)

    low, high = everything.report["lesion_area_px"], nothing_left.report["lesion_area_px"]
    assert low > answer.report["lesion_area_px"] > high or low > high
    assert "threshold set by hand (0.05)" in everything.findings
    assert everything.report["threshold_by_hand"] == 0.05
    assert everything.report["probabilities"] == answer.report["probabilities"]
    assert _redraw(handlers, Answer(*answer[:5], everything.analysis)).report == answer.report


def test_a_typed_pixel_size_measures_in_millimetres(handlers: ImageHandlers, answer: Answer) -> None:
    threshold = 0.3
    pixels = _redraw(handlers, answer, threshold=threshold)
    analysis = handlers.measure_in_mm(answer.analysis, 0.1)
    millimetres = _redraw(handlers, Answer(*answer[:5], analysis), threshold=threshold)

    assert pixels.measurements[0][1].endswith("px")
    assert millimetres.measurements[0][1].endswith("mm²")
    area = pixels.report["measurements"][0]["area_px"]
    assert millimetres.report["measurements"][0]["area_mm2"] == pytest.approx(area / 100)
    assert "typed, 0.1 mm" in millimetres.findings
    assert millimetres.report["pixel_size_from"] == "typed"
    for wrong in (50, -1):
        with pytest.warns(UserWarning, match=f"A pixel of {wrong} mm is not plausible"):
            assert handlers.measure_in_mm(analysis, wrong).pixel_size_mm is None
    assert handlers.measure_in_mm(analysis, 0).pixel_size_mm is None


def test_a_pixel_size_typed_before_counts_unless_the_file_has_its_own(
    handlers: ImageHandlers, upload: Callable[..., str]
) -> None:
    plain = handlers.analyse_upload(upload(IMAGE), 0.2, *LOOK)
    known = dicom(np.asarray(IMAGE), SequenceOfUltrasoundRegions=[region((0, 0, 119, 71))])
    own = handlers.analyse_upload(upload(known), 0.2, *LOOK)

    assert plain.analysis.spacing_mm == (0.2, 0.2)
    assert handlers.settle(plain.analysis)[3].value == 0.2
    assert own.analysis.spacing_mm == own.analysis.frame.spacing_mm == (0.1, 0.1)
    assert (own.report["pixel_size_from"], handlers.settle(own.analysis)[3].value) == ("file", None)
    assert "mm across and" in handlers.settle(own.analysis)[3].info
    drawing = _redraw(handlers, own, threshold=0.3)
    assert "Millimetres rest on the pixel size that the file states." in drawing.findings


def test_the_slider_gets_a_pair_of_one_size(handlers: ImageHandlers, answer: Answer) -> None:
    left, right = _redraw(handlers, answer, layout=LAYOUTS[1]).pair

    assert left.size == right.size == IMAGE.size


def test_a_forgotten_image_leaves_an_empty_page(handlers: ImageHandlers) -> None:
    drawing = handlers.redraw(None, 0.5, LAYOUTS[0], *LOOK)

    assert drawing.overlay is None and drawing.analysis is None and drawing.measurements == []


def test_a_refused_image_is_analysed_when_the_visitor_insists(
    handlers: ImageHandlers, upload: Callable[..., str]
) -> None:
    refused = handlers.analyse_upload(upload(BLANK), None, *LOOK)
    assert handlers.settle(refused.analysis)[2].visible is True

    analysis, button = handlers.analyse_again(refused.analysis)
    drawing = _redraw(handlers, Answer(*refused[:5], analysis))

    assert button.visible is False
    assert "Analysed all the same" in drawing.findings
    assert sum(drawing.probabilities.values()) == pytest.approx(1)
    assert drawing.report["refused"] is True
    assert drawing.report["label"] in CLASS_NAMES
    assert handlers.predict(upload(BLANK), analyse_anyway=True).report == drawing.report


def test_a_clip_is_read_at_the_frame_asked_for(handlers: ImageHandlers, upload: Callable[..., str]) -> None:
    frames = np.stack([np.asarray(IMAGE), np.asarray(IMAGE)[::-1], np.asarray(IMAGE)[:, ::-1]])
    clip = upload(dicom(frames, frames=3))
    answer = handlers.analyse_frame(clip, 2, None, *LOOK)
    moving = handlers.shown(handlers.analyse_frame, frame_moves=True)(clip, 2, None, *LOOK, LAYOUTS[0])
    assert moving[12] == gr.skip()

    np.testing.assert_array_equal(np.asarray(answer.original), frames[1])
    slider = handlers.settle(answer.analysis)[0]
    assert (slider.value, slider.maximum, slider.visible) == (2, 3, True)
    with pytest.raises(gr.Error, match=r"no frame number 9, counted from 1\. It has 3"):
        handlers.predict(clip, 9)


def test_settings_of_an_image_without_clip_or_refusal(handlers: ImageHandlers, answer: Answer) -> None:
    slider, threshold, anyway, size, *emptied = handlers.settle(answer.analysis)

    assert slider.visible is False and anyway.visible is False
    assert threshold.value == handlers._model().predictor.config.thresholds.mask
    assert size.value is None
    assert emptied == [None] * 5


def test_without_an_image_the_controls_are_as_at_the_start(handlers: ImageHandlers) -> None:
    slider, threshold, anyway, size, *emptied = handlers.settle(None)

    assert (slider.visible, anyway.visible, size.value) == (False, False, None)
    assert (threshold.value, threshold.interactive) == (Thresholds().mask, True)
    assert emptied == [None] * 5
    assert handlers._model._model is None, "a page that is only opened loads no weights"


def test_a_threshold_that_nothing_reaches_is_explained(handlers: ImageHandlers, answer: Answer) -> None:
    raw = replace(answer.analysis.raw, probability=answer.analysis.raw.probability * 0 + 0.6)
    drawing = _redraw(handlers, Answer(*answer[:5], replace(answer.analysis, raw=raw)), threshold=0.7)

    assert "No pixel reaches the threshold set by hand (0.70); the highest has 0.600." in drawing.findings


def test_comparing_with_the_outline_itself_agrees_wholly(handlers: ImageHandlers, answer: Answer) -> None:
    drawing = _redraw(handlers, answer, threshold=0.3)
    mask = drawing.analysis.predict(handlers._model().predictor).mask
    assert mask.any()

    parts = mask.copy(), mask.copy()
    parts[0][:, 60:], parts[1][:, :60] = False, False
    analysis = handlers.compare(drawing.analysis, [_encode(Image.fromarray(part), "PNG") for part in parts])
    drawing = _redraw(handlers, Answer(*answer[:5], analysis), threshold=0.3)

    assert drawing.agreement.startswith("Dice **1.000**")
    assert drawing.report["agreement"]["dice"] == 1
    assert drawing.agreement_image.size == IMAGE.size
    cleared = handlers.compare(drawing.analysis, None)
    assert _redraw(handlers, Answer(*answer[:5], cleared)).agreement_image is None


def test_a_reference_of_another_size_is_one_sentence(handlers: ImageHandlers, answer: Answer) -> None:
    with pytest.raises(gr.Error, match="size"):
        handlers.compare(answer.analysis, [_encode(Image.new("L", (10, 10)), "PNG")])
    with pytest.raises(gr.Error, match="no picture to work on"):
        handlers.compare(None, [_encode(Image.new("L", (10, 10)), "PNG")])


def test_a_reference_that_is_no_mask_is_warned_of(handlers: ImageHandlers, answer: Answer) -> None:
    analysis = handlers.compare(answer.analysis, [_encode(IMAGE, "PNG")])

    assert "hardly looks like a mask" in _redraw(handlers, Answer(*answer[:5], analysis)).agreement


def test_what_is_painted_is_measured_and_given_as_a_training_pair(
    handlers: ImageHandlers, answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    layer = np.zeros((72, 120, 4), dtype=np.uint8)
    layer[10:30, 20:60] = (*BRUSH_COLOR, round(255 * BRUSH_OPACITY))
    painted = {"background": np.zeros((72, 120, 3)), "layers": [layer]}
    analysis, slider = handlers.correct(answer.analysis, painted)
    assert slider.interactive is False and "corrected by hand" in slider.info
    drawing = _redraw(handlers, Answer(*answer[:5], analysis))

    assert drawing.report["lesion_area_px"] == 800
    assert drawing.report["corrected_by_hand"] is True
    assert "corrected by hand" in drawing.findings
    with zipfile.ZipFile(handlers.training_pair(drawing.analysis, "benign")) as pair:
        assert sorted(pair.namelist()) == ["benign/upload.png", "benign/upload_mask.png"]
        mask = np.asarray(Image.open(pair.open("benign/upload_mask.png")))
        np.testing.assert_array_equal(np.asarray(Image.open(pair.open("benign/upload.png"))), IMAGE)
    np.testing.assert_array_equal(mask, layer[..., 3].astype(bool) * 255)
    with pytest.raises(gr.Error, match="class of the training pair is not chosen"):
        handlers.training_pair(drawing.analysis, None)
    dropped, slider, editor = handlers.drop_correction(analysis, drawing.analysis)
    assert slider.interactive is True
    np.testing.assert_array_equal(
        np.asarray(editor["layers"][0])[..., 3] > 0, dropped.predict(handlers._model().predictor).mask
    )
    assert _redraw(handlers, Answer(*answer[:5], dropped)).report == answer.report


def test_the_editor_starts_from_the_outline(handlers: ImageHandlers, answer: Answer) -> None:
    with_lesion = _redraw(handlers, answer, threshold=0.3).analysis
    painting = handlers.start_correction(with_lesion)
    layers = [np.asarray(layer) for layer in painting["layers"]]
    corrected = handlers.correct(with_lesion, {**painting, "layers": layers})[0].corrected

    np.testing.assert_array_equal(corrected, with_lesion.predict(handlers._model().predictor).mask)
    with pytest.raises(gr.Error, match="nothing painted yet"):
        handlers.correct(with_lesion, EMPTY_EDITOR)


def test_the_editor_starts_by_itself_and_keeps_what_is_painted(
    handlers: ImageHandlers, answer: Answer
) -> None:
    started = handlers.open_editor(answer.analysis, EMPTY_EDITOR)

    assert started["background"].size == IMAGE.size
    assert (
        handlers.open_editor(answer.analysis, {**started, "background": np.zeros((72, 120, 3))}) == gr.skip()
    )
    assert handlers.open_editor(None, EMPTY_EDITOR) == gr.skip()


def test_the_downloads_say_what_the_page_says(
    handlers: ImageHandlers, answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    reference = handlers.compare(answer.analysis, [_encode(Image.new("L", IMAGE.size, 255), "PNG")])
    drawing = _redraw(handlers, Answer(*answer[:5], reference), threshold=0.3, view="Outline")
    paths = [Path(path) for path in handlers.downloads(drawing.analysis)]

    names = ["upload_mask.png", "upload_overlay.png", "upload_result.json", "upload_report.pdf"]
    assert [path.name for path in paths] == names
    mask = np.asarray(Image.open(paths[0]))
    assert set(np.unique(mask)) <= {0, 255}
    assert (mask > 0).sum() == drawing.report["lesion_area_px"]
    assert Image.open(paths[1]).tobytes() == drawing.overlay.tobytes()
    result = json.loads(paths[2].read_text(encoding="utf-8"))
    assert result.pop("date")
    assert result == json.loads(json.dumps(drawing.report))
    assert len(result["weights"]["sha256"]) == 64
    assert result["weights"]["busi_unet"] == __version__
    assert result["agreement"]["reference_area_px"] == IMAGE.width * IMAGE.height
    text = " ".join(pypdf.PdfReader(paths[3]).pages[0].extract_text().split())
    assert "threshold set by hand (0.30)" in text
    assert "Comparison with a reference mask Dice" in text and "*" not in text and "Vermillion" not in text


def test_the_report_tells_a_suspicion_beside_another_class(
    handlers: ImageHandlers,
    answer: Answer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    found = answer.analysis.predict(handlers._model().predictor)

    def told(**changes: object) -> str:
        monkeypatch.setattr(Analysis, "predict", lambda self, predictor: replace(found, **changes))
        return " ".join(
            pypdf.PdfReader(handlers.downloads(answer.analysis)[3]).pages[0].extract_text().split()
        )

    assert "Malignancy is suspected all the same" in told(flagged=True, label="benign")
    assert "flagged" not in told(flagged=True, label="malignant")
    assert "flagged" not in told(flagged=False, label="benign")


def test_the_report_of_a_refused_image_tells_no_class(
    handlers: ImageHandlers, upload: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    refused = handlers.analyse_upload(upload(BLANK), None, *LOOK).analysis
    insisted, _ = handlers.analyse_again(refused)

    hidden, shown = (
        pypdf.PdfReader(handlers.downloads(analysis)[3]).pages[0].extract_text()
        for analysis in (refused, insisted)
    )
    assert "Not analysed" in hidden and "malignant" not in hidden
    assert "Analysed all the same" in shown and "malignant" in shown


def test_a_link_opens_the_kept_result(
    handlers: ImageHandlers, answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    kept = _redraw(handlers, answer, threshold=0.3, view="Uncertainty")
    newest = Newest()
    handlers.open_kept(1, newest, _Request(result=handlers.keep(kept.analysis)))
    handlers.run(newest)
    *opened, number = handlers.show(newest)
    drawing, (worked_on, original, _, threshold, *_) = Drawing(*opened[:10]), opened[10:]

    assert threshold.value == drawing.report["threshold_by_hand"] == 0.3
    assert tuple(opened[-len(LOOK) :]) == ("Uncertainty", *LOOK[1:])
    assert number == worked_on.number == drawing.analysis.number == 1
    assert drawing.report == kept.report
    assert Image.open(drawing.overlay).tobytes() == kept.overlay.tobytes()
    assert Image.open(original).size == IMAGE.size
    assert "Opened from a link." in drawing.findings
    assert "upload" not in drawing.analysis.name and "upload" not in worked_on.name


def test_an_address_that_names_no_kept_result_leaves_the_page_alone(handlers: ImageHandlers) -> None:
    assert handlers.open_kept(1, Newest(), _Request()) == gr.skip()
    with pytest.warns(UserWarning, match="no longer kept"):
        assert handlers.open_kept(1, Newest(), _Request(result="someone-elses")) == gr.skip()


def test_an_emptied_page_keeps_nothing_of_the_image(handlers: ImageHandlers) -> None:
    emptied = handlers.empty("Gone.")

    drawing, kept, original = Drawing(*emptied[:10]), *emptied[10:12]
    assert drawing == (None, None, "", None, None, "Gone.", [], "", None, None)
    assert kept is original is None
    assert emptied[13].value == Thresholds().mask


class _Request:
    """The part of `gr.Request` that tells the page's address."""

    def __init__(self, **query: str) -> None:
        self.query_params = query


def test_images_that_come_with_the_model(tiny_model: Path, tmp_path: Path) -> None:
    model = load_predictor(str(tiny_model))
    none = ImageHandlers(lambda: model)
    assert none.brought() == gr.skip()

    good, bad = tmp_path / "scan.png", tmp_path / "bad.png"
    IMAGE.save(good)
    bad.write_bytes(b"no picture")
    handlers = ImageHandlers(lambda: model, lambda: [bad, good])
    gallery = handlers.brought()
    assert gallery.visible
    assert len(gallery.value) == 1, "what is no picture is left out"

    event = gr.SelectData(None, {"index": 0, "value": None})
    answer = handlers.analyse_brought(event, None, *LOOK)
    assert answer.report["label"] in CLASS_NAMES
    assert answer.analysis.name == "scan"
