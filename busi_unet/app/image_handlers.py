"""What happens to one picture: analysed once, then looked at, compared, corrected and taken home."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable
from dataclasses import astuple, fields, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr
import numpy as np
from PIL import Image

from busi_unet.app import text
from busi_unet.app.about_handlers import describe_origin
from busi_unet.app.analysis import Analysis, Look, draw, legend, measurement_rows
from busi_unet.app.downloads import (
    answer_folder,
    as_files,
    result_name,
    write_downloads,
    write_training_pair,
)
from busi_unet.app.examples import examples, usable
from busi_unet.app.kept_results import KeptResults
from busi_unet.app.model import ModelInUse
from busi_unet.app.newest import Newest
from busi_unet.app.shown_errors import shown_errors
from busi_unet.app.wording import (
    AGREEMENT_LEGEND,
    describe,
    describe_agreement,
    describe_flag,
    describe_set,
)
from busi_unet.config import Thresholds
from busi_unet.errors import BusiUNetError, UsageError
from busi_unet.imaging.agreement import Agreement, decode_reference
from busi_unet.imaging.overlay import draw_agreement
from busi_unet.imaging.quality import image_warnings
from busi_unet.io.decode import DecodedImage, read_image

if TYPE_CHECKING:
    from busi_unet.inference.prediction import Prediction

INVITATION = "Upload a picture (PNG, JPEG, WebP, BMP, TIFF or DICOM), or choose an example."
PIXEL_SIZE_INFO = "If you know it: lesions are then measured in millimetres."
THRESHOLD_INFO = "Lesion probability of a pixel."
MAX_IMAGE_MEGABYTES = 50
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
        agreement_image: RGB, where the two masks agree and differ.
        analysis: with the settings that this was drawn with: what is taken home, not what is worked on.
    """

    overlay: Image.Image | None
    pair: tuple[Image.Image, Image.Image] | None
    legend: str
    probabilities: dict[str, float] | None
    report: dict[str, Any] | None
    findings: str
    measurements: list[list[Any]]
    agreement: str
    agreement_image: Image.Image | None
    analysis: Analysis | None


class ImageHandlers:
    """The functions behind the tab.

    Args:
        model: gives the weights in use; called when the first picture arrives, not before.
        images: gives the files that the model brings to be tried with; called once the page has loaded.
    """

    def __init__(self, model: Callable[[], ModelInUse], images: Callable[[], Iterable[Path]] = tuple) -> None:
        self._model = model
        self._images = functools.cache(lambda: usable(images()))
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
        """Outlines lesions in one breast ultrasound picture and gives the probabilities of its class.

        For research, not a medical device. The report holds the class (normal, benign or malignant) with
        probabilities and whether these are calibrated, and for each lesion its area, diameters, shape and
        depth, in millimetres where the size of a pixel is known, else in pixels. A picture that is not fit is
        refused with reasons.

        Args:
            image: file of one picture: PNG, JPEG, WebP, BMP, TIFF or DICOM.
            clip_frame: which frame of a DICOM clip, from 1.
            pixel_size_mm: side of a pixel in millimetres, if known; a DICOM file may tell it itself.
            analyse_anyway: whether to analyse a picture that would be refused.
            view: what is drawn over the picture.
            color: of outline and tint; all can be told apart by the colour-blind.
            opacity: of tints and maps, from 0 to 1.
            diameters: whether to draw the measured diameters.
            threshold: lesion probability from which a pixel is outlined, between 0 and 1; by default the
                model's own rules, which may also leave a whole picture without an outline.

        Raises:
            gr.Error: no picture, or one that cannot be used; an argument out of its range; or no weights
                can be loaded.
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
            return PublicAnswer(*self._answer(analysis)[: len(PublicAnswer._fields)])

    def analyse_upload(self, image: str | None, pixel_size_mm: float | None, *look: Any) -> Answer:
        """A file of the page, drawn with the fields of `Look`.

        What the visitor typed as the size of a pixel counts unless the file has its own.
        """

        def analyse() -> Analysis:
            frame = _decoded(image, 1)
            size = None if frame.spacing_mm else _typed_size(pixel_size_mm)
            return self._analyse(frame, pixel_size_mm=size, look=Look(*look), name=result_name(image))

        return self._told(analyse)

    def analyse_captured(self, path: str | None, pixel_size_mm: float | None, *look: Any) -> Answer:
        """A picture that was pasted, or taken by the camera."""
        return self._told(
            lambda: self._analyse(
                _decoded(path, 1), pixel_size_mm=_typed_size(pixel_size_mm), look=Look(*look)
            )
        )

    def analyse_frame(
        self, image: str | None, clip_frame: float | None, pixel_size_mm: float | None, *look: Any
    ) -> Answer:
        """Another frame of the clip at hand."""
        return self._told(
            lambda: self._analyse(
                _decoded(image, clip_frame),
                pixel_size_mm=_typed_size(pixel_size_mm),
                look=Look(*look),
                name=result_name(image),
            )
        )

    def analyse_example(self, event: gr.SelectData, pixel_size_mm: float | None, *look: Any) -> Answer:
        """The example that was clicked."""

        def analyse() -> Analysis:
            example = examples()[event.index]
            return self._analyse(
                read_image(example.path),
                remark=text.example(example.case, example.label),
                name=example.path.stem,
                pixel_size_mm=_typed_size(pixel_size_mm),
                look=Look(*look),
            )

        return self._told(analyse)

    def brought(self) -> Any:
        """The gallery of the pictures that the model brings; hidden where it brings none."""
        shown = [(small, path.stem) for path, small in self._images()]
        return gr.Gallery(value=shown, visible=True) if shown else gr.skip()

    def analyse_brought(self, event: gr.SelectData, pixel_size_mm: float | None, *look: Any) -> Answer:
        """The picture of the model's own that was clicked."""
        path, _ = self._images()[event.index]
        return self.analyse_upload(str(path), pixel_size_mm, *look)

    def settle(self, analysis: Analysis | None) -> tuple[Any, ...]:
        """The controls that belong to one picture, for a new one, or for none.

        Returns:
            Updates of the clip's frame, the threshold, the button "Analyse anyway" and the pixel size; and
            None for each of the reference masks, the editor, the files, the link and the training pair.
        """
        emptied = (None,) * 5
        if analysis is None:
            return (
                gr.Slider(value=1, visible=False),
                _threshold_slider(None, Thresholds().mask),
                gr.Button(visible=False),
                gr.Number(value=None, info=PIXEL_SIZE_INFO),
                *emptied,
            )
        frame, predictor = analysis.frame, self._model().predictor
        info = PIXEL_SIZE_INFO
        if frame.spacing_mm is not None:
            down, across = frame.spacing_mm
            info = (
                f"The file says {across:.4g} mm across and {down:.4g} mm in depth. "
                "Type another to overrule it."
            )
        return (
            gr.Slider(value=frame.index + 1, maximum=max(2, frame.frames), visible=frame.frames > 1),
            _threshold_slider(analysis, predictor.config.thresholds.mask),
            gr.Button(visible=analysis.hides(analysis.predict(predictor))),
            gr.Number(value=analysis.pixel_size_mm, info=info),
            *emptied,
        )

    def take(
        self,
        analyse: Callable[..., Answer] | None,
        number: float,
        newest: Newest,
        *arguments: Any,
        frame_moves: bool = False,
        set_look: bool = False,
        findings: str = INVITATION,
    ) -> Any:
        """Answer an event that sets the image: the one before is forgotten, the new one waits for `run`.

        Args:
            analyse: gives the answer for the new image; None where there is none.
            number: of the event, as the browser gave it.
            newest: of the page.
            arguments: of `analyse` as `shown` makes it.
            frame_moves: whether it is the clip's frame that was chosen, whose slider stays.
            set_look: whether the controls of how it is drawn follow the analysis.
            findings: what a page without an image says, Markdown.

        Returns:
            What `empty` gives, and the number; `gr.skip()` if a newer event was here first.
        """
        shown = analyse and as_files(self.shown(analyse, frame_moves=frame_moves))

        def answer(number: int) -> tuple[Any, ...]:
            whole = shown(*arguments, number=number)
            look = astuple(arguments[0].look) if set_look else _same_look()
            return *whole, *look

        if not newest.take(number, answer if analyse else None):
            return gr.skip()
        if analyse is None:
            return *self.empty(findings), newest.number
        clip_frame = gr.skip() if frame_moves else gr.Slider(visible=False)
        kept = original = None
        same = gr.skip()
        settled = clip_frame, same, gr.Button(visible=False), same, *(None,) * 5
        return *_nothing_drawn(text.ANALYSING), kept, original, *settled, newest.number

    def run(self, newest: Newest) -> None:
        """Analyse the newest image, unless that is done; those that it replaced are never analysed."""
        newest.run(lambda number: (*self.empty(text.NOT_ANALYSED), *_same_look()))

    def show(self, newest: Newest) -> Any:
        """Return what the page shows and keeps of the newest image once, the fields of `Look`, its number."""
        answer = newest.hand_over()
        if answer is None:
            return gr.skip()
        drawing, kept = Drawing(*answer[: len(Drawing._fields)]), answer[len(Drawing._fields)]
        if kept is None:
            gr.Warning(drawing.findings.split("** ", 1)[-1], title="Not analysed", duration=30)
        return *answer, newest.number

    def shown(self, analyse: Callable[..., Answer], *, frame_moves: bool = False) -> Callable[..., Any]:
        """A handler that gives an `Answer`, made to give all that the page shows of it in one go.

        In one go, so that what comes next, a second click or another file, never meets half of it.

        Args:
            analyse: the handler.
            frame_moves: leave the clip's frame alone, whose slider may be moving on.

        Returns:
            The handler with one more input at the end, one of `LAYOUTS`; it gives what `empty` gives. Its
            `number` is that of the event that set the image.
        """

        @functools.wraps(analyse)
        def wrapped(*arguments: Any, number: int = 0) -> tuple[Any, ...]:
            *arguments, layout = arguments
            answer = analyse(*arguments)
            if answer.analysis is None:
                return self.empty(answer.findings)
            kept = replace(answer.analysis, number=number)
            drawing = self.redraw(kept, kept.threshold, layout, *astuple(kept.look))
            clip_frame, *others = self.settle(kept)
            return *drawing, kept, answer.original, gr.skip() if frame_moves else clip_frame, *others

        return wrapped

    def empty(self, findings: str = INVITATION) -> tuple[Any, ...]:
        """A page without a picture, in one go: what is drawn, what is kept, the original, and `settle`."""
        return *_nothing_drawn(findings), None, None, *self.settle(None)

    def redraw(
        self,
        analysis: Analysis | None,
        threshold: float | None,
        layout: str,
        *look: Any,
    ) -> Drawing:
        """The kept picture under other settings; the network is not asked again.

        What is kept stays as it is, so that a mask that arrives while this draws is not lost.

        Args:
            analysis: what was kept; None where nothing has been analysed or it has been forgotten.
            threshold: lesion probability of a pixel; the model's own leaves its thresholds in force.
            layout: one of `LAYOUTS`; the pair is only made for the second.
            look: the fields of `Look`.
        """
        if analysis is None:
            return _nothing_drawn(INVITATION)
        with shown_errors():
            own = self._model().predictor.config.thresholds.mask
            by_hand = threshold is not None and abs(threshold - own) > 1e-6
            analysis = replace(analysis, threshold=float(threshold) if by_hand else None, look=Look(*look))
            prediction = analysis.predict(self._model().predictor)
            agreement = analysis.compare(prediction)
            answer = self._show(analysis, prediction, agreement)
            return Drawing(
                overlay=answer.overlay,
                pair=(answer.original, answer.overlay) if layout == LAYOUTS[1] else gr.skip(),
                legend=legend(prediction, analysis.look.view),
                probabilities=answer.probabilities,
                report=answer.report,
                findings=answer.findings,
                measurements=measurement_rows(prediction.measurements),
                agreement=_agreement_in_words(analysis, agreement),
                agreement_image=agreement
                and draw_agreement(analysis.frame.pixels, prediction.mask, analysis.reference.mask),
                analysis=analysis,
            )

    def analyse_again(self, analysis: Analysis | None) -> tuple[Analysis | None, Any]:
        """The kept picture, its result to be shown although it was refused; and the button hidden."""
        return analysis and replace(analysis, anyway=True), gr.Button(visible=False)

    def measure_in_mm(self, analysis: Analysis | None, pixel_size_mm: float | None) -> Analysis | None:
        """The kept picture with a pixel size that the visitor typed, or without one again."""
        return analysis and replace(analysis, pixel_size_mm=_typed_size(pixel_size_mm))

    def compare(self, analysis: Analysis | None, references: list[bytes] | None) -> Analysis | None:
        """The kept picture with reference masks that the visitor brings, encoded pictures to be united.

        Raises:
            gr.Error: nothing was analysed yet, or a mask that is not of the picture's size.
        """
        with shown_errors():
            if not references:
                return analysis and replace(analysis, reference=None)
            analysis = _required(analysis)
            return replace(analysis, reference=decode_reference(references, analysis.frame.pixels.shape))

    def open_editor(self, analysis: Analysis | None, painted: dict[str, Any] | None) -> Any:
        """`start_correction` for an editor that is empty; what is painted already stays."""
        return gr.skip() if analysis is None or _has_image(painted) else self.start_correction(analysis)

    def start_correction(self, analysis: Analysis | None) -> dict[str, Any]:
        """The picture with its mask as drawn, as a layer to paint on, for the editor."""
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

    def correct(
        self, analysis: Analysis | None, painted: dict[str, Any] | None
    ) -> tuple[Analysis, gr.Slider]:
        """The kept picture with what is painted in the editor as its mask; the threshold has no say then."""
        with shown_errors():
            analysis = _required(analysis)
            if not _has_image(painted):
                raise UsageError("There is nothing painted yet.", "Press Start, then paint.")
            analysis = replace(analysis, corrected=_painted_mask(painted, analysis.frame.pixels.shape))
            return analysis, gr.Slider(**_in_force(analysis))

    def drop_correction(self, analysis: Analysis | None, drawn: Analysis | None) -> tuple[Any, ...]:
        """The kept picture with the network's own mask, the threshold in force, and a fresh editor."""
        with shown_errors():
            analysis, drawn = (replace(_required(each), corrected=None) for each in (analysis, drawn))
            return analysis, gr.Slider(**_in_force(analysis)), self.start_correction(drawn)

    def training_pair(self, analysis: Analysis | None, label: str | None) -> str:
        """A zip with the picture and its mask in BUSI's layout; returns its path."""
        with shown_errors():
            analysis = _required(analysis)
            mask = analysis.predict(self._model().predictor).mask
            path = write_training_pair(
                answer_folder(), analysis.name, frame=analysis.frame.pixels, mask=mask, label=label
            )
            return str(path)

    def downloads(self, analysis: Analysis | None) -> list[str]:
        """Mask, overlay, JSON and PDF report of the picture as it is drawn now; returns their paths."""
        with shown_errors():
            analysis = _required(analysis)
            model = self._model()
            prediction = analysis.predict(model.predictor)
            agreement = analysis.compare(prediction)
            told = () if analysis.hides(prediction) else (describe_flag(prediction), describe_set(prediction))
            compared = _agreement_in_words(analysis, agreement).replace("**", "").split("\n\n")
            paths = write_downloads(
                answer_folder(),
                analysis.name,
                frame=analysis.frame,
                prediction=prediction,
                overlay=draw(analysis.frame.pixels, prediction, analysis.look),
                report=self._report(analysis, prediction, agreement),
                summary=[line for line in (*told, *_notes(analysis, prediction)) if line],
                comparison=[line for line in compared if line and line != AGREEMENT_LEGEND],
                model=describe_origin(model),
                date=date.today().isoformat(),
            )
            return [str(path) for path in paths]

    def keep(self, analysis: Analysis | None) -> str:
        """Keeps the result for a while under a name that cannot be guessed; returns the name."""
        with shown_errors():
            return self._kept.put(_required(analysis))

    def open_kept(self, number: float, newest: Newest, request: gr.Request) -> Any:
        """`take` for the result that the page's address names with `?result=`; else the page as it is."""
        token = request.query_params.get("result")
        analysis = self._kept.get(token) if token else None
        if analysis is None:
            if token:
                gr.Warning(
                    "The result of this link is no longer kept. Upload the picture again.", duration=None
                )
            return gr.skip()
        # Whoever has the link shall see the picture, not what its owner called the file.
        analysis = replace(analysis, remark="*Opened from a link.*", name=Analysis.name)
        return self.take(self._answer, number, newest, analysis, LAYOUTS[0], set_look=True)

    def _analyse(self, frame: DecodedImage, **settings: Any) -> Analysis:
        predictor = self._model().predictor
        with self._network:
            return Analysis(frame, predictor.run([frame.pixels])[0], **settings)

    def _told(self, analyse: Callable[[], Analysis]) -> Answer:
        """The answer, or an empty page that says why there is none, for as long as nothing else happens."""
        try:
            return self._answer(analyse())
        except BusiUNetError as error:
            return nothing(f"**Not analysed.** {error}")

    def _answer(self, analysis: Analysis) -> Answer:
        prediction = analysis.predict(self._model().predictor)
        return self._show(analysis, prediction, analysis.compare(prediction))

    def _show(self, analysis: Analysis, prediction: Prediction, agreement: Agreement | None) -> Answer:
        return Answer(
            overlay=draw(analysis.frame.pixels, prediction, analysis.look),
            probabilities=None if analysis.hides(prediction) else prediction.probabilities,
            report=self._report(analysis, prediction, agreement),
            findings=self._findings(analysis, prediction),
            original=Image.fromarray(analysis.frame.pixels),
            analysis=analysis,
        )

    def _report(
        self, analysis: Analysis, prediction: Prediction, agreement: Agreement | None
    ) -> dict[str, Any]:
        report = prediction.to_dict()
        if analysis.hides(prediction):
            report |= dict.fromkeys(
                ("label", "probabilities", "calibrated", "flagged", "prediction_set", "coverage")
            )
        return {
            **report,
            **analysis.to_dict(),
            "agreement": agreement and agreement.to_dict(),
            "warnings": list(image_warnings(analysis.frame)),
            "weights": self._model().to_dict(),
        }

    def _findings(self, analysis: Analysis, prediction: Prediction) -> str:
        model = self._model()
        quotes = [model.notice, *(() if prediction.refused else image_warnings(analysis.frame))]
        paragraphs = [f"> {quote}" for quote in quotes if quote]
        found = describe(prediction, anyway=analysis.anyway)
        paragraphs += [analysis.remark, found, " ".join(_notes(analysis, prediction)), model.describe()]
        return "\n\n".join(paragraph for paragraph in paragraphs if paragraph)


def nothing(findings: str) -> Answer:
    """An empty page, so that no result stays beside a picture it does not belong to."""
    return Answer(None, None, None, findings, None, None)


def _same_look() -> list[Any]:
    return [gr.skip() for _ in fields(Look)]


def _nothing_drawn(findings: str) -> Drawing:
    return Drawing(None, None, "", None, None, findings, [], "", None, None)


def _threshold_slider(analysis: Analysis | None, own: float) -> gr.Slider:
    by_hand = analysis is not None and analysis.threshold is not None
    return gr.Slider(value=analysis.threshold if by_hand else own, **_in_force(analysis))


def _in_force(analysis: Analysis | None) -> dict[str, Any]:
    """Whether the threshold's slider can be moved, and what it says."""
    if analysis is not None and analysis.corrected is not None:
        return {"interactive": False, "info": "Not in use: the outline was corrected by hand."}
    return {"interactive": True, "info": THRESHOLD_INFO}


def _agreement_in_words(analysis: Analysis, agreement: Agreement | None) -> str:
    if agreement is None:
        return ""
    parts = (analysis.reference.remark, describe_agreement(agreement), AGREEMENT_LEGEND)
    return "\n\n".join(filter(None, parts))


def _notes(analysis: Analysis, prediction: Prediction) -> list[str]:
    """What a reader has to know of the settings behind the result, in sentences."""
    if analysis.hides(prediction):
        return []
    notes = []
    if analysis.corrected is not None:
        notes.append("The outline was corrected by hand; the probabilities are the network's own.")
    elif analysis.threshold is not None:
        notes.append(_by_hand(analysis.threshold, prediction))
    if prediction.measurements and analysis.spacing_mm is not None:
        typed = analysis.pixel_size_mm
        source = "the pixel size that the file states"
        if typed is not None:
            source = f"a pixel size that was typed, {typed:g} mm"
        notes.append(f"Millimetres rest on {source}.")
    return notes


def _by_hand(threshold: float, prediction: Prediction) -> str:
    if prediction.mask.any():
        return (
            f"The outline follows a threshold set by hand ({threshold:.2f}), also where the model itself "
            "would draw none."
        )
    highest = prediction.probability.max()
    if highest < threshold:
        return f"No pixel reaches the threshold set by hand ({threshold:.2f}); the highest has {highest:.3f}."
    return f"What reaches the threshold set by hand ({threshold:.2f}) is too small to be outlined."


def _has_image(painted: dict[str, Any] | None) -> bool:
    return bool(painted) and painted.get("background") is not None


def _painted_mask(painted: dict[str, Any], shape: tuple[int, int]) -> np.ndarray:
    """Where any layer of the editor is painted, as bool of the picture's shape (H, W)."""
    mask = np.zeros(shape, dtype=bool)
    for layer in painted["layers"]:
        # The rim of a stroke is fainter than the rest of it.
        painted_here = Image.fromarray(np.asarray(layer)[..., 3] >= 128 * BRUSH_OPACITY)
        # The editor may work at another size than the picture's own.
        mask |= np.asarray(painted_here.resize(shape[::-1], Image.Resampling.NEAREST))
    return mask


def _decoded(path: str | None, clip_frame: float | None) -> DecodedImage:
    if path is None:
        raise UsageError("No picture was given.", "Choose one and try again.")
    megabytes = Path(path).stat().st_size / 1024**2
    if megabytes > MAX_IMAGE_MEGABYTES:
        raise UsageError(
            f"The file is {megabytes:.0f} MB large; one picture may have {MAX_IMAGE_MEGABYTES}.",
            "Export it smaller; a zip of many belongs in the tab for many pictures.",
        )
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
    """The pixel size in the page's field, or None and a warning: the picture itself can be used.

    An emptied field may give 0.
    """
    try:
        return _pixel_size(value or None)
    except UsageError as error:
        gr.Warning(f"{error} It does not count.")
        return None


def _required(analysis: Analysis | None) -> Analysis:
    if analysis is None:
        raise UsageError("There is no picture to work on.", "Upload one, or choose an example.")
    return analysis
