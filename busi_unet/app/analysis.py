"""One analysed image, and what draws it without running the network again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from busi_unet.app import text
from busi_unet.errors import UsageError
from busi_unet.imaging.measure import Lesion, measure_image
from busi_unet.imaging.overlay import (
    COLORS,
    annotate_lesions,
    draw_band,
    draw_banner,
    draw_heatmap,
    draw_overlay,
)
from busi_unet.imaging.quality import Box, scan_box
from busi_unet.io.decode import DecodedImage
from busi_unet.io.masks import Mask

if TYPE_CHECKING:
    from busi_unet.inference.correct import Click
    from busi_unet.inference.prediction import Prediction, RawOutput
    from busi_unet.inference.predictor import Predictor

MEASUREMENT_WIDTHS = [f"{width}px" for width in (44, 110, 110, 120, 130, 100, 100, 220)]


@dataclass(frozen=True)
class Look:
    """How a result is drawn.

    Attributes:
        view: one of `text.VIEWS`.
        color: of outline and tint, a name of `COLORS`.
        opacity: of tints and maps, from 0 to 1.
        diameters: whether the measured diameters are drawn.
    """

    view: str = text.VIEWS[0]
    color: str = next(iter(COLORS))
    opacity: float = 0.25
    diameters: bool = False


@dataclass(frozen=True, eq=False)
class Correction:
    """A mask after a correction by hand.

    Attributes:
        mask: bool (H, W).
        clicks: the clicks that led to it, the newest last.
        before: the correction that it changed; None where it changed the network's mask.
    """

    mask: np.ndarray
    clicks: tuple[Click, ...] = ()
    before: Correction | None = None


@dataclass(frozen=True)
class Analysis:
    """What the page keeps of an image; small except for the image itself.

    Attributes:
        colors: PNG of the image in the colours of its file; None where it is grey.
        name: of its file, without ending.
        source: its file, until Gradio deletes that; None for an image made from another.
        remark: a sentence of Markdown about where the image is from, or empty.
        anyway: the visitor wants to see the result of a refused image.
        threshold: lesion probability of a pixel, set by hand; None for the model's own thresholds.
        pixel_size_mm: typed by the visitor; None for what the file says.
        corner: (row, column) of the first corner of a box, while the second is awaited.
        reference: what to compare the outline with, or None.
        warnings: what may make the image hard to trust, a sentence each.
        text_boxes: where text is burnt into the image, see `imaging.quality`.
        panels: left and right, where two images are side by side.
        in_box: whether its file is still in the upload box, so that another frame of it can be read.
        number: of the event that set the image on its page, see `newest.py`.
    """

    image: DecodedImage
    raw: RawOutput
    colors: bytes | None = None
    name: str = "image"
    source: Path | None = None
    remark: str = ""
    anyway: bool = False
    threshold: float | None = None
    pixel_size_mm: float | None = None
    corrected: Correction | None = None
    corner: tuple[float, float] | None = None
    reference: Mask | None = None
    look: Look = Look()
    warnings: tuple[str, ...] = ()
    text_boxes: tuple[Box, ...] = ()
    panels: tuple[Box, ...] = ()
    in_box: bool = True
    number: int = 0

    @property
    def file_name(self) -> str:
        """Name of files made from it, without ending; of a clip, with the frame."""
        image = self.image
        return self.name if image.frames == 1 else f"{self.name}_frame-{image.index + 1}-of-{image.frames}"

    @property
    def typed_mm(self) -> tuple[float, float] | None:
        """Millimetres (between rows, between columns) by the typed pixel width; None without one."""
        return self.pixel_size_mm and (self.pixel_size_mm * self.image.aspect, self.pixel_size_mm)

    def predict(self, predictor: Predictor) -> Prediction:
        """Return the prediction under these settings; a correction by hand replaces its mask."""
        thresholds = None
        if self.threshold is not None:
            # Whoever moves the threshold wants to see what it does, also where the model would draw nothing.
            thresholds = replace(predictor.config.thresholds, mask=self.threshold, lesion=0.0)
        settings = {"spacing_mm": self.typed_mm, "thresholds": thresholds, "anyway": self.anyway}
        prediction = predictor.interpret(self.image, self.raw, **settings)
        if self.corrected is None:
            return prediction
        measurements, remarks = measure_image(self.corrected.mask, self.image, self.typed_mm)
        return replace(
            prediction,
            mask=self.corrected.mask,
            boundary_band=None,  # fitted to the network's outlines
            measurements=measurements,
            remarks=self.image.remarks + remarks,
        )

    def text_beside(self, mask: np.ndarray) -> list[Box]:
        """Return the text that may be blackened beside what is outlined, bool (H, W)."""
        left, top, right, bottom = scan_box(self.image.pixels)
        scan = np.zeros_like(mask)
        scan[top:bottom, left:right] = mask[top:bottom, left:right]
        # Calipers look like text, and a lesion that is covered is lost.
        return [box for box in self.text_boxes if not scan[box[1] : box[3], box[0] : box[2]].any()]

    @property
    def source_name(self) -> str:
        """The name of its file, for people."""
        return self.source.name if self.source else f"{self.name}.png"


def required(analysis: Analysis | None) -> Analysis:
    """Return the analysis, or raise `UsageError` where there is none."""
    if analysis is None:
        raise UsageError(*text.NO_IMAGE_YET)
    return analysis


def draw(prediction: Prediction, look: Look) -> Image.Image:
    """Return the image with the prediction drawn over it, RGB of its size (W, H).

    Without a boundary band, its view shows the outline.

    Raises:
        UsageError: an unknown colour, or an opacity outside 0 to 1.
    """
    if look.view in text.MAPS and prediction.label is not None:
        low, high = 0.0, 1.0
        if look.view == text.UNCERTAINTY:
            values = prediction.uncertainty
        elif look.view == text.LESION_PROBABILITY:
            values = prediction.probability
        else:
            values = prediction.class_activation_map
            low, high = float(values.min()), float(values.max())
        # At the opacity of a tint a map of colours would hardly be seen.
        opacity = min(1.0, 0.25 + look.opacity)
        high = high if high > low else low + 1.0
        heatmap = draw_heatmap(prediction.image, values, low=low, high=high, opacity=opacity)
        image = draw_overlay(np.asarray(heatmap), prediction.mask, color=look.color, opacity=0)
    elif look.view == text.BOUNDARY_BAND and prediction.boundary_band is not None:
        image = draw_band(prediction.image, prediction.inner, prediction.outer, opacity=look.opacity)
    else:
        image = draw_overlay(
            prediction.image,
            prediction.mask,
            color=look.color,
            opacity=0.0 if look.view == text.OUTLINE else look.opacity,
            contour=look.view != text.TINT,
        )
    image = annotate_lesions(image, prediction.measurements, calipers=look.diameters)
    if prediction.refused:
        image = draw_banner(image, text.NOT_ANALYSED if prediction.label is None else text.ANALYSED_ANYWAY)
    return image


def mark(image: Image.Image, corner: tuple[float, float] | None) -> Image.Image:
    """Return the image with a cross at the first corner of a box (row, column), if there is one."""
    if corner is not None:
        row, column = corner
        arm = max(image.size) / 40
        pen = ImageDraw.Draw(image)
        for line in ((column - arm, row, column + arm, row), (column, row - arm, column, row + arm)):
            pen.line(line, fill="white", width=max(1, round(arm / 6)))
    return image


def measurement_row(number: int, lesion: Lesion) -> list[Any]:
    """Return the row of a lesion in the order of `text.MEASUREMENT_HEADERS`, with units."""
    left, top, right, bottom = lesion.box
    return [
        number,
        lesion.area_text,
        lesion.lengths("longest_diameter"),
        lesion.lengths("perpendicular"),
        lesion.lengths("width", "height"),
        lesion.shape_text,
        lesion.skin_text,
        f"{left}, {top} – {right}, {bottom} px",
    ]
