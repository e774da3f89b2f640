"""The handlers that set the image of the tab, and `/predict` of the API; `image_actions` has the others."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image, ImageChops

from busi_unet.app import image_answer, text
from busi_unet.app.analysis import Analysis, Look, required
from busi_unet.app.answers import answer_folder, cache_scratch, described, for_page, shown_errors
from busi_unet.app.batch import find_row
from busi_unet.app.clip import CLIP
from busi_unet.app.image_answer import AnalysisResult, Answer, PublicAnswer
from busi_unet.app.memory import in_turn
from busi_unet.app.model import ModelInUse
from busi_unet.app.newest import Newest
from busi_unet.app.strips import Recent, examples
from busi_unet.errors import BusiUNetError, UsageError
from busi_unet.imaging.quality import (
    Box,
    blacken,
    image_warnings,
    panel_boxes,
    reduction,
    text_boxes,
)
from busi_unet.io.decode import EXTENSIONS, DecodedImage, decoded, load_pixels, pixel_count
from busi_unet.io.files import image_bytes
from busi_unet.io.pillow_files import over_black
from busi_unet.io.scale import is_plausible

MAX_IMAGE_MEGABYTES = 50
# Channels that differ by less are the noise of a JPEG.
_GREY_GAP = 16


class ImageHandlers:
    """Handlers of events that set the image; all but `predict` raise `BusiUNetError`."""

    def __init__(self, model: Callable[[], ModelInUse]) -> None:
        self._model = model
        self.recent = Recent()

    @described
    @shown_errors()
    def predict(
        self,
        image: str | None,
        clip_frame: float | None = 1,
        pixel_size_mm: float | None = None,
        analyse_anyway: bool = False,
        view: str = Look.view,
        color: str = Look.color,
        opacity: float = Look.opacity,
        diameters: bool = Look.diameters,
        threshold: float | None = None,
    ) -> PublicAnswer:
        """Outline lesions in one breast ultrasound image: mask, contours, measurements, class probabilities.

        For research, not a medical device. An image that is blank or out of distribution is refused: the
        report has refused true and reasons that say why, and class, probabilities, mask and contours are
        null, unless analyse_anyway is true. A file that cannot be read, or an argument out of its range,
        gives an error that says what is wrong.

        Args:
            image: one image, at most 50 MB: PNG, JPEG, GIF, WebP, BMP, TIFF or DICOM. A tool takes its bytes
                as data:image/png;base64,... or an http or https URL on a public host.
            clip_frame: which frame of a clip or page of a TIFF, from 1; 1 if not given.
            pixel_size_mm: width of a pixel in millimetres, 0.001 to 10; if not given, what a DICOM file
                says, else lesions are measured in pixels alone.
            analyse_anyway: true to analyse an image that would be refused; the result is not reliable.
            view: what the overlay draws over the image; the mask does not change.
            color: of outline and tint in the overlay.
            opacity: of tints and maps in the overlay, from 0 (invisible) to 1.
            diameters: true to draw the measured diameters in the overlay.
            threshold: lesion probability from which a pixel belongs to the mask, between 0 and 1 exclusive;
                if not given, the model's own rules, which may leave a whole image without a mask.

        Returns:
            overlay: PNG, the image in grey with the lesions drawn over it
            probabilities: of normal, benign and malignant, each 0 to 1
            report: JSON with label (the class), flagged (malignant probability at or above the alert
                threshold), prediction_set, calibrated, refused, reasons, warnings, and measurements, for
                each lesion, the largest first: area, diameters, box and depth, whose names end in _px
                (pixels), _mm or _mm2 (null where the size of a pixel is unknown)
            findings: the result in sentences, Markdown
            mask: PNG of the image's size, 255 where there is lesion and 0 elsewhere
            contours: JSON, for each lesion, the largest first, the corners [x, y] of its outline in pixels
                from the upper left corner of the image, clockwise, within 1 pixel of the mask's edge

        Raises:
            gr.Error: no image, or one that cannot be used; an argument out of its range; or no weights can
                be loaded.
        """
        threshold = _number(threshold, "threshold")
        opacity = _number(Look.opacity if opacity is None else opacity, "opacity")
        if threshold is not None and not 0 < threshold < 1:
            raise UsageError(f"The threshold is {threshold:g}.", "Choose it between 0 and 1.")
        clip_frame = _number(clip_frame, "clip_frame")
        settings = {
            "anyway": _switch(analyse_anyway, "analyse_anyway"),
            "pixel_size_mm": pixel_size(_number(pixel_size_mm, "pixel_size_mm")),
            "threshold": threshold,
            "look": Look(view, color, opacity, _switch(diameters, "diameters")),
        }

        def answer() -> PublicAnswer:
            analysis = self._analyse(_decoded(image, clip_frame)[0], **settings)
            return image_answer.public_answer(AnalysisResult(analysis, self._model()))

        return in_turn(0 if image is None else pixel_count(image), answer)

    def analyse(
        self,
        path: str | Path | None,
        pixel_size_mm: float | None,
        clip_frame: float | None = None,
    ) -> Analysis:
        """Analyse a new file, or a frame (counted from 1) of the clip at hand.

        The typed pixel size counts unless a new file states its own.
        """

        def analysed() -> Analysis:
            image, pixels = _decoded(path, clip_frame)
            known = clip_frame is None and bool(image.spacing_mm or image.regions)
            return self._analyse(
                image,
                pixel_size_mm=None if known else typed_size(pixel_size_mm),
                colors=_colors(pixels),
                name=result_name(path),
                source=Path(path),
            )

        return in_turn(0 if path is None else pixel_count(path), analysed)

    def analyse_example(self, pixel_size_mm: float | None, *, event: gr.EventData) -> Analysis:
        """Analyse the example that was clicked."""
        example = examples()[int(event.key)]
        remark = text.example(example.case, example.label)
        return replace(self.analyse(example.path, pixel_size_mm), remark=remark)

    def analyse_row(
        self, paths: list[str] | None, pixel_size_mm: float | None, *, event: gr.EventData
    ) -> Analysis:
        """Analyse the image of the row that was clicked, of a batch of these files."""
        with cache_scratch() as folder:
            path = find_row(event.row_value, paths, folder)
            if folder in path.parents:
                # From a zip; kept, as DICOM results need its header, see `imaging.dicom_results`.
                path = Path(shutil.move(path, answer_folder()))
            return replace(self.analyse(path, pixel_size_mm), in_box=False)

    def go_back(self, pixel_size_mm: float | None, *, event: gr.EventData, session: str | None) -> Analysis:
        """Return the analysis that was clicked among the last images; the network is not run again."""
        analysis = self.recent.get(session, event.key)
        if not (analysis.image.spacing_mm or analysis.image.regions):
            typed = typed_size(pixel_size_mm)
            analysis = replace(analysis, pixel_size_mm=typed or analysis.pixel_size_mm)
        return replace(analysis, in_box=False)

    def analyse_part(self, analysis: Analysis | None, box: str) -> Analysis:
        """Analyse a part of the kept image as a new one: the box that was drawn over it on the page."""
        analysis = required(analysis)
        if not re.fullmatch(r"-?\d+(,-?\d+){3}", box):
            raise UsageError(*text.NO_BOX)
        scale = reduction(analysis.image.pixels.shape)
        return self._cropped(analysis, tuple(scale * int(end) for end in box.split(",")))

    def analyse_panel(self, side: int, analysis: Analysis | None) -> Analysis:
        """Analyse the left (0) or right (1) of two images that are side by side as a new one."""
        analysis = required(analysis)
        return self._cropped(analysis, analysis.panels[side])

    def analyse_blackened(self, analysis: Analysis | None) -> Analysis:
        """Analyse the kept image as a new one, its text blackened where that covers no lesion."""
        analysis = required(analysis)
        beside = analysis.text_beside(analysis.predict(self._model().predictor).mask)
        if not beside:
            raise UsageError(*text.TEXT_ON_LESION)
        pixels = blacken(analysis.image.pixels, beside)
        return self._renewed(analysis, replace(analysis.image, pixels=pixels), text.BLACKENED)

    def take(
        self,
        number: float,
        newest: Newest,
        analyse: Callable[[], Analysis],
        look: Look,
        *,
        frame_moves: bool = False,
    ) -> Answer:
        """Answer an event that sets the image: the last image is forgotten, the new one waits for `run`.

        Nothing changes if a newer event was here first.

        Args:
            frame_moves: whether another frame of the clip was chosen, whose slider may still be moving.
        """

        def answer() -> Answer:
            try:
                analysis = replace(analyse(), number=int(number), look=look)
                shown = in_turn(
                    analysis.image.pixels.size,
                    lambda: image_answer.whole(AnalysisResult(analysis, self._model())),
                )
            except BusiUNetError as error:
                shown = {**image_answer.empty(str(error)), "error": str(error)}
            return without_clip(shown)

        def without_clip(answer: Answer) -> Answer:
            """Leave the clip's components as they are if only its frame changes."""
            return {name: value for name, value in answer.items() if name not in CLIP or not frame_moves}

        if not newest.take(number, answer, same_file=frame_moves):
            return {}
        return {**without_clip(image_answer.awaited()), "number": newest.number}

    def clear(self, number: float, newest: Newest, *, error: str = "") -> Answer:
        """Answer an event that removed the image, or failed to set one, with a page without an image."""
        if not newest.take(number):
            return {}
        return {**image_answer.empty(error), "number": newest.number}

    def run(self, newest: Newest) -> None:
        """Analyse the newest image, unless that is done; images that it replaced are never analysed."""
        newest.run(lambda: image_answer.empty(text.TRY_AGAIN))

    def show(self, newest: Newest, request: gr.Request) -> Answer:
        """Return what the page shows and keeps of the newest image, once, with its number."""
        answer = newest.hand_over()
        if answer is None:
            return {}
        if error := answer.pop("error", None):
            gr.Warning(error, title=text.NOT_ANALYSED, duration=30)
        if kept := answer.get("kept"):
            answer["recent"] = self.recent.add(request.session_hash, kept)
        return {**answer, "number": newest.number}

    def _analyse(self, image: DecodedImage, **settings: Any) -> Analysis:
        return Analysis(
            image,
            self._model().predictor.run([image.pixels])[0],
            warnings=image_warnings(image),
            text_boxes=text_boxes(image.pixels),
            panels=panel_boxes(image.pixels),
            **settings,
        )

    def _cropped(self, analysis: Analysis, box: Box) -> Analysis:
        return self._renewed(analysis, analysis.image.crop(box), text.CROPPED)

    def _renewed(self, analysis: Analysis, image: DecodedImage, made: str) -> Analysis:
        """Analyse an image made from a kept one; its name says how."""
        return in_turn(
            image.pixels.size,
            lambda: self._analyse(
                image,
                name=analysis.name if analysis.name.endswith(made) else f"{analysis.name} {made}",
                remark=analysis.remark,
                pixel_size_mm=analysis.pixel_size_mm,
                in_box=False,
            ),
        )


def _number(value: Any, name: str) -> float | None:
    """Return a number that a caller of the API may have sent as text."""
    try:
        given = None if value is None else float(value)
    except (TypeError, ValueError):
        given = math.nan
    if given is not None and not math.isfinite(given):
        raise UsageError(f"{name} is {str(value)[:20]!r}, not a number.", "Send a number, such as 0.5.")
    return given


def _switch(value: Any, name: str) -> bool:
    """Return a truth value that a caller of the API may have sent as text."""
    given = {"true": True, "1": True, "false": False, "0": False, "none": False}.get(str(value).lower())
    if given is None:
        raise UsageError(f"{name} is {str(value)[:20]!r}.", "Send true or false.")
    return given


def pixel_size(value: float | None) -> float | None:
    """Return a pixel size in millimetres; `UsageError` if it is not plausible."""
    if value is None:
        return None
    if not is_plausible((value, value)):
        raise UsageError(*text.pixel_size_not_plausible(value))
    return float(value)


def typed_size(value: float | None) -> float | None:
    """Return the pixel size in the page's field, or None with a warning: the image itself can be used.

    An emptied field may give 0.
    """
    try:
        return pixel_size(value or None)
    except UsageError as error:
        gr.Warning(f"{error} {text.NOT_USED}")
        return None


def result_name(upload: str | Path) -> str:
    """Return the name of the results of an upload, without ending: its letters, digits, `.`, `_` and `-`."""
    path = Path(upload)
    # A DICOM file may be named by a number with points, which are no ending.
    stem = path.stem if path.suffix.lower() in EXTENSIONS else path.name
    return re.sub(r"[^\w.-]+", "_", stem)[:80].strip("._") or "image"


def _decoded(
    path: str | Path | None, clip_frame: float | None
) -> tuple[DecodedImage, Image.Image | np.ndarray]:
    """Return the image of a file, and its pixels as the file has them."""
    if path is None:
        raise UsageError(*text.NO_IMAGE)
    megabytes = Path(path).stat().st_size / 1024**2
    if megabytes > MAX_IMAGE_MEGABYTES:
        raise UsageError(*text.too_many_megabytes(round(megabytes, 1), MAX_IMAGE_MEGABYTES))
    index = 0 if clip_frame is None else round(clip_frame) - 1
    # Named neutrally: an upload's own name is a stranger's text, and the page renders errors as HTML.
    loaded = load_pixels(Path(path).read_bytes(), index=index, name="The file")
    return decoded(loaded, index, "The file"), loaded.pixels


def _colors(pixels: Image.Image | np.ndarray) -> bytes | None:
    """Return an image in the colours of its file, PNG; None where it is grey."""
    if isinstance(pixels, np.ndarray):
        if pixels.ndim != 3 or pixels.dtype != np.uint8:
            return None
        pixels = Image.fromarray(pixels)
    if pixels.mode[0] in "1LIF":
        return None
    pixels = for_page(over_black(pixels)[0].convert("RGB"))
    red, green, blue = pixels.split()
    gaps = (ImageChops.difference(*pair) for pair in ((red, green), (green, blue), (blue, red)))
    if max(gap.getextrema()[1] for gap in gaps) <= _GREY_GAP:
        return None
    return image_bytes(pixels, "PNG", compress_level=1)
