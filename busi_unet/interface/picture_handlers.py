"""What happens to one picture: analysed once, then looked at, compared, corrected and taken home."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr
import numpy as np
from PIL import Image

from busi_unet.config import CLASS_NAMES
from busi_unet.errors import UsageError
from busi_unet.imaging.agreement import compare_masks, decode_reference
from busi_unet.imaging.decode import Frame, decode_frame
from busi_unet.imaging.overlay import draw_agreement
from busi_unet.imaging.quality import picture_warnings
from busi_unet.interface.about_handlers import describe_origin
from busi_unet.interface.analysis import Analysis, Look, draw, legend, measurement_rows
from busi_unet.interface.downloads import answer_folder, write_downloads, write_training_pair
from busi_unet.interface.examples import example_frame
from busi_unet.interface.kept_results import KeptResults
from busi_unet.interface.model import ModelInUse
from busi_unet.interface.shown_errors import shown_errors
from busi_unet.interface.wording import describe, describe_agreement, describe_set

if TYPE_CHECKING:
    from busi_unet.predictor import Prediction, RawOutput

INVITATION = "Upload a picture (PNG, JPEG, WebP, BMP, TIFF or DICOM), or choose an example."
PIXEL_SIZE_INFO = "If you know it: lesions are then measured in millimetres."
LAYOUTS = ("Side by side", "Slider")
BRUSH_COLOR, BRUSH_OPACITY = (230, 159, 0), 0.4


class PublicAnswer(NamedTuple):
    """What a program is answered with, in this order.

    Attributes:
        overlay: RGB, the size of the picture, with the lesions drawn over it.
        probabilities: per class; None where the picture is refused.
        report: JSON-ready, with the weights in use.
        findings: Markdown.
    """

    overlay: Image.Image | None
    probabilities: dict[str, float] | None
    report: dict[str, Any] | None
    findings: str


class Answer(NamedTuple):
    """What the page is answered with: a `PublicAnswer`, and what else it shows and keeps.

    Attributes:
        original: the grey frame that was analysed, the size of the overlay.
        analysis: for looking at it in other ways; it never leaves the server.
    """

    overlay: Image.Image | None
    probabilities: dict[str, float] | None
    report: dict[str, Any] | None
    findings: str
    original: Image.Image | None
    analysis: Analysis | None


class Drawing(NamedTuple):
    """An analysis looked at in some way, one value per output component.

    Attributes:
        overlay: as in `Answer`.
        pair: original and overlay, for the comparison by a slider.
        legend: what the colours mean, Markdown.
        probabilities, report, findings: as in `Answer`.
        measurements: a row per lesion.
        agreement: with the reference mask, Markdown.
        agreement_picture: RGB, where the two masks agree and differ.
        analysis: with the settings that this was drawn with.
    """

    overlay: Image.Image | None
    pair: tuple[Image.Image, Image.Image] | None
    legend: str
    probabilities: dict[str, float] | None
    report: dict[str, Any] | None
    findings: str
    measurements: list[list[Any]]
    agreement: str
    agreement_picture: Image.Image | None
    analysis: Analysis | None


class PictureHandlers:
    """The functions behind the tab.

    Args:
        model: gives the weights in use; called when the first picture arrives, not before.
    """

    def __init__(self, model: Callable[[], ModelInUse]) -> None:
        self._model = model
        self._kept = KeptResults()
        # Calls that come past the queue take their turn here.
        self._network = threading.Lock()

    def predict(
        self,
        picture: bytes | None,
        clip_frame: float | None = 1,
        pixel_size_mm: float | None = None,
        analyse_anyway: bool = False,
        view: str = Look.view,
        color: str = Look.color,
        opacity: float = Look.opacity,
        diameters: bool = Look.diameters,
    ) -> PublicAnswer:
        """Outlines lesions in one breast ultrasound picture and gives the probabilities of its class.

        For research, not a medical device. The report holds the class (normal, benign or malignant) with
        calibrated probabilities, and for each lesion its area, diameters, shape and depth, in millimetres
        where the size of a pixel is known, else in pixels. A picture that is not fit is refused with reasons.

        Args:
            picture: file of one picture: PNG, JPEG, WebP, BMP, TIFF or DICOM.
            clip_frame: which frame of a DICOM clip, from 1.
            pixel_size_mm: side of a pixel in millimetres, if known; a DICOM file may tell it itself.
            analyse_anyway: whether to analyse a picture that would be refused.
            view: what is drawn over the picture.
            color: of outline and tint; all can be told apart by the colour-blind.
            opacity: of tints and maps, from 0 to 1.
            diameters: whether to draw the measured diameters.

        Raises:
            gr.Error: as for `analyse`.
        """
        look = (view, color, opacity, diameters)
        answer = self.analyse(picture, clip_frame, pixel_size_mm, analyse_anyway, *look)
        return PublicAnswer(*answer[: len(PublicAnswer._fields)])

    def analyse(
        self,
        picture: bytes | None,
        clip_frame: float | None = 1,
        pixel_size_mm: float | None = None,
        analyse_anyway: bool = False,
        *look: Any,
    ) -> Answer:
        """`predict`, with what the page keeps; `look` are the fields of `Look`.

        Raises:
            gr.Error: no picture, or one that cannot be used; or no weights can be loaded.
        """
        with shown_errors():
            if picture is None:
                raise UsageError("No picture was given.", "Choose one and try again.")
            # Named neutrally: an upload's own name is a stranger's text, and the page renders errors as HTML.
            frame = decode_frame(picture, index=_index(clip_frame), name="The file")
            analysis = Analysis(
                frame,
                self._run(frame),
                even_if_refused=bool(analyse_anyway),
                pixel_size_mm=_pixel_size(pixel_size_mm),
            )
            return self._answer(analysis, Look(*look))

    def analyse_upload(self, picture: bytes | None, *look: Any) -> Answer:
        """`analyse` for a file of the page, drawn with the fields of `Look`."""
        return self.analyse(picture, 1, None, False, *look)

    def analyse_captured(self, path: str | None, *look: Any) -> Answer:
        """`analyse` for a picture that was pasted, or taken by the camera."""
        return self.analyse_upload(Path(path).read_bytes() if path else None, *look)

    def analyse_example(self, event: gr.SelectData, *look: Any) -> Answer:
        """`analyse` for the synthetic example that was clicked."""
        with shown_errors():
            label = CLASS_NAMES[event.index]
            frame = Frame(example_frame(label))
            return self._answer(
                Analysis(frame, self._run(frame), f"*Synthetic example, drawn as {label}.*"), Look(*look)
            )

    def settle(self, analysis: Analysis | None) -> tuple[Any, ...]:
        """The controls that belong to one picture, for a new one.

        Returns:
            Updates of the clip's frame, the threshold, the button "Analyse anyway" and the pixel size; and
            None for each of the reference mask, the files, the link, the editor and the training pair.
        """
        if analysis is None:
            return *(gr.skip() for _ in range(4)), *(None for _ in range(5))
        frame, predictor = analysis.frame, self._model().predictor
        info = PIXEL_SIZE_INFO
        if frame.spacing_mm is not None:
            down, across = frame.spacing_mm
            info = f"The file says {across:.4g} across and {down:.4g} in depth. Type another to overrule it."
        return (
            gr.Slider(value=frame.index + 1, maximum=max(2, frame.frames), visible=frame.frames > 1),
            gr.Slider(value=predictor.config.thresholds.mask),
            gr.Button(visible=not analysis.even_if_refused and analysis.predict(predictor).refused),
            gr.Number(value=analysis.pixel_size_mm, info=info),
            *(None for _ in range(5)),
        )

    def settle_frame(self, analysis: Analysis | None) -> tuple[Any, ...]:
        """`settle` without the clip's frame, whose slider may be moving on."""
        return self.settle(analysis)[1:]

    def redraw(
        self,
        analysis: Analysis | None,
        threshold: float | None,
        layout: str,
        *look: Any,
    ) -> Drawing:
        """The kept picture under other settings; the network is not asked again.

        Args:
            analysis: what `analyse` kept; None where nothing has been analysed or it has been forgotten.
            threshold: lesion probability of a pixel; the model's own leaves its thresholds in force.
            layout: one of `LAYOUTS`; the pair is only made for the second.
            look: the fields of `Look`.
        """
        if analysis is None:
            return Drawing(None, None, "", None, None, INVITATION, [], "", None, None)
        with shown_errors():
            model = self._model()
            own = model.predictor.config.thresholds.mask
            by_hand = threshold is not None and abs(threshold - own) > 1e-6
            analysis = replace(analysis, threshold=float(threshold) if by_hand else None)
            prediction = analysis.predict(model.predictor)
            answer = self._show(analysis, prediction, Look(*look))
            agreement, agreement_picture = _compare(analysis, prediction)
            return Drawing(
                overlay=answer.overlay,
                pair=(answer.original, answer.overlay) if layout == LAYOUTS[1] else gr.skip(),
                legend=legend(prediction, look[0]),
                probabilities=answer.probabilities,
                report=answer.report,
                findings=answer.findings,
                measurements=measurement_rows(prediction.measurements),
                agreement=agreement,
                agreement_picture=agreement_picture,
                analysis=analysis,
            )

    def analyse_again(self, analysis: Analysis | None) -> tuple[Analysis | None, Any]:
        """The kept picture, its result to be shown although it was refused; and the button hidden."""
        return analysis and replace(analysis, even_if_refused=True), gr.Button(visible=False)

    def measure_in_mm(self, analysis: Analysis | None, pixel_size_mm: float | None) -> Analysis | None:
        """The kept picture with a pixel size that the visitor typed, or without one again.

        Raises:
            gr.Error: a size that no ultrasound picture has.
        """
        with shown_errors():
            return analysis and replace(analysis, pixel_size_mm=_pixel_size(pixel_size_mm))

    def compare(self, analysis: Analysis | None, reference: bytes | None) -> Analysis | None:
        """The kept picture with a reference mask that the visitor brings, an encoded picture.

        Raises:
            gr.Error: nothing was analysed yet, or no mask of the picture's size.
        """
        with shown_errors():
            if reference is None:
                return analysis and replace(analysis, reference=None)
            analysis = _required(analysis)
            return replace(analysis, reference=decode_reference(reference, analysis.frame.pixels.shape))

    def start_correction(self, analysis: Analysis | None) -> dict[str, Any]:
        """The picture with its mask as a layer to paint on, for the editor."""
        with shown_errors():
            analysis = _required(analysis)
            mask = analysis.predict(self._model().predictor).mask
            layer = np.zeros((*mask.shape, 4), dtype=np.uint8)
            layer[mask] = (*BRUSH_COLOR, round(255 * BRUSH_OPACITY))
            return {
                "background": Image.fromarray(analysis.frame.pixels).convert("RGB"),
                "layers": [Image.fromarray(layer)],
                "composite": None,
            }

    def correct(self, analysis: Analysis | None, painted: dict[str, Any] | None) -> Analysis | None:
        """The kept picture with what is painted in the editor as its mask."""
        with shown_errors():
            analysis = _required(analysis)
            if not painted or painted.get("background") is None:
                raise UsageError("There is nothing painted yet.", "Press Start, then paint.")
            return replace(analysis, corrected=_painted_mask(painted, analysis.frame.pixels.shape))

    def drop_correction(self, analysis: Analysis | None) -> Analysis | None:
        """The kept picture with the network's own mask."""
        return analysis and replace(analysis, corrected=None)

    def training_pair(self, analysis: Analysis | None, label: str) -> str:
        """A zip with the picture and its mask in BUSI's layout; returns its path."""
        with shown_errors():
            analysis = _required(analysis)
            mask = analysis.predict(self._model().predictor).mask
            return str(write_training_pair(answer_folder(), analysis.frame.pixels, mask, label))

    def downloads(self, analysis: Analysis | None, *look: Any) -> list[str]:
        """Mask, overlay, JSON and PDF report of the picture as it is drawn now; returns their paths."""
        with shown_errors():
            analysis = _required(analysis)
            model = self._model()
            prediction = analysis.predict(model.predictor)
            paths = write_downloads(
                answer_folder(),
                frame=analysis.frame,
                prediction=prediction,
                overlay=draw(analysis.frame.pixels, prediction, Look(*look)),
                report=self._report(analysis, prediction),
                summary=[line for line in (describe_set(prediction), _by_hand(analysis)) if line],
                model=describe_origin(model),
                date=date.today().isoformat(),
            )
            return [str(path) for path in paths]

    def keep(self, analysis: Analysis | None) -> str:
        """Keeps the result for a while under a name that cannot be guessed; returns the name."""
        with shown_errors():
            return self._kept.put(_required(analysis))

    def open_kept(self, request: gr.Request) -> Answer:
        """The result that the page's address names with `?result=`, if any."""
        with shown_errors():
            token = request.query_params.get("result")
            if not token:
                return nothing()
            analysis = self._kept.get(token)
            if analysis is None:
                gr.Warning(
                    "The result of this link is no longer kept. Upload the picture again.", duration=None
                )
                return nothing()
            return self._answer(replace(analysis, remark="*Opened from a link.*"), Look())

    def _run(self, frame: Frame) -> RawOutput:
        predictor = self._model().predictor
        with self._network:
            return predictor.run([frame.pixels])[0]

    def _answer(self, analysis: Analysis, look: Look) -> Answer:
        return self._show(analysis, analysis.predict(self._model().predictor), look)

    def _show(self, analysis: Analysis, prediction: Prediction, look: Look) -> Answer:
        hidden = prediction.refused and not analysis.even_if_refused
        return Answer(
            overlay=draw(analysis.frame.pixels, prediction, look),
            probabilities=None if hidden else prediction.probabilities,
            report=self._report(analysis, prediction),
            findings=self._findings(analysis, prediction),
            original=Image.fromarray(analysis.frame.pixels),
            analysis=analysis,
        )

    def _report(self, analysis: Analysis, prediction: Prediction) -> dict[str, Any]:
        warnings = list(picture_warnings(analysis.frame))
        weights = self._model().to_dict()
        return {**prediction.to_dict(), **analysis.to_dict(), "warnings": warnings, "weights": weights}

    def _findings(self, analysis: Analysis, prediction: Prediction) -> str:
        model = self._model()
        quotes = [model.notice, *(() if prediction.refused else picture_warnings(analysis.frame))]
        paragraphs = [f"> {quote}" for quote in quotes if quote]
        found = describe(prediction, even_if_refused=analysis.even_if_refused)
        paragraphs += [analysis.remark, found, _by_hand(analysis), model.describe()]
        return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def nothing(findings: str = INVITATION) -> Answer:
    """An empty page, so that no result stays beside a picture it does not belong to."""
    return Answer(None, None, None, findings, None, None)


def _compare(analysis: Analysis, prediction: Prediction) -> tuple[str, Image.Image | None]:
    if analysis.reference is None:
        return "", None
    agreement = compare_masks(prediction.mask, analysis.reference, spacing_mm=analysis.spacing_mm)
    picture = draw_agreement(analysis.frame.pixels, prediction.mask, analysis.reference)
    return describe_agreement(agreement), picture


def _by_hand(analysis: Analysis) -> str:
    if analysis.corrected is not None:
        return "The outline was corrected by hand; the probabilities are the network's own."
    if analysis.threshold is not None:
        return (
            f"The outline follows a threshold set by hand ({analysis.threshold:.2f}), also where the model "
            "itself would draw none."
        )
    return ""


def _painted_mask(painted: dict[str, Any], shape: tuple[int, int]) -> np.ndarray:
    """Where any layer of the editor is painted, as bool of the picture's shape (H, W)."""
    mask = np.zeros(shape, dtype=bool)
    for layer in painted["layers"]:
        # The rim of a stroke is fainter than the rest of it.
        painted_here = Image.fromarray(np.asarray(layer)[..., 3] >= 128 * BRUSH_OPACITY)
        # The editor may work at another size than the picture's own.
        mask |= np.asarray(painted_here.resize(shape[::-1], Image.Resampling.NEAREST))
    return mask


def _index(clip_frame: float | None) -> int:
    return 0 if clip_frame is None else round(clip_frame) - 1


def _pixel_size(value: float | None) -> float | None:
    if not value:
        return None
    if not 0.001 <= value <= 10:
        raise UsageError(f"A pixel of {value:g} mm is not plausible.", "Type millimetres, such as 0.08.")
    return float(value)


def _required(analysis: Analysis | None) -> Analysis:
    if analysis is None:
        raise UsageError("There is no picture to work on.", "Upload one, or choose an example.")
    return analysis
