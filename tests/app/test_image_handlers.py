import html
import re
import zipfile
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import gradio as gr
import numpy as np
import pypdf
import pytest
from fakes.dicom_files import dicom, region
from fakes.image_files import encoded
from PIL import Image, ImageDraw

from busi_unet.app import text
from busi_unet.app.analysis import Look
from busi_unet.app.image_handlers import result_name
from busi_unet.app.newest import Newest
from busi_unet.data.phantom import make_phantom
from busi_unet.errors import BusiUNetError, UsageError
from busi_unet.imaging import quality
from busi_unet.io.decode import decode_image

IMAGE = Image.fromarray(make_phantom("benign", seed=1, size=(72, 120)).image)
LOOK = Look()
REQUEST = gr.Request(session_hash="visitor")


def _turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown a quarter turn clockwise
    return encoded(IMAGE, "JPEG", exif=exif)


def _pixels(path: str) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(encoded(IMAGE.convert("P")), id="palette PNG"),
        pytest.param(_turned(), id="turned JPEG"),
        pytest.param(dicom(np.asarray(IMAGE)), id="DICOM"),
    ],
)
def test_the_overlay_is_of_the_decoded_image_whatever_the_file(handlers, content, upload, shown):
    pixels = decode_image(content)
    # No ending tells what it is.
    answer = shown(handlers.analyse(upload(content, "IM0001"), None))

    np.testing.assert_array_equal(_pixels(answer["original"]), pixels)
    assert _pixels(answer["overlay"]).shape == (*pixels.shape, 3)
    assert sum(answer["report"]["probabilities"].values()) == pytest.approx(1)
    assert (answer["report"]["height"], answer["report"]["width"]) == pixels.shape


@pytest.mark.parametrize("content", [b"hello", b"", encoded(IMAGE)[:2000], None])
def test_a_bad_file_is_one_sentence(handlers, content, upload):
    path = content if content is None else upload(content)
    with pytest.raises(gr.Error) as caught:
        handlers.predict(path)
    assert caught.value.print_exception is False and "Traceback" not in caught.value.message

    newest = Newest()
    handlers.take(1, newest, partial(handlers.analyse, path, None), LOOK)
    handlers.run(newest)
    with pytest.warns(UserWarning):
        answer = handlers.show(newest, REQUEST)
    assert text.NOT_ANALYSED in answer["verdict"] and html.escape(caught.value.message) in answer["verdict"]
    assert answer["overlay"] is answer["kept"] is answer["original"] is None


def test_a_new_image_is_shown_in_one_go(handlers, upload):
    newest, analyse = Newest(), partial(handlers.analyse, upload(IMAGE), 0.1)
    waiting = handlers.take(1, newest, analyse, LOOK)
    assert text.ANALYSING in waiting["verdict"] and waiting["kept"] is None
    assert handlers.take(0, newest, analyse, LOOK) == {}, "an older event"

    handlers.run(newest)
    answer = handlers.show(newest, REQUEST)
    assert answer["number"] == answer["kept"].number == 1
    assert Image.open(answer["overlay"]).size == Image.open(answer["original"]).size == IMAGE.size
    assert answer["kept"].pixel_size_mm == answer["pixel_size"].value == 0.1
    assert answer["reference"] is answer["editor"] is answer["files"] is None
    assert handlers.show(newest, REQUEST) == {}

    look = Look("Uncertainty", opacity=0.5)
    clicked = gr.EventData(None, answer["recent"][0])
    go_back = partial(handlers.go_back, None, event=clicked, session=REQUEST.session_hash)
    handlers.take(2, newest, go_back, look)
    handlers.run(newest)
    again = handlers.show(newest, REQUEST)
    assert again["kept"].look == look and "bit" in again["legend"], "as the page's controls say"
    assert again["kept"].pixel_size_mm == 0.1 and again["recent"] == answer["recent"]


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


def test_a_row_of_a_batch_opens_its_own_image(handlers, upload, tmp_path):
    blank = Image.new("L", (60, 40), 90)
    with zipfile.ZipFile(tmp_path / "study.zip", "w") as study:
        study.write(upload(IMAGE), "a.png")
        study.write(upload(blank), "b.png")
    paths = [upload(IMAGE), str(tmp_path / "study.zip")]

    def row(*values: Any) -> gr.EventData:
        return gr.EventData(None, {"index": (0, 0), "value": None, "row_value": values})

    opened = handlers.analyse_row(paths, None, event=row(3, "study.zip/b.png"))
    assert opened.source.is_file() and opened.source_name == "b.png"
    np.testing.assert_array_equal(opened.image.pixels, blank)
    for other in (row(2, "study.zip/b.png"), row(4, "c.png")):
        with pytest.raises(UsageError, match=re.escape(text.BATCH_CHANGED[0])):
            handlers.analyse_row(paths, None, event=other)


def test_a_pixel_size_typed_before_counts_unless_the_file_has_its_own(handlers, upload, shown):
    known = dicom(np.asarray(IMAGE), SequenceOfUltrasoundRegions=[region((0, 0, 119, 71))])
    assert handlers.analyse(upload(IMAGE), 0.2).pixel_size_mm == 0.2
    own = handlers.analyse(upload(known), 0.2)
    assert own.pixel_size_mm is None and own.image.spacing_mm == (0.1, 0.1)
    assert shown(own)["report"]["pixel_size_from"] == "file"


def test_a_part_is_a_new_image_of_the_same_scale(handlers, upload):
    file = dicom(np.asarray(IMAGE), SequenceOfUltrasoundRegions=[region((0, 0, 119, 71))])
    analysis = handlers.analyse(upload(file, "scan.dcm"), None)
    part = handlers.analyse_part(analysis, "20,10,100,60")
    assert part.name == "scan (cropped)" and not part.in_box
    assert (part.image.pixels == np.asarray(IMAGE)[10:60, 20:100]).all()
    assert part.image.spacing_of(np.ones((50, 80), bool))[0] == (0.1, 0.1)
    right = handlers.analyse_panel(1, replace(part, panels=((0, 0, 40, 40), (40, 0, 80, 50))))
    assert right.name == "scan (cropped)" and right.image.pixels.shape == (50, 40)
    with pytest.raises(BusiUNetError, match="16 pixels"):
        handlers.analyse_part(analysis, "20,10,25,60")
    with pytest.raises(UsageError, match="box"):
        handlers.analyse_part(analysis, "")


def test_the_page_shows_a_large_image_reduced_and_crops_it_where_it_was_drawn(
    handlers, analysis, shown, monkeypatch
):
    monkeypatch.setattr(quality, "_LOOKED_OVER", 40)
    answer = shown(analysis)
    assert [Image.open(answer[name]).size for name in ("original", "overlay")] == [(60, 36)] * 2
    assert answer["report"]["width"] == 120
    part = handlers.analyse_part(analysis, "10,5,50,30")
    assert (part.image.pixels == np.asarray(IMAGE)[10:60, 20:100]).all()


def test_text_that_may_identify_the_patient_is_told_and_blackened(handlers, upload, shown):
    named = Image.new("L", (200, 140))
    named.paste(IMAGE, (40, 60))
    ImageDraw.Draw(named).text((10, 10), "DOE, JANE", fill=220)
    analysis = handlers.analyse(upload(named), None)
    answer = shown(analysis)
    assert answer["blacken"].visible and "top left" in answer["share"]
    assert answer["share"] in answer["findings"] and answer["report"]["text_boxes"]
    left, top, right, bottom = map(int, answer["crop_box"].split(","))
    assert abs(left - 40) < 5 and abs(top - 60) < 5 and abs(right - 160) < 5 and abs(bottom - 132) < 5

    black = handlers.analyse_blackened(analysis)
    assert black.name == "upload (blackened)" and not black.image.pixels[:50].any()
    assert (black.image.pixels[60:] == analysis.image.pixels[60:]).all()
    answer = shown(black)
    assert not answer["blacken"].visible and answer["share"]
    # Calipers on the outline, which covers the whole scan here.
    with pytest.raises(UsageError):
        handlers.analyse_blackened(replace(analysis, text_boxes=((60, 80, 90, 100),)))


def test_a_clip_is_read_at_the_frame_asked_for(handlers, actions, upload, shown):
    frames = np.stack([np.asarray(IMAGE), np.asarray(IMAGE)[::-1], np.asarray(IMAGE)[:, ::-1]])
    clip = upload(dicom(frames, frames=3))
    answer = shown(handlers.analyse(clip, None, 2))

    np.testing.assert_array_equal(_pixels(answer["original"]), frames[1])
    slider = answer["clip_frame"]
    assert (slider.value, slider.maximum, slider.visible) == (2, 3, True)
    report = actions.downloads(answer["kept"], [], None, *asdict(LOOK).values())["files"][2]
    printed = pypdf.PdfReader(report).pages[0].extract_text()
    for output in (answer["findings"], " ".join(answer["report"]["remarks"]), printed):
        assert "frame 2 of 3" in output
    newest = Newest()
    waiting = handlers.take(1, newest, partial(handlers.analyse, clip, None, 3), LOOK, frame_moves=True)
    handlers.run(newest)
    assert "clip_frame" not in waiting and "clip_frame" not in handlers.show(newest, REQUEST)


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
