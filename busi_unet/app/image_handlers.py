"""What happens to one image: analysed once, then looked at, compared, corrected and taken home."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from busi_unet.app import image_answer, text
from busi_unet.app.about_handlers import describe_origin
from busi_unet.app.analysis import Analysis, Look, draw
from busi_unet.app.downloads import (
    answer_folder,
    as_files,
    result_name,
    write_downloads,
    write_training_pair,
)
from busi_unet.app.examples import examples
from busi_unet.app.image_answer import Answer, PublicAnswer
from busi_unet.app.image_parts import BRUSH_COLOR, BRUSH_OPACITY
from busi_unet.app.kept_results import KeptResults
from busi_unet.app.model import ModelInUse
from busi_unet.app.newest import Newest
from busi_unet.app.shown_errors import shown_errors
from busi_unet.errors import BusiUNetError, UsageError
from busi_unet.imaging.agreement import decode_reference
from busi_unet.io.decode import DecodedImage, read_image

MAX_IMAGE_MEGABYTES = 50


class ImageHandlers:
    """The functions behind the tab; what they answer names components of `image_parts`.

    Args:
        model: gives the weights in use; called when the first image arrives, not before.
    """

    def __init__(self, model: Callable[[], ModelInUse]) -> None:
        self._model = model
        self._kept = KeptResults()
        # Calls that come past the queue take their turn here.
        self._network = threading.Lock()

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
        """Outline lesions in one breast ultrasound image and give the probabilities of its class.

        For research, not a medical device. The report holds the class (normal, benign or malignant) with
        probabilities and whether these are calibrated, and for each lesion its area, diameters, shape and
        depth, in millimetres where the size of a pixel is known, else in pixels. An image that is blank or
        out of distribution is refused with reasons and has neither class nor mask.

        Args:
            image: file of one image: PNG, JPEG, WebP, BMP, TIFF or DICOM.
            clip_frame: which frame of a DICOM clip, from 1.
            pixel_size_mm: side of a pixel in millimetres, if known; a DICOM file may state it itself.
            analyse_anyway: whether to analyse an image that would be refused.
            view: what is drawn over the image.
            color: of outline and tint; all can be told apart by the colour-blind.
            opacity: of tints and maps, from 0 to 1.
            diameters: whether to draw the measured diameters.
            threshold: lesion probability from which a pixel belongs to the mask, between 0 and 1; by default
                the model's own rules, which may also leave a whole image without a mask.

        Raises:
            gr.Error: no image, or one that cannot be used; an argument out of its range; or no weights can
                be loaded.
        """
        with shown_errors():
            if threshold is not None and not 0 < threshold < 1:
                raise UsageError(f"The threshold is {threshold:g}.", "Choose it between 0 and 1.")
            analysis = self._analyse(
                _decoded(image, clip_frame),
                anyway=bool(analyse_anyway),
                pixel_size_mm=_pixel_size(pixel_size_mm),
                threshold=threshold,
                look=Look(view, color, opacity, diameters),
            )
            return image_answer.public_answer(analysis, self._model())

    def analyse_upload(self, image: str | None, pixel_size_mm: float | None, *look: Any) -> Analysis:
        """Analyse a file of the page, to be drawn with the fields of `Look`.

        What the visitor typed as the size of a pixel counts unless the file has its own.
        """
        frame = _decoded(image, 1)
        size = None if frame.spacing_mm else _typed_size(pixel_size_mm)
        return self._analyse(frame, pixel_size_mm=size, look=Look(*look), name=result_name(image))

    def analyse_captured(self, path: str | None, pixel_size_mm: float | None, *look: Any) -> Analysis:
        """Analyse an image that was pasted, or taken by the camera."""
        size = _typed_size(pixel_size_mm)
        return self._analyse(_decoded(path, 1), pixel_size_mm=size, look=Look(*look))

    def analyse_frame(
        self, image: str | None, clip_frame: float | None, pixel_size_mm: float | None, *look: Any
    ) -> Analysis:
        """Analyse another frame of the clip at hand."""
        return self._analyse(
            _decoded(image, clip_frame),
            pixel_size_mm=_typed_size(pixel_size_mm),
            look=Look(*look),
            name=result_name(image),
        )

    def analyse_example(self, event: gr.SelectData, pixel_size_mm: float | None, *look: Any) -> Analysis:
        """Analyse the example that was clicked."""
        example = examples()[event.index]
        return self._analyse(
            read_image(example.path),
            remark=text.example(example.case, example.label),
            name=example.path.stem,
            pixel_size_mm=_typed_size(pixel_size_mm),
            look=Look(*look),
        )

    def take(
        self,
        analyse: Callable[..., Analysis] | None,
        number: float,
        newest: Newest,
        *inputs: Any,
        frame_moves: bool = False,
        set_look: bool = False,
        findings: str = text.INVITATION,
    ) -> Answer:
        """Answer an event that sets the image: the one before is forgotten, the new one waits for `run`.

        Args:
            analyse: gives the analysis of the new image; None where there is none.
            number: of the event, as the browser gave it.
            newest: of the page.
            inputs: of `analyse`, then one of `text.LAYOUTS`.
            frame_moves: whether it is the clip's frame that was chosen, whose slider may be moving on.
            set_look: whether the controls of how it is drawn follow the analysis.
            findings: what a page without an image says, Markdown.

        Returns:
            A page that waits, or an empty one; nothing if a newer event was here first.
        """

        def answer(number: int) -> Answer:
            *arguments, layout = inputs
            try:
                analysis = replace(analyse(*arguments), number=number)
                shown = as_files(image_answer.whole)(analysis, self._model(), layout)
                return {**shown, **asdict(analysis.look)} if set_look else shown
            except BusiUNetError as error:
                return {**image_answer.empty(text.not_analysed(str(error))), "error": str(error)}

        def without_slider(answer: Answer) -> Answer:
            return {name: value for name, value in answer.items() if name != "clip_frame" or not frame_moves}

        if not newest.take(number, analyse and (lambda number: without_slider(answer(number)))):
            return {}
        waiting = image_answer.empty(findings) if analyse is None else image_answer.awaited()
        return {**without_slider(waiting), "number": newest.number}

    def run(self, newest: Newest) -> None:
        """Analyse the newest image, unless that is done; those that it replaced are never analysed."""
        newest.run(lambda number: image_answer.empty(text.not_analysed(text.TRY_AGAIN)))

    def show(self, newest: Newest) -> Answer:
        """Return what the page shows and keeps of the newest image, once, with its number."""
        answer = newest.hand_over()
        if answer is None:
            return {}
        if error := answer.pop("error", None):
            gr.Warning(error, title=text.NOT_ANALYSED, duration=30)
        return {**answer, "number": newest.number}

    def redraw(self, analysis: Analysis | None, threshold: float | None, layout: str, *look: Any) -> Answer:
        """Return the kept image under other settings; the network is not asked again.

        What is kept stays as it is, so that a mask that arrives while this draws is not lost.

        Args:
            analysis: what was kept; None where nothing has been analysed or it has been forgotten.
            threshold: lesion probability of a pixel; the model's own leaves its thresholds in force.
            layout: one of `text.LAYOUTS`.
            look: the fields of `Look`.
        """
        if analysis is None:
            return image_answer.nothing_drawn(text.INVITATION)
        with shown_errors():
            own = self._model().predictor.config.thresholds.mask
            by_hand = threshold is not None and abs(threshold - own) > 1e-6
            analysis = replace(analysis, threshold=float(threshold) if by_hand else None, look=Look(*look))
            return image_answer.drawing(analysis, self._model(), layout)

    def analyse_again(self, analysis: Analysis | None) -> Answer:
        """Return the kept image, its result to be shown although it was refused."""
        return {"kept": analysis and replace(analysis, anyway=True), "anyway": gr.Button(visible=False)}

    def measure_in_mm(self, analysis: Analysis | None, pixel_size_mm: float | None) -> Answer:
        """Return the kept image with a pixel size that the visitor typed, or without one again."""
        return {"kept": analysis and replace(analysis, pixel_size_mm=_typed_size(pixel_size_mm))}

    def compare(self, analysis: Analysis | None, references: list[bytes] | None) -> Answer:
        """Return the kept image with reference masks that the visitor brings, encoded images to be united.

        Raises:
            gr.Error: nothing was analysed yet, or a mask that is not of the image's size.
        """
        with shown_errors():
            if not references:
                return {"kept": analysis and replace(analysis, reference=None)}
            analysis = _required(analysis)
            reference = decode_reference(references, analysis.frame.pixels.shape)
            return {"kept": replace(analysis, reference=reference)}

    def open_editor(self, analysis: Analysis | None, painted: dict[str, Any] | None) -> Answer:
        """Return `start_correction` for an editor that is empty; what is painted already stays."""
        return {} if analysis is None or _has_image(painted) else self.start_correction(analysis)

    def start_correction(self, analysis: Analysis | None) -> Answer:
        """Return the image for the editor, with its mask as drawn as a layer to paint on."""
        with shown_errors():
            analysis = _required(analysis)
            mask = analysis.predict(self._model().predictor).mask
            layer = np.zeros((*mask.shape, 4), dtype=np.uint8)
            layer[mask] = (*BRUSH_COLOR, round(255 * BRUSH_OPACITY))
            background = Image.fromarray(analysis.frame.pixels).convert("RGB")
            layers = [Image.fromarray(layer)]
            return {"editor": {"background": background, "layers": layers, "composite": None}}

    def correct(self, analysis: Analysis | None, painted: dict[str, Any] | None) -> Answer:
        """Return the kept image with what is painted in the editor as its mask, whatever the threshold."""
        with shown_errors():
            analysis = _required(analysis)
            if not _has_image(painted):
                raise UsageError(*text.NOTHING_PAINTED)
            analysis = replace(analysis, corrected=_painted_mask(painted, analysis.frame.pixels.shape))
            return {"kept": analysis, "threshold": gr.Slider(**image_answer.threshold_in_force(analysis))}

    def drop_correction(self, analysis: Analysis | None, drawn: Analysis | None) -> Answer:
        """Return the kept image with the network's own mask, the threshold in force, and a fresh editor."""
        with shown_errors():
            analysis, drawn = (replace(_required(each), corrected=None) for each in (analysis, drawn))
            threshold = gr.Slider(**image_answer.threshold_in_force(analysis))
            return {"kept": analysis, "threshold": threshold, **self.start_correction(drawn)}

    def training_pair(self, analysis: Analysis | None, label: str | None) -> Answer:
        """Return a zip with the image and its mask in the layout of BUSI."""
        with shown_errors():
            analysis = _required(analysis)
            mask = analysis.predict(self._model().predictor).mask
            path = write_training_pair(
                answer_folder(), analysis.name, frame=analysis.frame.pixels, mask=mask, label=label
            )
            return {"pair_file": str(path)}

    def downloads(self, analysis: Analysis | None) -> Answer:
        """Return mask, overlay, JSON and PDF report of the image as it is drawn now."""
        with shown_errors():
            analysis = _required(analysis)
            model = self._model()
            prediction = analysis.predict(model.predictor)
            agreement = analysis.compare(prediction)
            alert = model.predictor.config.thresholds.malignant
            summary = (
                text.describe_flag(prediction, alert),
                text.describe_set(prediction),
                *image_answer.notes(analysis, prediction),
            )
            compared = image_answer.agreement_in_words(analysis, agreement).replace("**", "").split("\n\n")
            paths = write_downloads(
                answer_folder(),
                analysis.name,
                frame=analysis.frame,
                prediction=prediction,
                overlay=draw(analysis.frame.pixels, prediction, analysis.look),
                report=image_answer.report(analysis, model, prediction, agreement),
                summary=[line for line in summary if line],
                comparison=[line for line in compared if line and line != text.AGREEMENT_LEGEND],
                model=describe_origin(model),
                date=date.today().isoformat(),
            )
            return {"files": [str(path) for path in paths]}

    def keep(self, analysis: Analysis | None) -> Answer:
        """Keep the result for a while; return its name, which cannot be guessed."""
        with shown_errors():
            return {"link": self._kept.put(_required(analysis))}

    def open_kept(self, number: float, newest: Newest, request: gr.Request) -> Answer:
        """`take` the result that the page's address names with `?result=`; else leave the page as it is."""
        token = request.query_params.get("result")
        analysis = self._kept.get(token) if token else None
        if analysis is None:
            if token:
                gr.Warning(text.LINK_EXPIRED, duration=None)
            return {}
        # Whoever has the link sees the image, not what its owner called the file.
        analysis = replace(analysis, remark=text.FROM_A_LINK, name=Analysis.name)
        return self.take(lambda: analysis, number, newest, text.LAYOUTS[0], set_look=True)

    def _analyse(self, frame: DecodedImage, **settings: Any) -> Analysis:
        predictor = self._model().predictor
        with self._network:
            return Analysis(frame, predictor.run([frame.pixels])[0], **settings)


def _has_image(painted: dict[str, Any] | None) -> bool:
    return bool(painted) and painted.get("background") is not None


def _painted_mask(painted: dict[str, Any], shape: tuple[int, int]) -> np.ndarray:
    """Return where any layer of the editor is painted, as bool of the image's shape (H, W)."""
    mask = np.zeros(shape, dtype=bool)
    for layer in painted["layers"]:
        # The rim of a stroke is fainter than the rest of it.
        painted_here = Image.fromarray(np.asarray(layer)[..., 3] >= 128 * BRUSH_OPACITY)
        # The editor may work at another size than the image's own.
        mask |= np.asarray(painted_here.resize(shape[::-1], Image.Resampling.NEAREST))
    return mask


def _decoded(path: str | None, clip_frame: float | None) -> DecodedImage:
    if path is None:
        raise UsageError(*text.NO_IMAGE)
    megabytes = Path(path).stat().st_size / 1024**2
    if megabytes > MAX_IMAGE_MEGABYTES:
        raise UsageError(*text.too_many_megabytes(megabytes, MAX_IMAGE_MEGABYTES))
    index = 0 if clip_frame is None else round(clip_frame) - 1
    # Named neutrally: an upload's own name is a stranger's text, and the page renders errors as HTML.
    return read_image(Path(path).read_bytes(), index=index, name="The file")


def _pixel_size(value: float | None) -> float | None:
    if value is None:
        return None
    if not 0.001 <= value <= 10:
        raise UsageError(f"A pixel of {value:g} mm is not plausible.", "Type millimetres, such as 0.08.")
    return float(value)


def _typed_size(value: float | None) -> float | None:
    """Return the pixel size in the page's field, or None with a warning: the image itself can be used.

    An emptied field may give 0.
    """
    try:
        return _pixel_size(value or None)
    except UsageError as error:
        gr.Warning(f"{error} It is not used.")
        return None


def _required(analysis: Analysis | None) -> Analysis:
    if analysis is None:
        raise UsageError(*text.NO_IMAGE_YET)
    return analysis
