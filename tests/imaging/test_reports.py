import io
from dataclasses import replace

import numpy as np
from fakes.predictions import make_prediction
from pypdf import PdfReader

from busi_unet.imaging.overlay import draw_overlay
from busi_unet.imaging.reports import LIMITS, pdf_report

PROBABILITIES = {"normal": 0.021, "benign": 0.779, "malignant": 0.2}


def inputs(shape=(120, 160), lesions=1, spacing_mm=None, **others):
    image = np.full(shape, 90, np.uint8)
    mask = np.zeros(shape, dtype=bool)
    for number in range(lesions):
        top, left = 10 + 12 * (number // 12), 4 + 12 * (number % 12)
        mask[top : top + 9, left : left + 6] = True
    return {
        "name": "case12.png",
        "headline": "Benign (78 %), but flagged",
        "prediction": make_prediction(mask, image=image, probabilities=PROBABILITIES, spacing_mm=spacing_mm),
        "overlay": draw_overlay(image, mask),
        "model": "embedded weights 0.1.0",
        "date": "3 March 2026, 14:05",
        **others,
    }


def parsed(**content) -> tuple[PdfReader, str]:
    reader = PdfReader(io.BytesIO(pdf_report(**content)))
    (page,) = reader.pages
    return reader, " ".join(page.extract_text().split())


def test_everything_is_on_the_page():
    reader, text = parsed(
        **inputs(spacing_mm=(0.1, 0.2)),
        explanation=["Above the alert threshold."],
        summary=["Benign or malignant cannot be told apart at 90 % confidence."],
        comparison=["Dice 0.914"],
        warnings=["The image is very small."],
    )
    for expected in (
        "case12.png Benign (78 %), but flagged Above the alert threshold.",
        "3 March 2026, 14:05",
        "embedded weights 0.1.0",
        "2 %",
        "benign 78 %",
        "20 %",
        "1.2 × 0.9 mm",
        "1.1 mm²",
        "cannot be told apart at 90 %",
        "Comparison with a reference mask Dice 0.914",
        "With what the model outlined",
        "The image is very small.",
        " ".join(LIMITS.split()),
    ):
        assert expected in text
    assert len(reader.pages[0].images) == 2


def test_a_refusal_shows_no_probabilities():
    content = inputs(lesions=0)
    _, text = parsed(**content)
    assert "benign 78 %" in text and "No lesion was outlined." in text

    refused = replace(content["prediction"], label=None, probabilities=None)
    content |= {"headline": "Not analysed", "explanation": ["The image is blank."], "prediction": refused}
    _, text = parsed(**content)
    assert "Not analysed The image is blank." in text
    assert "%" not in text and "No lesion" not in text


def test_a_correction_is_not_called_the_models():
    _, text = parsed(**inputs(), corrected=True)
    assert "With the outline corrected by hand" in text
    assert "the model outlined" not in text


def test_many_lesions_and_long_texts_still_fit_one_page():
    model = "someone/" + "a-very-long-name" * 20
    _, text = parsed(**inputs(lesions=60) | {"model": model}, warnings=["A long warning. " * 30] * 12)
    assert "52 more lesions are not listed" in text and "Not a medical device" in text


def test_markup_is_text_and_letters_beyond_ascii_are_kept():
    hostile = '<img src="file:///etc/passwd"/> & <b>name</b>'
    reader, text = parsed(**inputs() | {"model": hostile})
    assert "<b>name</b>" in text
    assert len(reader.pages[0].images) == 2
    _, text = parsed(**inputs() | {"model": "Müller/größe ≤ 3 – “x”"})
    assert "Müller/größe ≤ 3 – “x”" in text
    _, text = parsed(**inputs() | {"model": "模 x"})
    assert "[U+6A21] x" in text
