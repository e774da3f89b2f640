from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pypdf
import pytest
from dicom_files import dicom
from PIL import Image

from busi_unet.config import CLASS_NAMES
from busi_unet.data.phantom import make_phantom
from busi_unet.errors import IncompatibleBundleError
from busi_unet.imaging.decode import Frame, decode_image
from busi_unet.imaging.quality import picture_warnings
from busi_unet.interface.analysis import VIEWS, Look
from busi_unet.interface.model import LazyModel, ModelInUse
from busi_unet.interface.picture_handlers import (
    BRUSH_COLOR,
    BRUSH_OPACITY,
    LAYOUTS,
    Answer,
    Drawing,
    PictureHandlers,
    nothing,
)

PICTURE = Image.fromarray(make_phantom("benign", seed=1, size=(72, 120)).image)


def _encode(picture: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format, **options)
    return stream.getvalue()


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    return _encode(PICTURE, "JPEG", exif=exif)


def _sixteen_bit() -> Image.Image:
    return Image.fromarray(np.asarray(PICTURE).astype(np.uint16) * 257)


@pytest.fixture
def handlers(tiny_bundle: Path) -> PictureHandlers:
    return PictureHandlers(LazyModel(str(tiny_bundle)))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(_encode(PICTURE, "PNG"), id="grey PNG"),
        pytest.param(_encode(PICTURE.convert("RGBA"), "PNG"), id="PNG with alpha"),
        pytest.param(_encode(PICTURE.convert("P"), "PNG"), id="palette PNG"),
        pytest.param(_encode(_sixteen_bit(), "PNG"), id="16-bit PNG"),
        pytest.param(_encode(_sixteen_bit(), "TIFF"), id="16-bit TIFF"),
        pytest.param(_encode(PICTURE.convert("RGB"), "JPEG"), id="RGB JPEG"),
        pytest.param(_encode(PICTURE.convert("RGB"), "WEBP"), id="RGB WebP"),
        pytest.param(_encode(PICTURE.convert("RGB"), "BMP"), id="RGB BMP"),
        pytest.param(_turned(), id="turned JPEG"),
        pytest.param(dicom(np.asarray(PICTURE)), id="DICOM"),
    ],
)
def test_every_format_gives_an_overlay_of_the_decoded_frame(
    handlers: PictureHandlers, content: bytes
) -> None:
    frame = decode_image(content)
    answer = handlers.analyse(content)

    np.testing.assert_array_equal(np.asarray(answer.original), frame)
    assert answer.overlay.size == answer.original.size
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert (answer.report["height"], answer.report["width"]) == frame.shape
    assert answer.report["weights"]["kind"] == "folder"


def test_overlay_leaves_everything_outside_the_mask_as_it_is(handlers: PictureHandlers) -> None:
    frame = np.asarray(PICTURE)
    answer = handlers.analyse(_encode(PICTURE, "PNG"))
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
            _encode(PICTURE, "PNG")[:2000],
            "The file is damaged or cut short. Export or copy the picture again.",
        ),
        (
            _encode(Image.new("1", (9000, 9000)), "PNG"),
            "The file is far too large (9000×9000 pixels). Use a picture of at most 50 million pixels.",
        ),
        (None, "No picture was given. Choose one and try again."),
    ],
)
def test_a_bad_file_is_one_sentence(handlers: PictureHandlers, content: bytes | None, sentence: str) -> None:
    with pytest.raises(gr.Error) as caught:
        handlers.analyse(content)

    assert caught.value.message == sentence
    assert caught.value.print_exception is False


def test_no_weights_at_all_is_one_sentence() -> None:
    def fail() -> ModelInUse:
        raise IncompatibleBundleError("The weights are gone.", "Install again.")

    with pytest.raises(gr.Error, match=r"The weights are gone\. Install again\."):
        PictureHandlers(fail).analyse(_encode(PICTURE, "PNG"))


def test_a_refused_picture_has_reasons_and_no_probabilities(handlers: PictureHandlers) -> None:
    answer = handlers.analyse(_encode(Image.new("L", (60, 40), 90), "PNG"))

    assert answer.probabilities is None
    assert answer.report["refused"] is True
    assert "Not analysed" in answer.findings
    assert answer.report["reasons"][0] in answer.findings
    assert (np.asarray(answer.overlay) == 90).all()


def test_what_is_odd_about_a_picture_is_said(handlers: PictureHandlers) -> None:
    faint = np.full((160, 200), 100, dtype=np.uint8)
    faint[::2] += 10

    findings = handlers.analyse(_encode(Image.fromarray(faint), "PNG")).findings

    (warning,) = picture_warnings(Frame(faint))
    assert findings.startswith(f"> {warning}")


def test_a_notice_comes_first_and_is_in_the_report(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("busi_unet.predictor.EMBEDDED", tiny_bundle)

    answer = PictureHandlers(LazyModel("someone/busi")).analyse(_encode(PICTURE, "PNG"))

    assert answer.findings.startswith("> The model someone/busi is not in use")
    assert answer.report["weights"]["kind"] == "embedded"
    assert "someone/busi" in answer.report["weights"]["notice"]


@pytest.mark.parametrize("index", range(3))
def test_an_example_is_analysed_and_called_synthetic(handlers: PictureHandlers, index: int) -> None:
    look = (Look.view, Look.color, Look.opacity, Look.diameters)
    answer = handlers.analyse_example(gr.SelectData(None, {"index": index, "value": None}), *look)

    assert f"Synthetic example, drawn as {CLASS_NAMES[index]}." in answer.findings
    assert answer.overlay.size == answer.original.size


def test_nothing_clears_every_output() -> None:
    assert nothing("Gone.") == (None, None, None, "Gone.", None, None)


LOOK = (Look.view, Look.color, Look.opacity, Look.diameters)


@pytest.fixture
def answer(handlers: PictureHandlers) -> Answer:
    return handlers.analyse(_encode(PICTURE, "PNG"))


def _redraw(handlers: PictureHandlers, answer: Answer, **changed: Any) -> Drawing:
    own = handlers._model().predictor.config.thresholds.mask
    settings = {"threshold": own, "layout": LAYOUTS[0], "view": Look.view, **changed}
    view = settings.pop("view")
    return handlers.redraw(answer.analysis, *settings.values(), view, *LOOK[1:])


def test_a_redraw_with_nothing_changed_is_the_answer(handlers: PictureHandlers, answer: Answer) -> None:
    drawing = _redraw(handlers, answer)

    assert drawing.report == answer.report
    assert drawing.findings == answer.findings
    assert drawing.overlay.tobytes() == answer.overlay.tobytes()
    assert len(drawing.measurements) == len(answer.report["measurements"])


def test_no_redraw_asks_the_network(
    handlers: PictureHandlers, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers._model().predictor, "run", None)
    pictures = {_redraw(handlers, answer, view=view).overlay.tobytes() for view in VIEWS}

    # The edge range is not calibrated here and falls back to the outline and its tint.
    assert len(pictures) >= len(VIEWS) - 1


def test_a_threshold_set_by_hand_wins_over_the_models_rules(
    handlers: PictureHandlers, answer: Answer
) -> None:
    everything = _redraw(handlers, answer, threshold=0.05)
    nothing_left = _redraw(handlers, answer, threshold=0.95)

    low, high = everything.report["lesion_area_px"], nothing_left.report["lesion_area_px"]
    assert low > answer.report["lesion_area_px"] > high or low > high
    assert "threshold set by hand (0.05)" in everything.findings
    assert everything.report["threshold_by_hand"] == 0.05
    assert everything.report["probabilities"] == answer.report["probabilities"]
    assert _redraw(handlers, Answer(*answer[:5], everything.analysis)).report == answer.report


def test_a_typed_pixel_size_measures_in_millimetres(handlers: PictureHandlers, answer: Answer) -> None:
    threshold = 0.3
    pixels = _redraw(handlers, answer, threshold=threshold)
    analysis = handlers.measure_in_mm(answer.analysis, 0.1)
    millimetres = _redraw(handlers, Answer(*answer[:5], analysis), threshold=threshold)

    assert pixels.measurements[0][1].endswith("px")
    assert millimetres.measurements[0][1].endswith("mm²")
    area = pixels.report["measurements"][0]["area_px"]
    assert millimetres.report["measurements"][0]["area_mm2"] == pytest.approx(area / 100)
    with pytest.raises(gr.Error, match="A pixel of 50 mm is not plausible"):
        handlers.measure_in_mm(answer.analysis, 50)
    assert handlers.measure_in_mm(analysis, 0).pixel_size_mm is None


def test_the_slider_gets_a_pair_of_one_size(handlers: PictureHandlers, answer: Answer) -> None:
    left, right = _redraw(handlers, answer, layout=LAYOUTS[1]).pair

    assert left.size == right.size == PICTURE.size


def test_a_forgotten_picture_leaves_an_empty_page(handlers: PictureHandlers) -> None:
    drawing = handlers.redraw(None, 0.5, LAYOUTS[0], *LOOK)

    assert drawing.overlay is None and drawing.analysis is None and drawing.measurements == []


def test_a_refused_picture_is_analysed_when_the_visitor_insists(handlers: PictureHandlers) -> None:
    blank = _encode(Image.new("L", (60, 40), 90), "PNG")
    refused = handlers.analyse(blank)
    assert handlers.settle(refused.analysis)[2].visible is True

    analysis, button = handlers.analyse_again(refused.analysis)
    drawing = _redraw(handlers, Answer(*refused[:5], analysis))

    assert button.visible is False
    assert "Analysed all the same" in drawing.findings
    assert sum(drawing.probabilities.values()) == pytest.approx(1)
    assert drawing.report["refused"] is True
    assert handlers.analyse(blank, analyse_anyway=True).report == drawing.report


def test_a_clip_is_read_at_the_frame_asked_for(handlers: PictureHandlers) -> None:
    frames = np.stack([np.asarray(PICTURE), np.asarray(PICTURE)[::-1], np.asarray(PICTURE)[:, ::-1]])
    answer = handlers.analyse(dicom(frames, frames=3), 2)

    np.testing.assert_array_equal(np.asarray(answer.original), frames[1])
    slider = handlers.settle(answer.analysis)[0]
    assert (slider.value, slider.maximum, slider.visible) == (2, 3, True)
    with pytest.raises(gr.Error, match=r"no frame number 9, counted from 1\. It has 3"):
        handlers.analyse(dicom(frames, frames=3), 9)


def test_settings_of_a_picture_without_clip_or_refusal(handlers: PictureHandlers, answer: Answer) -> None:
    slider, threshold, anyway, size, *emptied = handlers.settle(answer.analysis)

    assert slider.visible is False and anyway.visible is False
    assert threshold.value == handlers._model().predictor.config.thresholds.mask
    assert size.value is None
    assert emptied == [None] * 5


def test_comparing_with_the_outline_itself_agrees_wholly(handlers: PictureHandlers, answer: Answer) -> None:
    drawing = _redraw(handlers, answer, threshold=0.3)
    mask = drawing.analysis.predict(handlers._model().predictor).mask
    assert mask.any()

    analysis = handlers.compare(drawing.analysis, _encode(Image.fromarray(mask), "PNG"))
    drawing = _redraw(handlers, Answer(*answer[:5], analysis), threshold=0.3)

    assert "Dice **1.000**" in drawing.agreement
    assert drawing.agreement_picture.size == PICTURE.size
    cleared = handlers.compare(drawing.analysis, None)
    assert _redraw(handlers, Answer(*answer[:5], cleared)).agreement_picture is None


def test_a_reference_of_another_size_is_one_sentence(handlers: PictureHandlers, answer: Answer) -> None:
    with pytest.raises(gr.Error, match="size"):
        handlers.compare(answer.analysis, _encode(Image.new("L", (10, 10)), "PNG"))
    with pytest.raises(gr.Error, match="no picture to work on"):
        handlers.compare(None, _encode(Image.new("L", (10, 10)), "PNG"))


def test_what_is_painted_is_measured_and_given_as_a_training_pair(
    handlers: PictureHandlers, answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    layer = np.zeros((72, 120, 4), dtype=np.uint8)
    layer[10:30, 20:60] = (*BRUSH_COLOR, round(255 * BRUSH_OPACITY))
    analysis = handlers.correct(answer.analysis, {"background": np.zeros((72, 120, 3)), "layers": [layer]})
    drawing = _redraw(handlers, Answer(*answer[:5], analysis))

    assert drawing.report["lesion_area_px"] == 800
    assert drawing.report["corrected_by_hand"] is True
    assert "corrected by hand" in drawing.findings
    with zipfile.ZipFile(handlers.training_pair(drawing.analysis, "benign")) as pair:
        assert sorted(pair.namelist()) == ["benign/picture.png", "benign/picture_mask.png"]
        mask = np.asarray(Image.open(pair.open("benign/picture_mask.png")))
        np.testing.assert_array_equal(np.asarray(Image.open(pair.open("benign/picture.png"))), PICTURE)
    np.testing.assert_array_equal(mask, layer[..., 3].astype(bool) * 255)
    with pytest.raises(gr.Error, match="class of the training pair is not chosen"):
        handlers.training_pair(drawing.analysis, None)
    dropped = handlers.drop_correction(drawing.analysis)
    assert _redraw(handlers, Answer(*answer[:5], dropped)).report == answer.report


def test_the_editor_starts_from_the_outline(handlers: PictureHandlers, answer: Answer) -> None:
    with_lesion = _redraw(handlers, answer, threshold=0.3).analysis
    painting = handlers.start_correction(with_lesion)
    layers = [np.asarray(layer) for layer in painting["layers"]]
    corrected = handlers.correct(with_lesion, {**painting, "layers": layers}).corrected

    np.testing.assert_array_equal(corrected, with_lesion.predict(handlers._model().predictor).mask)
    with pytest.raises(gr.Error, match="nothing painted yet"):
        handlers.correct(with_lesion, {"background": None, "layers": [], "composite": None})


def test_the_downloads_say_what_the_page_says(
    handlers: PictureHandlers, answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    drawing = _redraw(handlers, answer, threshold=0.3)
    paths = [Path(path) for path in handlers.downloads(drawing.analysis, *LOOK)]

    assert [path.name for path in paths] == ["mask.png", "overlay.png", "result.json", "report.pdf"]
    mask = np.asarray(Image.open(paths[0]))
    assert set(np.unique(mask)) <= {0, 255}
    assert (mask > 0).sum() == drawing.report["lesion_area_px"]
    assert Image.open(paths[1]).tobytes() == drawing.overlay.tobytes()
    result = json.loads(paths[2].read_text(encoding="utf-8"))
    assert result.pop("date")
    assert result == json.loads(json.dumps(drawing.report))
    text = pypdf.PdfReader(paths[3]).pages[0].extract_text()
    assert "threshold set by hand (0.30)" in " ".join(text.split())


def test_a_link_opens_the_kept_result(handlers: PictureHandlers, answer: Answer) -> None:
    name = handlers.keep(_redraw(handlers, answer, threshold=0.3).analysis)
    opened = handlers.open_kept(_Request(result=name))

    assert opened.report["threshold_by_hand"] == 0.3
    assert "Opened from a link." in opened.findings
    assert handlers.open_kept(_Request()) == nothing()
    with pytest.warns(UserWarning, match="no longer kept"):
        assert handlers.open_kept(_Request(result="someone-elses")) == nothing()


class _Request:
    """The part of `gr.Request` that tells the page's address."""

    def __init__(self, **query: str) -> None:
        self.query_params = query
