"""What the page shows of an analysis, as values of components by name, and the files it offers."""

from __future__ import annotations

import functools
import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
from PIL import Image

from busi_unet.app import text
from busi_unet.app.analysis import Analysis, draw, mark, measurement_row
from busi_unet.app.answers import answer_folder, as_file, for_page
from busi_unet.app.clip import CLIP, no_clip, offer_clip
from busi_unet.app.model import ModelInUse
from busi_unet.config import CLASS_NAMES, Thresholds
from busi_unet.errors import UsageError
from busi_unet.imaging.agreement import Agreement, compare_masks
from busi_unet.imaging.formats import Result, files_of
from busi_unet.imaging.overlay import draw_agreement
from busi_unet.imaging.quality import Box, reduction, scan_box, text_remark
from busi_unet.imaging.regions import mask_image, trace_contours
from busi_unet.io.files import image_bytes
from busi_unet.io.html import render

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
DRAWN = (
    *("overlay", "legend", "report", "verdict", "findings"),
    *("anyway", "crop_start", "left", "right", "blacken"),
    *("share", "measurements", "agreement", "agreement_image"),
)
"""Names of the components that `drawing` and `nothing_drawn` answer."""
WHOLE = (*DRAWN, *_FORGOTTEN, "kept", "original", "threshold", "pixel_size", "crop_box", *CLIP)
"""Names of all components that `whole`, `awaited` or `empty` may answer."""


class PublicAnswer(NamedTuple):
    """What `/predict` returns, in this order; `ImageHandlers.predict` describes each."""

    overlay: str
    probabilities: dict[str, float] | None
    report: dict[str, Any]
    findings: str
    mask: str | None
    contours: list[list[list[int]]] | None


class AnalysisResult:
    """What page, API and files say of an analysis: its prediction under its settings, in values and words."""

    def __init__(self, analysis: Analysis, model: ModelInUse) -> None:
        self.analysis = analysis
        self.model = model
        self.prediction = prediction = analysis.predict(model.predictor)
        self.refused = prediction.label is None
        self.corrected = analysis.corrected is not None
        self.headline = text.headline(prediction, corrected=self.corrected)
        # Of the scan region that holds the outline, which is measured by it.
        self.file_spacing_mm = analysis.image.spacing_of(prediction.mask)[0]
        # Text that may identify someone is always reported; other warnings, unless the image was refused.
        self.text_remark = text_remark(analysis.text_boxes, analysis.image.pixels.shape)
        misleading = () if self.refused else analysis.warnings
        self.warnings = list(filter(None, [*misleading, self.text_remark]))

    @functools.cached_property
    def agreement(self) -> Agreement | None:
        """Agreement with the reference mask; None without one."""
        if self.analysis.reference is None:
            return None
        spacing_mm = self.analysis.typed_mm or self.file_spacing_mm
        return compare_masks(self.prediction.mask, self.analysis.reference.pixels, spacing_mm=spacing_mm)

    def draw(self) -> Image.Image:
        """Return the overlay, RGB of the image's size."""
        return draw(self.prediction, self.analysis.look)

    def explain(self) -> list[str]:
        """Return the sentences below the headline."""
        threshold = self.model.predictor.config.thresholds.malignant
        return text.explain(self.prediction, threshold, self.model.benign_flagged)

    def notes(self) -> list[str]:
        """Return sentences on the settings behind the result."""
        if self.refused:
            return []
        analysis, lesions = self.analysis, self.prediction.measurements
        found = []
        if self.corrected:
            found.append(text.CORRECTED)
        elif analysis.threshold is not None:
            found.append(text.describe_threshold(analysis.threshold, self.prediction))
        if lesions and lesions[0].unit == "mm":
            found.append(text.describe_millimetres(analysis.pixel_size_mm))
        return found

    def compare(self) -> list[str]:
        """Return the agreement with the reference mask, paragraphs of Markdown; empty without such a mask."""
        if self.agreement is None:
            return []
        return [*filter(None, [self.analysis.reference.remark]), *text.describe_agreement(self.agreement)]

    def verdict(self) -> str:
        """Return class, probabilities, flag and lesions at a glance, HTML."""
        prediction = self.prediction
        # In the order of `CLASS_NAMES`, whichever is the most probable.
        shares = (prediction.probabilities or {}).items()
        return card(
            prediction.label or "refused",
            self.headline,
            self.explain(),
            name=text.image_name(self.analysis.name, self.analysis.image),
            flagged=prediction.flagged,
            bars=[(name, f"{100 * share:.1f}", text.percent(share)) for name, share in shares],
        )

    def findings(self, *, alone: bool = False) -> str:
        """Return notices, the image's source, what was found and the weights used, Markdown.

        `alone`: the verdict is not shown beside them, so they begin with its sentences.
        """
        verdict = [f"**{self.headline}.**", *self.explain()] if alone else []
        details = text.details(self.prediction, self.model.predictor.config.calibration)
        found = " ".join(filter(None, [*verdict, details]))
        quotes = filter(None, [self.model.notice, *self.prediction.remarks, *self.warnings])
        paragraphs = [self.analysis.remark, found, " ".join(self.notes()), self.model.describe()]
        return "\n\n".join([*(f"> {quote}" for quote in quotes), *filter(None, paragraphs)])

    def report(self) -> dict[str, Any]:
        """Return all values, JSON-ready."""
        analysis = self.analysis
        from_file = "file" if self.file_spacing_mm is not None else None
        return {
            **self.prediction.to_dict(),
            "analysed_anyway": analysis.anyway,
            "threshold_by_hand": analysis.threshold,
            "corrected_by_hand": self.corrected,
            "pixel_size_from": from_file if analysis.pixel_size_mm is None else "typed",
            "agreement": self.agreement and asdict(self.agreement),
            "warnings": self.warnings,
            "text_boxes": [list(box) for box in analysis.text_boxes],
            "weights": self.model.to_dict(),
        }


def public_answer(result: AnalysisResult) -> PublicAnswer:
    """Return a result as the API gives it."""
    prediction = result.prediction
    mask = contours = None
    if not result.refused:
        mask = as_file(mask_image(prediction.mask), "mask")
        contours = [contour.tolist() for contour in trace_contours(prediction.mask)]
    return PublicAnswer(
        overlay=as_file(result.draw(), "overlay"),
        probabilities=prediction.probabilities,
        report=result.report(),
        findings=result.findings(alone=True),
        mask=mask,
        contours=contours,
    )


def drawing(result: AnalysisResult) -> Answer:
    """Return the values that change with the settings of an analysis."""
    analysis, prediction = result.analysis, result.prediction
    agreement = result.compare()
    agreement_image = None
    if agreement:
        agreement.append(text.AGREEMENT_LEGEND)
        both = draw_agreement(prediction.image, prediction.mask, analysis.reference.pixels)
        agreement_image = as_file(for_page(both), f"{analysis.file_name}_agreement")
    share = result.text_remark
    beside = analysis.text_beside(prediction.mask) if share else []
    if share and not beside:
        share = f"{share} {' '.join(text.TEXT_ON_LESION)}"
    elif not share and analysis.name.endswith(text.BLACKENED):
        share = text.LOOK_FOR_TEXT
    overlay = for_page(mark(result.draw(), analysis.corner))
    return {
        "overlay": as_file(overlay, f"{analysis.file_name}_overlay"),
        "legend": text.describe_view(prediction, analysis.look.view),
        "report": result.report(),
        "verdict": result.verdict(),
        "findings": result.findings(),
        **_tools(anyway=result.refused, text_found=bool(share), beside=beside, panels=analysis.panels),
        "share": share,
        "measurements": [measurement_row(*each) for each in enumerate(prediction.measurements, start=1)],
        "agreement": "\n\n".join(agreement),
        "agreement_image": agreement_image,
    }


def whole(result: AnalysisResult) -> Answer:
    """Return the values that change with a new image; controls that belong to one image are reset."""
    analysis, image = result.analysis, result.analysis.image
    spacing_mm = result.file_spacing_mm or image.spacing_mm
    info = text.PIXEL_SIZE_INFO if spacing_mm is None else text.spacing_info(*spacing_mm)
    own = result.model.predictor.config.thresholds.mask
    # In pixels of the image as the page shows it.
    crop_box = np.array(scan_box(image.pixels)) // reduction(image.pixels.shape)
    return {
        **drawing(result),
        **_FORGOTTEN,
        "kept": analysis,
        "original": _original(analysis),
        **offer_clip(analysis),
        "threshold": gr.Slider(value=own, **THRESHOLD_ON),
        "pixel_size": gr.Number(value=analysis.pixel_size_mm, info=info),
        "crop_box": ",".join(map(str, crop_box)),
    }


def _tools(
    *,
    anyway: bool = False,
    text_found: bool = False,
    beside: Sequence[Box] = (),
    panels: Sequence[Box] = (),
) -> Answer:
    """Return which buttons above the image are shown; `beside` is the text that can be blackened."""
    return {
        "anyway": gr.Button(visible=anyway),
        "crop_start": gr.Button(visible=anyway or text_found or bool(panels)),
        "left": gr.Button(visible=bool(panels)),
        "right": gr.Button(visible=bool(panels)),
        "blacken": gr.Button(visible=bool(beside)),
    }


def _original(analysis: Analysis) -> str:
    """Write the image in its own colours, PNG; return the path."""
    if analysis.colors is None:
        return as_file(for_page(Image.fromarray(analysis.image.pixels)), analysis.file_name)
    path = answer_folder() / f"{analysis.file_name}.png"
    path.write_bytes(analysis.colors)
    return str(path)


def nothing_drawn(*sentences: str, headline: str = "") -> Answer:
    """Return a page without a result, and with sentences, such as an error, in its place."""
    return {
        **dict.fromkeys(("overlay", "report", "agreement_image")),
        **dict.fromkeys(("legend", "findings", "share", "agreement"), ""),
        "verdict": card("refused" if headline else "empty", headline, sentences),
        **_tools(),
        "measurements": [],
    }


def awaited(sentence: str = text.ANALYSING, *, headline: str = "") -> Answer:
    """Return a page that waits for the result of a new image."""
    return {
        **nothing_drawn(sentence, headline=headline),
        **_FORGOTTEN,
        "kept": None,
        "original": None,
        **no_clip(),
    }


def empty(error: str = "") -> Answer:
    """Return a page without an image, its controls as at the start, with an invitation or the error."""
    return {
        **(awaited(error, headline=text.NOT_ANALYSED) if error else awaited(text.INVITATION)),
        "threshold": gr.Slider(value=Thresholds().mask, **THRESHOLD_ON),
        # What was typed stays; the browser empties it when the visitor clears the image.
        "pixel_size": gr.Number(info=text.PIXEL_SIZE_INFO),
    }


def write_downloads(result: AnalysisResult, formats: Sequence[str]) -> list[str]:
    """Write overlay (PNG), report (JSON), a page for print (PDF) and formats of `FORMATS`; return the paths.

    They are in a new folder; their names begin with that of the analysis. There are no `formats` of a refused
    image; a format that cannot be written is left out, and a warning says why.
    """
    # Only downloads need reportlab.
    from busi_unet.imaging.reports import pdf_report

    analysis, prediction = result.analysis, result.prediction
    origin = result.model.origin_line()
    overlay = result.draw()
    today = date.today().isoformat()
    told_set = text.describe_set(prediction, result.model.predictor.config.calibration)
    printed = pdf_report(
        name=text.image_name(analysis.source_name, analysis.image),
        headline=result.headline,
        # The page's explanation names buttons, which print does not have.
        explanation=prediction.reasons if result.refused else result.explain(),
        prediction=prediction,
        overlay=overlay,
        corrected=result.corrected,
        model=origin,
        date=today,
        summary=[*filter(None, [told_set]), *result.notes()],
        comparison=[line.replace("**", "") for line in result.compare()],
        warnings=[*prediction.remarks, *result.warnings],
    )
    values = {**result.report(), "date": today}
    files = {
        f"{analysis.file_name}_overlay.png": image_bytes(overlay, "PNG", compress_level=1),
        f"{analysis.file_name}_result.json": f"{json.dumps(values, indent=2)}\n".encode(),
        f"{analysis.file_name}_report.pdf": printed,
    }
    if not result.refused:
        written = Result(
            analysis.file_name,
            analysis.source_name,
            prediction,
            analysis.image,
            analysis.source,
            origin,
            corrected=result.corrected,
        )
        for name in formats:
            try:
                files |= files_of(written, name)
            except UsageError as error:
                gr.Warning(str(error), title=text.NOT_WRITTEN, duration=30)
    folder = answer_folder()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return [str(folder / name) for name in files]


def write_training_pair(result: AnalysisResult, label: str | None) -> str:
    """Write a zip with `LABEL/NAME.png` and `LABEL/NAME_mask.png`, laid out as BUSI is; return its path.

    Raises:
        UsageError: the label is none of `CLASS_NAMES`.
    """
    if label not in CLASS_NAMES:
        raise UsageError(text.NO_PAIR_CLASS, f"Choose {', '.join(CLASS_NAMES[:-1])} or {CLASS_NAMES[-1]}.")
    prediction = result.prediction
    name = result.analysis.file_name
    image, mask = Image.fromarray(prediction.image), mask_image(prediction.mask)
    path = answer_folder() / f"{name}_training-pair.zip"
    with zipfile.ZipFile(path, "w") as pair:
        for ending, written in (("", image), ("_mask", mask)):
            with pair.open(f"{label}/{name}{ending}.png", "w") as file:
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
