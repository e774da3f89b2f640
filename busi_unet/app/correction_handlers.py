"""What corrects the mask of the image at hand: clicks, a box, the brush, and their undoing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from busi_unet.app import image_answer, text
from busi_unet.app.analysis import Analysis, Correction, Look
from busi_unet.app.image_answer import Answer
from busi_unet.app.image_parts import BRUSH_COLOR, BRUSH_OPACITY, brush
from busi_unet.app.model import ModelInUse
from busi_unet.errors import UsageError
from busi_unet.inference.correct import Click, ClickBox, correct_mask, median_area


class CorrectionHandlers:
    """The part of `ImageHandlers` that corrects; what they answer names components of `image_parts`."""

    _model: Callable[[], ModelInUse]

    def choose_mode(self, analysis: Analysis | None, mode: str, *settings: Any) -> Answer:
        """Return the page for one of `text.CORRECT_MODES`: the brush needs an editor with the mask."""
        painting = mode == text.BRUSH
        editor = self._editor(analysis, *settings) if painting and analysis else {}
        hint = text.CORRECT_BRUSH if painting else text.CORRECT_HINT
        return {"brush": gr.Column(visible=painting), "hint": hint, **editor}

    def click(self, analysis: Analysis | None, clicked: str, mode: str, *settings: Any) -> Answer:
        """Return the kept image after a click on it, the second corner of a box included.

        Args:
            analysis: of the image.
            clicked: "column,row,number", the first two as shares of the image's width and height.
            mode: one of `text.CORRECT_MODES` but the brush.
        """
        analysis = required(analysis)
        shares = [float(share) for share in clicked.split(",")[:2]]
        column, row = np.multiply(shares, analysis.image.pixels.shape[::-1]).tolist()
        if mode == text.CLICK_BOX and analysis.corner is None:
            return {"kept": replace(analysis, corner=(row, column)), "hint": text.CORRECT_CORNER}
        before = analysis.corrected
        clicks, box = before.clicks if before else (), None
        if mode == text.CLICK_BOX:
            box = ClickBox(*analysis.corner, row, column)
        else:
            clicks = (*clicks, Click(row, column, mode == text.LESION_HERE))
        prediction = self._set(analysis, *settings).predict(self._model().predictor)
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
        """Return the kept image with the network's own mask, the threshold in force."""
        return self._undone(required(analysis), None, mode, *settings)

    def _undone(self, analysis: Analysis, before: Correction | None, mode: str, *settings: Any) -> Answer:
        answer = _corrected(analysis, before)
        if mode == text.BRUSH:
            answer |= {"hint": text.CORRECT_BRUSH, **self._editor(answer["kept"], *settings)}
        return answer

    def _editor(self, analysis: Analysis, *settings: Any) -> Answer:
        """Return the image for the editor, its mask as drawn as a layer, and a brush that fits the lesion."""
        prediction = self._set(analysis, *settings).predict(self._model().predictor)
        mask = prediction.mask
        layer = np.zeros((*mask.shape, 4), dtype=np.uint8)
        layer[mask] = (*BRUSH_COLOR, round(255 * BRUSH_OPACITY))
        background = Image.fromarray(analysis.image.pixels).convert("RGB")
        painting = {"background": background, "layers": [Image.fromarray(layer)], "composite": None}
        radius = np.sqrt((mask.sum() or median_area(mask.shape)) / np.pi)
        return {"editor": gr.update(value=painting, brush=brush(max(2, round(radius / 4))))}

    def _set(self, analysis: Analysis | None, threshold: float | None, *look: Any) -> Analysis:
        analysis = required(analysis)
        own = self._model().predictor.config.thresholds.mask
        by_hand = threshold is not None and abs(threshold - own) > 1e-6
        return replace(analysis, threshold=float(threshold) if by_hand else None, look=Look(*look))


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


def required(analysis: Analysis | None) -> Analysis:
    """Return the analysis, or raise `UsageError` where there is none."""
    if analysis is None:
        raise UsageError(*text.NO_IMAGE_YET)
    return analysis
