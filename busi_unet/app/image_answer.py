"""What the page shows of an analysis, the value of each component by name; and the files made of it."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr
import numpy as np
from PIL import Image

from busi_unet.app import text
from busi_unet.app.analysis import Analysis, draw, mark, measurement_row
from busi_unet.app.answers import answer_folder, as_file, for_page
from busi_unet.app.clip import no_clip, offer_clip
from busi_unet.app.model import ModelInUse
from busi_unet.config import CLASS_NAMES, Thresholds
from busi_unet.errors import UsageError
from busi_unet.imaging.agreement import Agreement
from busi_unet.imaging.formats import Result, files_of
from busi_unet.imaging.overlay import draw_agreement
from busi_unet.imaging.quality import reduction, scan_box, text_remark
from busi_unet.imaging.regions import mask_image, trace_contours
from busi_unet.io.html import render

if TYPE_CHECKING:
    from busi_unet.inference.prediction import Prediction

Answer = dict[str, Any]
"""Values of components by name; those that are not in it stay as they are."""

THRESHOLD_ON = {"interactive": True, "info": text.THRESHOLD_INFO}
THRESHOLD_OFF = {"interactive": False, "info": text.THRESHOLD_UNUSED}
_FORGOTTEN: Answer = {
    **dict.fromkeys(("reference", "editor", "files", "pair_file")),
    "mode": text.LESION_HERE,
    "hint": text.CORRECT_HINT,
    "brush": gr.update(visible=False),
}


class PublicAnswer(NamedTuple):
    """What a program is answered with, in this order; `ImageHandlers.predict` tells what each is."""

    overlay: str
    probabilities: dict[str, float] | None
    report: dict[str, Any]
    findings: str
    mask: str | None
    contours: list[list[list[int]]] | None


def public_answer(analysis: Analysis, model: ModelInUse) -> PublicAnswer:
    """Return an analysis as the API gives it."""
    prediction = analysis.predict(model.predictor)
    found = text.describe(prediction, model.predictor.config, model.benign_flagged)
    refused = prediction.label is None
    return PublicAnswer(
        overlay=as_file(draw(prediction, analysis.look), "overlay"),
        probabilities=prediction.probabilities,
        report=report(analysis, model, prediction, analysis.compare(prediction)),
        findings=findings(analysis, model, prediction, found),
        mask=None if refused else as_file(mask_image(prediction.mask), "mask"),
        contours=None if refused else [contour.tolist() for contour in trace_contours(prediction.mask)],
    )


def drawing(analysis: Analysis, model: ModelInUse) -> Answer:
    """Return all that depends on how an analysis is looked at; the network is not asked."""
    return _drawing(analysis, model, analysis.predict(model.predictor))


def _drawing(analysis: Analysis, model: ModelInUse, prediction: Prediction) -> Answer:
    agreement = analysis.compare(prediction)
    drawn, shared = draw(prediction, analysis.look), None
    if agreement is not None:
        both = draw_agreement(prediction.image, prediction.mask, analysis.reference.pixels)
        shared = as_file(for_page(both), f"{analysis.file_name}_agreement")
    return {
        "overlay": as_file(for_page(mark(drawn, analysis.corner)), f"{analysis.file_name}_overlay"),
        "legend": text.describe_view(prediction, analysis.look.view),
        "report": report(analysis, model, prediction, agreement),
        "verdict": verdict(analysis, model, prediction),
        "findings": findings(
            analysis, model, prediction, text.details(prediction, model.predictor.config.calibration)
        ),
        **_tools(analysis, refused=prediction.label is None),
        "measurements": [measurement_row(*each) for each in enumerate(prediction.measurements, start=1)],
        "agreement": agreement_in_words(analysis, agreement),
        "agreement_image": shared,
    }


def whole(analysis: Analysis, model: ModelInUse) -> Answer:
    """Return all that a new image changes; the controls that belong to the one before start anew."""
    image, prediction = analysis.image, analysis.predict(model.predictor)
    # That of the region that holds the outline, by which it is measured.
    spacing_mm = image.spacing_of(prediction.mask)[0] or image.spacing_mm
    info = text.PIXEL_SIZE_INFO if spacing_mm is None else text.spacing_info(*spacing_mm)
    own = model.predictor.config.thresholds.mask
    # Drawn over what the page shows.
    crop_box = np.array(scan_box(image.pixels)) // reduction(image.pixels.shape)
    return {
        **_drawing(analysis, model, prediction),
        **_FORGOTTEN,
        "kept": analysis,
        "original": _original(analysis),
        **offer_clip(image.frames, analysis.number, in_box=analysis.in_box),
        "clip_frame": gr.Slider(
            value=image.index + 1,
            maximum=max(2, image.frames),
            visible=image.frames > 1 and analysis.in_box,
        ),
        "threshold": gr.Slider(value=own, **THRESHOLD_ON),
        "pixel_size": gr.Number(value=analysis.pixel_size_mm, info=info),
        "crop_box": ",".join(map(str, crop_box)),
    }


def _tools(analysis: Analysis | None, *, refused: bool = False) -> Answer:
    """Return the buttons for what an image needs first, and why it is not to be shared as it is."""
    boxes, panels = (analysis.text_boxes, analysis.panels) if analysis else ((), ())
    share = text_remark(boxes, analysis.image.pixels.shape) if boxes else ""
    if analysis and not share and analysis.name.endswith(text.BLACKENED):
        share = text.LOOK_FOR_TEXT
    return {
        "anyway": gr.Button(visible=refused),
        "crop_start": gr.Button(visible=refused or bool(boxes or panels)),
        "left": gr.Button(visible=bool(panels)),
        "right": gr.Button(visible=bool(panels)),
        "blacken": gr.Button(visible=bool(boxes)),
        "share": share,
    }


def _original(analysis: Analysis) -> str:
    """Write the image in its own colours, PNG; return the path."""
    if analysis.colors is None:
        return as_file(for_page(Image.fromarray(analysis.image.pixels)), analysis.file_name)
    path = answer_folder() / f"{analysis.file_name}.png"
    path.write_bytes(analysis.colors)
    return str(path)


def nothing_drawn(*sentences: str, headline: str = "") -> Answer:
    """Return a page with sentences, such as an error, where the result of another image was."""
    return {
        **dict.fromkeys(("overlay", "report", "agreement_image")),
        "legend": "",
        "verdict": card("refused" if headline else "empty", headline, sentences),
        "findings": "",
        **_tools(None),
        "measurements": [],
        "agreement": "",
    }


def awaited() -> Answer:
    """Return a page that waits for the result of a new image."""
    return {
        **nothing_drawn(text.ANALYSING),
        **_FORGOTTEN,
        "kept": None,
        "original": None,
        **no_clip(),
        "clip_frame": gr.Slider(visible=False),
    }


def empty(error: str = "") -> Answer:
    """Return a page without an image, its controls as at the start; it invites, or tells the error."""
    return {
        **awaited(),
        **(nothing_drawn(error, headline=text.NOT_ANALYSED) if error else nothing_drawn(text.INVITATION)),
        "threshold": gr.Slider(value=Thresholds().mask, **THRESHOLD_ON),
        # What was typed is kept; the browser empties it when the visitor clears the image.
        "pixel_size": gr.Number(info=text.PIXEL_SIZE_INFO),
    }


def report(
    analysis: Analysis, model: ModelInUse, prediction: Prediction, agreement: Agreement | None
) -> dict[str, Any]:
    """Return all values of a result, JSON-ready."""
    return {
        **prediction.to_dict(),
        **analysis.to_dict(prediction),
        "agreement": agreement and agreement.to_dict(),
        "warnings": list(_warnings(analysis, prediction)),
        "text_boxes": [list(box) for box in analysis.text_boxes],
        "weights": model.to_dict(),
    }


def verdict(analysis: Analysis, model: ModelInUse, prediction: Prediction) -> str:
    """Return class, probabilities, flag and lesions at a glance, HTML."""
    image = analysis.image
    # In the order of `CLASS_NAMES`, whichever is the most probable.
    shares = (prediction.probabilities or {}).items()
    return card(
        prediction.label or "refused",
        text.headline(prediction, corrected=analysis.corrected is not None),
        text.explain(prediction, model.predictor.config.thresholds.malignant, model.benign_flagged),
        name=text.image_name(analysis.name, image.index, image.frames),
        flagged=prediction.flagged,
        bars=[(name, f"{100 * share:.1f}", text.percent(share)) for name, share in shares],
    )


def findings(analysis: Analysis, model: ModelInUse, prediction: Prediction, found: str) -> str:
    """Return a result in words, Markdown: notices, where the image is from, what was found, with what."""
    quotes = [model.notice, *prediction.remarks, *_warnings(analysis, prediction)]
    paragraphs = [f"> {quote}" for quote in quotes if quote]
    paragraphs += [analysis.remark, found, " ".join(notes(analysis, prediction)), model.describe()]
    return "\n\n".join(filter(None, paragraphs))


def _warnings(analysis: Analysis, prediction: Prediction) -> tuple[str, ...]:
    """Return what may mislead the model in an image that was analysed; of any, what may identify someone."""
    remark = text_remark(analysis.text_boxes, analysis.image.pixels.shape)
    misleading = () if prediction.label is None else analysis.warnings
    return (*misleading, remark) if remark else misleading


def notes(analysis: Analysis, prediction: Prediction) -> list[str]:
    """Return what a reader has to know of the settings behind a result, in sentences."""
    if prediction.label is None:
        return []
    found = []
    if analysis.corrected is not None:
        found.append(text.CORRECTED)
    elif analysis.threshold is not None:
        found.append(text.describe_threshold(analysis.threshold, prediction))
    if prediction.measurements and prediction.measurements[0].unit == "mm":
        found.append(text.describe_millimetres(analysis.pixel_size_mm))
    return found


def agreement_in_words(analysis: Analysis, agreement: Agreement | None) -> str:
    """Return the agreement with the reference mask, Markdown; empty where there is none."""
    if agreement is None:
        return ""
    parts = (analysis.reference.remark, text.describe_agreement(agreement), text.AGREEMENT_LEGEND)
    return "\n\n".join(filter(None, parts))


def write_downloads(analysis: Analysis, model: ModelInUse, formats: Sequence[str]) -> list[str]:
    """Write overlay (PNG), report (JSON), a page for print (PDF) and formats of `FORMATS`; return the paths.

    They lie in a new folder, and their names begin with that of the analysis. Of an image that was refused,
    there is none of a format; of one in which it cannot be written, a warning says why.
    """
    # reportlab is needed by whoever prints, not by everyone who opens the page.
    from busi_unet.imaging.reports import pdf_report

    prediction = analysis.predict(model.predictor)
    agreement = analysis.compare(prediction)
    config = model.predictor.config
    told = (prediction, config.thresholds.malignant, model.benign_flagged)
    compared = agreement_in_words(analysis, agreement).replace("**", "").split("\n\n")
    overlay = draw(prediction, analysis.look)
    values = report(analysis, model, prediction, agreement)
    today = date.today().isoformat()
    stream = io.BytesIO()
    overlay.save(stream, "PNG", compress_level=1)
    printed = pdf_report(
        name=text.image_name(analysis.source_name, analysis.image.index, analysis.image.frames),
        headline=text.headline(prediction, corrected=analysis.corrected is not None),
        # What to press helps on the page alone.
        explanation=prediction.reasons if prediction.label is None else text.explain(*told),
        prediction=prediction,
        overlay=overlay,
        corrected=analysis.corrected is not None,
        model=model.origin_line(),
        date=today,
        summary=[
            *filter(None, [text.describe_set(prediction, config.calibration)]),
            *notes(analysis, prediction),
        ],
        comparison=[line for line in compared if line and line != text.AGREEMENT_LEGEND],
        warnings=[*prediction.remarks, *values["warnings"]],
    )
    files = {
        f"{analysis.file_name}_overlay.png": stream.getvalue(),
        f"{analysis.file_name}_result.json": f"{json.dumps({**values, 'date': today}, indent=2)}\n".encode(),
        f"{analysis.file_name}_report.pdf": printed,
    }
    if prediction.label is not None:
        result = Result(
            analysis.file_name,
            analysis.source_name,
            prediction,
            analysis.image,
            analysis.source,
            model.origin_line(),
            corrected=analysis.corrected is not None,
        )
        for name in formats:
            try:
                files |= files_of(result, name)
            except UsageError as error:
                gr.Warning(str(error), title=text.NOT_WRITTEN, duration=30)
    folder = answer_folder()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in files]


def write_training_pair(analysis: Analysis, model: ModelInUse, label: str | None) -> str:
    """Write a zip with `LABEL/NAME.png` and `LABEL/NAME_mask.png`, laid out as BUSI is; return its path.

    Raises:
        UsageError: the label is none of `CLASS_NAMES`.
    """
    if label not in CLASS_NAMES:
        raise UsageError(text.NO_PAIR_CLASS, f"Choose {', '.join(CLASS_NAMES)}.")
    image = Image.fromarray(analysis.image.pixels)
    mask = mask_image(analysis.predict(model.predictor).mask)
    path = answer_folder() / f"{analysis.file_name}_training-pair.zip"
    with zipfile.ZipFile(path, "w") as pair:
        for ending, written in (("", image), ("_mask", mask)):
            with pair.open(f"{label}/{analysis.file_name}{ending}.png", "w") as file:
                written.save(file, "PNG")
    return str(path)


def card(
    kind: str,
    headline: str,
    lines: Sequence[str],
    *,
    name: str = "",
    flagged: bool = False,
    bars: Sequence[tuple[str, str, str]] = (),
) -> str:
    """Return the verdict as HTML; every text is escaped."""
    shown = {"kind": kind, "headline": headline, "lines": lines, "name": name, "flagged": flagged}
    return render("verdict.html", **shown, bars=bars, label=text.PROBABILITIES)
