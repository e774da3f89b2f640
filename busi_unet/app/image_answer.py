"""What the page shows of an analysis: the value of each component, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr
from PIL import Image

from busi_unet.app import text
from busi_unet.app.analysis import Analysis, draw, measurement_rows
from busi_unet.app.model import ModelInUse
from busi_unet.config import Thresholds
from busi_unet.imaging.agreement import Agreement
from busi_unet.imaging.overlay import draw_agreement
from busi_unet.imaging.quality import image_warnings

if TYPE_CHECKING:
    from busi_unet.inference.prediction import Prediction

Answer = dict[str, Any]
"""Values of components by name; those that are not in it stay as they are."""

_FORGOTTEN: Answer = dict.fromkeys(("reference", "editor", "files", "link", "pair_file"))


class PublicAnswer(NamedTuple):
    """What a program is answered with, in this order.

    Attributes:
        overlay: RGB, the size of the image, with the lesions drawn over it.
        probabilities: per class; None where the image is refused.
        report: JSON-ready, with the weights in use.
        findings: Markdown.
    """

    overlay: Image.Image
    probabilities: dict[str, float] | None
    report: dict[str, Any]
    findings: str


def public_answer(analysis: Analysis, model: ModelInUse) -> PublicAnswer:
    """Return an analysis as the API gives it."""
    prediction = analysis.predict(model.predictor)
    return PublicAnswer(
        overlay=draw(analysis.frame.pixels, prediction, analysis.look),
        probabilities=prediction.probabilities,
        report=report(analysis, model, prediction, analysis.compare(prediction)),
        findings=findings(analysis, model, prediction),
    )


def drawing(analysis: Analysis, model: ModelInUse, layout: str) -> Answer:
    """Return all that depends on how an analysis is looked at; the network is not asked.

    Args:
        analysis: with the settings to draw it with.
        model: that it was made with.
        layout: one of `text.LAYOUTS`; the pair is only made for the second.
    """
    prediction = analysis.predict(model.predictor)
    agreement = analysis.compare(prediction)
    pixels = analysis.frame.pixels
    overlay = draw(pixels, prediction, analysis.look)
    answer = {
        "overlay": overlay,
        "legend": text.describe_view(prediction, analysis.look.view),
        "probabilities": _probabilities(prediction.probabilities),
        "report": report(analysis, model, prediction, agreement),
        "findings": findings(analysis, model, prediction),
        "measurements": measurement_rows(prediction.measurements),
        "agreement": agreement_in_words(analysis, agreement),
        "agreement_image": agreement and draw_agreement(pixels, prediction.mask, analysis.reference.pixels),
        "drawn": analysis,
    }
    return answer if layout == text.LAYOUTS[0] else {**answer, "pair": (Image.fromarray(pixels), overlay)}


def whole(analysis: Analysis, model: ModelInUse, layout: str) -> Answer:
    """Return all that a new image changes; the controls that belong to the one before start anew."""
    frame = analysis.frame
    info = text.PIXEL_SIZE_INFO if frame.spacing_mm is None else text.spacing_info(*frame.spacing_mm)
    own = model.predictor.config.thresholds.mask
    return {
        **drawing(analysis, model, layout),
        **_FORGOTTEN,
        "kept": analysis,
        "original": Image.fromarray(frame.pixels),
        "clip_frame": gr.Slider(
            value=frame.index + 1, maximum=max(2, frame.frames), visible=frame.frames > 1
        ),
        "threshold": gr.Slider(
            value=own if analysis.threshold is None else analysis.threshold, **threshold_in_force(analysis)
        ),
        "anyway": gr.Button(visible=analysis.predict(model.predictor).label is None),
        "pixel_size": gr.Number(value=analysis.pixel_size_mm, info=info),
    }


def nothing_drawn(findings: str) -> Answer:
    """Return a page that shows no result, so that none stays beside an image it does not belong to."""
    return {
        **dict.fromkeys(("overlay", "pair", "report", "agreement_image", "drawn")),
        "legend": "",
        "probabilities": _probabilities(None),
        "findings": findings,
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
        "clip_frame": gr.Slider(visible=False),
        "anyway": gr.Button(visible=False),
    }


def empty(findings: str) -> Answer:
    """Return a page without an image, its controls as at the start."""
    return {
        **awaited(),
        "findings": findings,
        "clip_frame": gr.Slider(value=1, visible=False),
        "threshold": gr.Slider(value=Thresholds().mask, **threshold_in_force(None)),
        "pixel_size": gr.Number(value=None, info=text.PIXEL_SIZE_INFO),
    }


def threshold_in_force(analysis: Analysis | None) -> dict[str, Any]:
    """Return whether the threshold's slider can be moved, and what it says, for `gr.Slider`."""
    if analysis is not None and analysis.corrected is not None:
        return {"interactive": False, "info": text.THRESHOLD_UNUSED}
    return {"interactive": True, "info": text.THRESHOLD_INFO}


def report(
    analysis: Analysis, model: ModelInUse, prediction: Prediction, agreement: Agreement | None
) -> dict[str, Any]:
    """Return all values of a result, JSON-ready."""
    return {
        **prediction.to_dict(),
        **analysis.to_dict(),
        "agreement": agreement and agreement.to_dict(),
        "warnings": list(image_warnings(analysis.frame)),
        "weights": model.to_dict(),
    }


def findings(analysis: Analysis, model: ModelInUse, prediction: Prediction) -> str:
    """Return a result in words, Markdown: notices, where the image is from, what was found, with what."""
    quotes = [model.notice, *(() if prediction.refused else image_warnings(analysis.frame))]
    paragraphs = [f"> {quote}" for quote in quotes if quote]
    found = text.describe(prediction, model.predictor.config.thresholds.malignant)
    paragraphs += [analysis.remark, found, " ".join(notes(analysis, prediction)), model.describe()]
    return "\n\n".join(filter(None, paragraphs))


def notes(analysis: Analysis, prediction: Prediction) -> list[str]:
    """Return what a reader has to know of the settings behind a result, in sentences."""
    if prediction.label is None:
        return []
    found = []
    if analysis.corrected is not None:
        found.append(text.CORRECTED)
    elif analysis.threshold is not None:
        found.append(text.describe_threshold(analysis.threshold, prediction))
    if prediction.measurements and analysis.spacing_mm is not None:
        found.append(text.describe_millimetres(analysis.pixel_size_mm))
    return found


def agreement_in_words(analysis: Analysis, agreement: Agreement | None) -> str:
    """Return the agreement with the reference mask, Markdown; empty where there is none."""
    if agreement is None:
        return ""
    parts = (analysis.reference.remark, text.describe_agreement(agreement), text.AGREEMENT_LEGEND)
    return "\n\n".join(filter(None, parts))


def _probabilities(probabilities: dict[str, float] | None) -> gr.Label:
    # Without them, the verdict and the reason take their place.
    return gr.Label(value=probabilities, visible=probabilities is not None)
