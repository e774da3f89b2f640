"""The handlers of the image that is shown: draw, measure, compare, correct and download."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from busi_unet.app import image_answer, text
from busi_unet.app.analysis import Analysis, Correction, Look, required
from busi_unet.app.image_answer import AnalysisResult, Answer
from busi_unet.app.image_handlers import typed_size
from busi_unet.app.image_parts import BRUSH_COLOR, BRUSH_OPACITY, brush
from busi_unet.app.memory import in_turn
from busi_unet.app.model import ModelInUse
from busi_unet.errors import BusiUNetError, UsageError
from busi_unet.imaging.agreement import decode_reference
from busi_unet.inference.correct import Click, ClickBox, correct_mask, median_area


class ImageActions:
    """Handlers of events on the kept image; they raise `BusiUNetError`.

    `settings` are the value of the threshold's slider, which counts once it differs from the model's own,
    and the fields of `Look`.
    """

    def __init__(self, model: Callable[[], ModelInUse]) -> None:
        self._model = model

    def redraw(self, analysis: Analysis | None, *settings: Any) -> Answer:
        """Draw the kept image, if there is one, under other settings; the network is not run again.

        The answer leaves `kept` alone, so that a reference mask that arrives meanwhile is not lost.
        """
        if analysis is None:
            return image_answer.nothing_drawn(text.INVITATION)
        return in_turn(
            analysis.image.pixels.size,
            lambda: image_answer.drawing(self._result(analysis, *settings)),
        )

    def analyse_again(self, analysis: Analysis | None) -> Answer:
        """Return the kept image, marked to be analysed although it was refused."""
        return {"kept": analysis and replace(analysis, anyway=True)}

    def measure_in_mm(self, analysis: Analysis | None, pixel_size_mm: float | None) -> Answer:
        """Return the kept image with a pixel size that the visitor typed, or without one again."""
        used = typed_size(pixel_size_mm)
        reset = {"pixel_size": None} if pixel_size_mm and used is None else {}
        return {"kept": analysis and replace(analysis, pixel_size_mm=used), **reset}

    def compare(self, analysis: Analysis | None, references: list[bytes] | None) -> Answer:
        """Return the kept image with a reference mask, the union of the uploaded ones (encoded images)."""
        if not references:
            return {"kept": analysis and replace(analysis, reference=None)}
        analysis = required(analysis)
        try:
            reference = decode_reference(references, analysis.image.pixels.shape)
        except BusiUNetError as error:
            gr.Warning(str(error), duration=30)
            return {"kept": replace(analysis, reference=None), "reference": None}
        return {"kept": replace(analysis, reference=reference)}

    def choose_mode(self, analysis: Analysis | None, mode: str, *settings: Any) -> Answer:
        """Return the page for one of `text.CORRECT_MODES`: the brush needs an editor with the mask."""
        painting = mode == text.BRUSH
        editor = self._editor(analysis, *settings) if painting and analysis else {}
        hints = {text.BRUSH: text.CORRECT_BRUSH, text.NOT_THIS_ONE: text.CORRECT_NOT}
        hint = hints.get(mode, text.CORRECT_HINT)
        return {"brush": gr.Column(visible=painting), "hint": hint, **editor}

    def click(self, analysis: Analysis | None, clicked: str, mode: str, *settings: Any) -> Answer:
        """Return the kept image after a click, which corrects its mask or is the first corner of a box.

        `clicked` is "column,row,number", the first two as shares of the image's width and height.
        """
        analysis = required(analysis)
        shares = [float(share) for share in clicked.split(",")[:2]]
        column, row = np.multiply(shares, analysis.image.pixels.shape[::-1]).tolist()
        if mode == text.CLICK_BOX and analysis.corner is None:
            return {"kept": replace(analysis, corner=(row, column)), "hint": text.CORRECT_CORNER}
        before = analysis.corrected
        clicks = before.clicks if before else ()
        box = None
        if mode == text.CLICK_BOX:
            box = ClickBox(*analysis.corner, row, column)
        else:
            clicks = (*clicks, Click(row, column, mode == text.LESION_HERE))
        prediction = self._result(analysis, *settings).prediction
        mask = correct_mask(prediction.image, prediction.probability, prediction.mask, clicks, box)
        if mode == text.NOT_THIS_ONE and (mask == prediction.mask).all():
            return {"hint": text.CORRECT_NOTHING}
        return _corrected(analysis, Correction(mask, clicks, before))

    def paint(self, analysis: Analysis | None, painted: dict[str, Any] | None) -> Answer:
        """Return the kept image with what is painted in the editor as its mask, whatever the threshold."""
        analysis = required(analysis)
        if not painted or painted.get("background") is None:
            raise UsageError(*text.NOTHING_PAINTED)
        mask = _painted_mask(painted, analysis.image.pixels.shape)
        return {**_corrected(analysis, Correction(mask, before=analysis.corrected)), "hint": gr.skip()}

    def undo(self, analysis: Analysis | None, mode: str, *settings: Any) -> Answer:
        """Return the kept image without its last correction, or without the first corner of a box."""
        analysis = required(analysis)
        before = analysis.corrected
        if analysis.corner is None and before is not None:
            before = before.before
        return self._undone(analysis, before, mode, *settings)

    def undo_all(self, analysis: Analysis | None, mode: str, *settings: Any) -> Answer:
        """Return the kept image with the network's own mask, which follows the threshold again."""
        return self._undone(required(analysis), None, mode, *settings)

    def training_pair(self, analysis: Analysis | None, label: str | None, *settings: Any) -> Answer:
        """Return a zip with the image and its mask in the layout of BUSI."""
        return {"pair_file": image_answer.write_training_pair(self._result(analysis, *settings), label)}

    def downloads(self, analysis: Analysis | None, formats: Sequence[str], *settings: Any) -> Answer:
        """Return overlay, JSON, PDF report and the formats chosen of the image under these settings."""
        return {"files": image_answer.write_downloads(self._result(analysis, *settings), formats)}

    def _undone(self, analysis: Analysis, before: Correction | None, mode: str, *settings: Any) -> Answer:
        answer = _corrected(analysis, before)
        if mode == text.BRUSH:
            answer |= {"hint": text.CORRECT_BRUSH, **self._editor(answer["kept"], *settings)}
        return answer

    def _editor(self, analysis: Analysis, *settings: Any) -> Answer:
        """Return the image for the editor, its mask as drawn as a layer, and a brush that fits the lesion."""
        prediction = self._result(analysis, *settings).prediction
        mask = prediction.mask
        layer = np.zeros((*mask.shape, 4), dtype=np.uint8)
        layer[mask] = (*BRUSH_COLOR, round(255 * BRUSH_OPACITY))
        background = Image.fromarray(analysis.image.pixels).convert("RGB")
        painting = {"background": background, "layers": [Image.fromarray(layer)], "composite": None}
        radius = np.sqrt((mask.sum() or median_area(mask.shape)) / np.pi)
        return {"editor": gr.update(value=painting, brush=brush(max(2, round(radius / 4))))}

    def _result(self, analysis: Analysis | None, threshold: float | None, *look: Any) -> AnalysisResult:
        """Return the result of the kept image under settings."""
        analysis = required(analysis)
        model = self._model()
        by_hand = threshold is not None and abs(threshold - model.predictor.config.thresholds.mask) > 1e-6
        threshold = float(threshold) if by_hand else None
        return AnalysisResult(replace(analysis, threshold=threshold, look=Look(*look)), model)


def _corrected(analysis: Analysis, correction: Correction | None) -> Answer:
    """Return the kept image under a correction, or under none."""
    threshold = image_answer.THRESHOLD_OFF if correction else image_answer.THRESHOLD_ON
    return {
        "kept": replace(analysis, corrected=correction, corner=None),
        "threshold": gr.Slider(**threshold),
        "hint": text.CORRECT_HINT,
    }


def _painted_mask(painted: dict[str, Any], shape: tuple[int, int]) -> np.ndarray:
    """Return where any layer of the editor is painted, as bool of the image's shape (H, W)."""
    mask = np.zeros(shape, dtype=bool)
    for layer in painted["layers"]:
        # The rim of a stroke is fainter than the rest of it.
        painted_here = Image.fromarray(np.asarray(layer)[..., 3] >= 128 * BRUSH_OPACITY)
        # The editor may work at another size than the image's own.
        mask |= np.asarray(painted_here.resize(shape[::-1], Image.Resampling.NEAREST))
    return mask
