"""The result for one image as a PDF of one page."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image
from reportlab import rl_config
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, Frame, KeepInFrame, Paragraph, Spacer, Table
from reportlab.platypus import Image as PageImage

from busi_unet.imaging.measure import Lesion, percent
from busi_unet.io.files import image_bytes

# Images as they are: written out in ASCII, the file is a quarter larger and takes seconds longer.
rl_config.useA85 = 0

TITLE = "Breast ultrasound: automatic analysis of one image"
LIMITS = (
    "Not a medical device: for research and teaching, not for diagnosis or treatment. The outline and "
    "the probabilities come from a neural network trained on small public data sets. It can miss lesions "
    "and draw false ones, most of all on images unlike those it was trained on. Measurements follow the "
    "outline, not a reader's calipers. Read the image itself."
)
MAX_LESIONS = 8

_MARGIN = 16 * mm
_IMAGE_HEIGHT = 78 * mm
# 300 dots an inch on half the page's width.
_IMAGE_PIXELS = 1100
_REGULAR, _BOLD = "Vera", "VeraBd"
# They ship with reportlab; the fonts every PDF reader knows would lack "≥" and most accents.
for _name in (_REGULAR, _BOLD):
    pdfmetrics.registerFont(TTFont(_name, f"{_name}.ttf"))
_DARK, _RULE, _MARK = (colors.HexColor(code) for code in ("#1f2933", "#9aa5b1", "#d55e00"))
_BODY = ParagraphStyle("body", fontName=_REGULAR, fontSize=8.5, leading=11.5, textColor=_DARK)
_NAME = ParagraphStyle("name", _BODY, fontName=_BOLD, fontSize=9.5, leading=13)
_TITLE = ParagraphStyle("title", _BODY, fontName=_BOLD, fontSize=13, leading=18, spaceAfter=1 * mm)
_HEADING = ParagraphStyle(
    "heading", _BODY, fontName=_BOLD, fontSize=9.5, spaceBefore=3 * mm, spaceAfter=1 * mm
)
_CELL = ParagraphStyle("cell", _BODY, fontSize=8, leading=10)
_HEAD_CELL = ParagraphStyle("head", _CELL, fontName=_BOLD)
_GRID = [
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LINEBELOW", (0, 0), (-1, -1), 0.4, _RULE),
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("TOPPADDING", (0, 0), (-1, -1), 2),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
]
# Heads of the table of measurements, with their shares of the width.
_COLUMNS = {
    "": 0.05,
    "Longest diameter × perpendicular": 0.27,
    "Across × depth": 0.21,
    "Area": 0.15,
    "Taller than wide": 0.14,
    "Below skin line": 0.18,
}


def pdf_report(
    *,
    name: str,
    headline: str,
    explanation: Sequence[str] = (),
    prediction: Any,
    overlay: Image.Image,
    model: str,
    date: str,
    corrected: bool = False,
    summary: Sequence[str] = (),
    comparison: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> bytes:
    """Return a PDF of one page: verdict, images, probabilities, measurements, warnings, origin and limits.

    Nothing else gets in: no clock, nothing of a DICOM header. Long text is wrapped, and the page as a whole
    is set smaller if it must be. The same input gives the same bytes.

    Args:
        explanation: sentences below the headline: why the image is flagged, or refused.
        prediction: a `Prediction`; the first 8 of its lesions are listed.
        overlay: RGB of size (W, H).
        model: name and version of the weights, and where they came from.
        corrected: the outline was corrected by hand, so it is not the model's.
        summary: sentences about the classes, such as the prediction set in words.
    """
    inner_width, inner_height = (side - 2 * _MARGIN for side in A4)
    story = [
        _text(TITLE),
        _verdict(name, headline, explanation, marked=prediction.flagged or prediction.label is None),
        _text(f"Date: {date}"),
        _text(f"Model: {model}"),
        Spacer(0, 3 * mm),
        _images(prediction.image, overlay, corrected, inner_width),
        *_result(prediction, summary),
        *_measurements(prediction, inner_width),
        *_section("Comparison with a reference mask", comparison),
        *_section("Warnings", warnings),
        *_section("Limits", [LIMITS]),
    ]
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=A4, invariant=1, lang="en")
    canvas.setTitle(TITLE)
    canvas.setCreator("busi_unet")
    frame = Frame(_MARGIN, _MARGIN, inner_width, inner_height, *[0] * 4)
    frame.addFromList([KeepInFrame(inner_width, inner_height, story, mode="shrink")], canvas)
    canvas.showPage()
    canvas.save()
    return file.getvalue()


def _text(text: str, style: ParagraphStyle = _BODY) -> Paragraph:
    # What the font lacks, such as Chinese in a model's name, would be empty boxes.
    glyphs = pdfmetrics.getFont(style.fontName).face.charToGlyph
    known = (char if char.isspace() or ord(char) in glyphs else f"[U+{ord(char):04X}]" for char in text)
    # Escaped: reportlab reads markup, and an <img> in a model's name would fetch a file.
    return Paragraph(escape("".join(known)), style)


def _verdict(name: str, headline: str, explanation: Sequence[str], *, marked: bool) -> Table:
    """Return the file's name and the verdict beside a bar, which is coloured where it is marked."""
    lines = [_text(name, _NAME), _text(headline, _TITLE), *map(_text, explanation)]
    bar = _MARK if marked else _RULE
    style = [("LINEBEFORE", (0, 0), (0, 0), 4, bar), ("LEFTPADDING", (0, 0), (0, 0), 10)]
    return Table([[lines]], hAlign="LEFT", style=style, spaceBefore=2 * mm, spaceAfter=3 * mm)


def _section(heading: str, sentences: Sequence[str]) -> list[Flowable]:
    return [_text(heading, _HEADING), *map(_text, sentences)] if sentences else []


def _images(image: np.ndarray, overlay: Image.Image, corrected: bool, width: float) -> Table:
    column = (width - 4 * mm) / 2
    images = [_scaled(image, column) for image in (Image.fromarray(image), overlay)]
    outlined = "With the outline corrected by hand" if corrected else "With what the model outlined"
    captions = [_text("The image as analysed", _CELL), _text(outlined, _CELL)]
    table = Table([images, captions], colWidths=[column + 4 * mm, column], hAlign="LEFT")
    table.setStyle([("LEFTPADDING", (0, 0), (-1, -1), 0), ("RIGHTPADDING", (0, 0), (-1, -1), 0)])
    return table


def _scaled(image: Image.Image, width: float) -> PageImage:
    shown = image.copy()
    shown.thumbnail((_IMAGE_PIXELS, _IMAGE_PIXELS))
    file = io.BytesIO(image_bytes(shown, "PNG", compress_level=1))
    return PageImage(file, width, _IMAGE_HEIGHT, kind="proportional", hAlign="LEFT")


def _result(prediction: Any, summary: Sequence[str]) -> list[Flowable]:
    if prediction.label is None:
        return []
    rows = [
        [_text(name, _HEAD_CELL if name == prediction.label else _CELL), _text(percent(share), _CELL)]
        for name, share in prediction.probabilities.items()
    ]
    table = Table(rows, colWidths=[40 * mm, 25 * mm], hAlign="LEFT", style=_GRID)
    heading = _text("Class probabilities", _HEADING)
    return [heading, table, Spacer(0, 1.5 * mm), *map(_text, summary)]


def _measurements(prediction: Any, width: float) -> list[Flowable]:
    lesions = prediction.measurements
    if prediction.label is None:
        return []
    if not lesions:
        return _section("Measurements", ["No lesion was outlined."])
    rows = [[_text(head, _HEAD_CELL) for head in _COLUMNS]]
    for number, lesion in enumerate(lesions[:MAX_LESIONS], start=1):
        diameters = lesion.lengths("longest_diameter", "perpendicular")
        extents = lesion.lengths("width", "height")
        cells = (f"{number}", diameters, extents, lesion.area_text, lesion.shape_text, lesion.skin_text)
        rows.append([_text(cell, _CELL) for cell in cells])
    widths = [share * width for share in _COLUMNS.values()]
    table = Table(rows, colWidths=widths, hAlign="LEFT", style=_GRID)
    return [_text("Measurements", _HEADING), table, Spacer(0, 1.5 * mm), *map(_text, _footnotes(lesions))]


def _footnotes(lesions: Sequence[Lesion]) -> list[str]:
    notes = []
    if len(lesions) > MAX_LESIONS:
        notes.append(f"{len(lesions) - MAX_LESIONS} more lesions are not listed here.")
    if lesions[0].unit == "px":
        notes.append(
            "px: pixels of the image. The size of a pixel is not known, so there are no millimetres."
        )
    else:
        down, across = lesions[0].spacing_mm
        notes.append(f"Lengths assume a pixel size of {across:.4g} mm across and {down:.4g} mm in depth.")
    if any(lesion.skin_at_edge for lesion in lesions[:MAX_LESIONS]):
        notes.append("≥: tissue reaches the upper edge of the image, which is taken for the skin line.")
    return notes
