from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from dicom_files import dicom
from PIL import Image

import busi_unet.interface.handlers
from busi_unet.config import CLASS_NAMES
from busi_unet.data.phantom import make_phantom
from busi_unet.errors import IncompatibleBundleError
from busi_unet.imaging.decode import Frame, decode_image
from busi_unet.imaging.quality import picture_warnings
from busi_unet.interface.handlers import Handlers, nothing

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
def handlers(tiny_bundle: Path) -> Handlers:
    return Handlers(str(tiny_bundle))


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
def test_every_format_gives_an_overlay_of_the_decoded_frame(handlers: Handlers, content: bytes) -> None:
    frame = decode_image(content)
    answer = handlers.analyse(content)

    np.testing.assert_array_equal(np.asarray(answer.original), frame)
    assert answer.overlay.size == answer.original.size
    assert sum(answer.probabilities.values()) == pytest.approx(1)
    assert (answer.report["height"], answer.report["width"]) == frame.shape
    assert answer.report["weights"]["kind"] == "folder"


def test_overlay_leaves_everything_outside_the_mask_as_it_is(handlers: Handlers) -> None:
    frame = np.asarray(PICTURE)
    answer = handlers.analyse(_encode(PICTURE, "PNG"))
    mask = handlers.model.predictor.predict(frame).mask
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
def test_a_bad_file_is_one_sentence(handlers: Handlers, content: bytes | None, sentence: str) -> None:
    with pytest.raises(gr.Error) as caught:
        handlers.analyse(content)

    assert caught.value.message == sentence
    assert caught.value.print_exception is False


def test_no_weights_at_all_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(requested: str | None) -> None:
        raise IncompatibleBundleError("The weights are gone.", "Install again.")

    monkeypatch.setattr(busi_unet.interface.handlers, "load_model", fail)

    with pytest.raises(gr.Error, match=r"The weights are gone\. Install again\."):
        Handlers().analyse(_encode(PICTURE, "PNG"))


def test_a_refused_picture_has_reasons_and_no_probabilities(handlers: Handlers) -> None:
    answer = handlers.analyse(_encode(Image.new("L", (60, 40), 90), "PNG"))

    assert answer.probabilities is None
    assert answer.report["refused"] is True
    assert "Not analysed" in answer.findings
    assert answer.report["reasons"][0] in answer.findings
    assert (np.asarray(answer.overlay) == 90).all()


def test_what_is_odd_about_a_picture_is_said(handlers: Handlers) -> None:
    faint = np.full((160, 200), 100, dtype=np.uint8)
    faint[::2] += 10

    findings = handlers.analyse(_encode(Image.fromarray(faint), "PNG")).findings

    (warning,) = picture_warnings(Frame(faint))
    assert findings.startswith(f"> {warning}")


def test_the_model_is_loaded_once_and_on_first_use(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    load_model = busi_unet.interface.handlers.load_model
    monkeypatch.setattr(
        busi_unet.interface.handlers,
        "load_model",
        lambda requested: calls.append(requested) or load_model(requested),
    )
    handlers = Handlers(str(tiny_bundle))
    assert calls == []

    handlers.analyse(_encode(PICTURE, "PNG"))
    handlers.analyse(_encode(PICTURE, "PNG"))
    assert calls == [str(tiny_bundle)]


def test_a_notice_comes_first_and_is_in_the_report(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("busi_unet.predictor.EMBEDDED", tiny_bundle)

    answer = Handlers("someone/busi").analyse(_encode(PICTURE, "PNG"))

    assert answer.findings.startswith("> The model someone/busi is not in use")
    assert answer.report["weights"]["kind"] == "embedded"
    assert "someone/busi" in answer.report["weights"]["notice"]


@pytest.mark.parametrize("index", range(3))
def test_an_example_is_analysed_and_called_synthetic(handlers: Handlers, index: int) -> None:
    answer = handlers.analyse_example(gr.SelectData(None, {"index": index, "value": None}))

    assert f"Synthetic example, drawn as {CLASS_NAMES[index]}." in answer.findings
    assert answer.overlay.size == answer.original.size


def test_nothing_clears_every_output() -> None:
    assert nothing("Gone.") == (None, None, None, "Gone.", None)
