"""What happens to one image: analysed once, then looked at, compared, corrected and taken home."""

from __future__ import annotations

import io
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image, ImageChops

from busi_unet.app import arguments, image_answer, text
from busi_unet.app.analysis import Analysis, Look
from busi_unet.app.answers import answer_folder, cache_folder, described, for_page, shown_errors
from busi_unet.app.batch import find_row
from busi_unet.app.clip import CLIP
from busi_unet.app.correction_handlers import CorrectionHandlers, required
from busi_unet.app.examples import examples
from busi_unet.app.image_answer import Answer, PublicAnswer
from busi_unet.app.memory import in_turn
from busi_unet.app.model import ModelInUse
from busi_unet.app.newest import Newest
from busi_unet.app.recent import Recent
from busi_unet.errors import BusiUNetError, UsageError
from busi_unet.imaging.agreement import decode_reference
from busi_unet.imaging.quality import (
    Box,
    blacken,
    image_warnings,
    panel_boxes,
    reduction,
    scan_box,
    text_boxes,
)
from busi_unet.io.decode import EXTENSIONS, DecodedImage, decoded, load_pixels, pixel_count
from busi_unet.io.pillow_files import over_black

MAX_IMAGE_MEGABYTES = 50
# Channels that differ by less are the noise of a JPEG.
_GREY_GAP = 16


class ImageHandlers(CorrectionHandlers):
    """The functions behind the tab; what they answer names components of `image_parts`.

    All but `predict` raise `BusiUNetError` for what a visitor did wrong; `settings` are the values of the
    threshold's slider (the model's own leaves its thresholds in force) and of the fields of `Look`.

    Args:
        model: gives the weights in use; called when the first image arrives, not before.
    """

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
        threshold = arguments.number(threshold, "threshold")
        opacity = arguments.number(Look.opacity if opacity is None else opacity, "opacity")
        if threshold is not None and not 0 < threshold < 1:
            raise UsageError(f"The threshold is {threshold:g}.", "Choose it between 0 and 1.")
        clip_frame = arguments.number(clip_frame, "clip_frame")
        settings = {
            "anyway": arguments.switch(analyse_anyway, "analyse_anyway"),
            "pixel_size_mm": arguments.pixel_size(arguments.number(pixel_size_mm, "pixel_size_mm")),
            "threshold": threshold,
            "look": Look(view, color, opacity, arguments.switch(diameters, "diameters")),
        }

        def answer() -> PublicAnswer:
            analysis = self._analyse(_decoded(image, clip_frame)[0], **settings)
            return image_answer.public_answer(analysis, self._model())

        return in_turn(0 if image is None else pixel_count(image), answer)

    def analyse(
        self,
        path: str | Path | None,
        pixel_size_mm: float | None,
        *look: Any,
        clip_frame: float | None = None,
        remark: str = "",
    ) -> Analysis:
        """Analyse a file of the page, to be drawn with the fields of `Look`.

        What the visitor typed as the size of a pixel counts unless a new file has its own.

        Args:
            path: of the file; None where there is none.
            pixel_size_mm: as typed.
            look: the fields of `Look`.
            clip_frame: of the clip at hand, from 1; None for a new file.
            remark: as in `Analysis`.
        """

        def analysed() -> Analysis:
            image, pixels = _decoded(path, clip_frame)
            known = clip_frame is None and bool(image.spacing_mm or image.regions)
            return self._analyse(
                image,
                pixel_size_mm=None if known else arguments.typed_size(pixel_size_mm),
                look=Look(*look),
                colors=_colors(pixels),
                name=result_name(path),
                source=Path(path),
                remark=remark,
            )

        return in_turn(0 if path is None else pixel_count(path), analysed)

    def analyse_example(self, event: gr.EventData, *inputs: Any) -> Analysis:
        """Analyse the example that was clicked; `inputs` as for `analyse`."""
        example = examples()[int(event.key)]
        return self.analyse(example.path, *inputs, remark=text.example(example.case, example.label))

    def analyse_row(self, event: gr.SelectData, paths: list[str] | None, *inputs: Any) -> Analysis:
        """Analyse the image of the row of a batch that was clicked; `inputs` as for `analyse`."""
        with tempfile.TemporaryDirectory(dir=cache_folder(), ignore_cleanup_errors=True) as folder:
            path = find_row(event.row_value, paths, Path(folder))
            if Path(folder) in path.parents:
                # Out of a zip; its header may still be asked for, see `imaging.dicom_results`.
                path = Path(shutil.move(path, answer_folder()))
            return replace(self.analyse(path, *inputs), in_box=False)

    def go_back(
        self, request: gr.Request, event: gr.EventData, pixel_size_mm: float | None, *_look: Any
    ) -> Analysis:
        """Return the analysis that was clicked among the last images; the network is not asked again."""
        analysis = self.recent.get(request.session_hash, event.key)
        if not (analysis.image.spacing_mm or analysis.image.regions):
            typed = arguments.typed_size(pixel_size_mm)
            analysis = replace(analysis, pixel_size_mm=typed or analysis.pixel_size_mm)
        return replace(analysis, in_box=False)

    def analyse_part(
        self, analysis: Analysis | None, box: str | Box, _pixel_size_mm: float | None, *look: Any
    ) -> Analysis:
        """Analyse a part of the kept image as a new one; a box as text was drawn over it on the page."""
        analysis = required(analysis)
        if isinstance(box, str):
            scale = reduction(analysis.image.pixels.shape)
            box = tuple(scale * end for end in arguments.box(box))
        return self._renewed(analysis, analysis.image.crop(box), text.CROPPED, look)

    def analyse_panel(self, side: int, analysis: Analysis | None, *inputs: Any) -> Analysis:
        """Analyse the left (0) or right (1) of two images that are side by side, as `analyse_part` does."""
        return self.analyse_part(analysis, required(analysis).panels[side], *inputs)

    def analyse_blackened(
        self, analysis: Analysis | None, _pixel_size_mm: float | None, *look: Any
    ) -> Analysis:
        """Analyse the kept image as a new one, without the text that was found, but with its lesions."""
        analysis = required(analysis)
        mask = analysis.predict(self._model().predictor).mask.copy()
        left, top, right, bottom = scan_box(analysis.image.pixels)
        mask[:top] = mask[bottom:] = mask[:, :left] = mask[:, right:] = False
        # Calipers look like text, and a lesion that is covered is lost.
        beside = [box for box in analysis.text_boxes if not mask[box[1] : box[3], box[0] : box[2]].any()]
        if not beside:
            raise UsageError(*text.TEXT_ON_LESION)
        pixels = blacken(analysis.image.pixels, beside)
        return self._renewed(analysis, replace(analysis.image, pixels=pixels), text.BLACKENED, look)

    def take(
        self,
        analyse: Callable[..., Analysis] | None,
        number: float,
        newest: Newest,
        *inputs: Any,
        frame_moves: bool = False,
        error: str = "",
    ) -> Answer:
        """Answer an event that sets the image: the one before is forgotten, the new one waits for `run`.

        Args:
            analyse: gives the analysis of the new image; None where there is none.
            number: of the event, as the browser gave it.
            newest: of the page.
            inputs: of `analyse`.
            frame_moves: whether it is the clip's frame that was chosen, whose slider may be moving on.
            error: that a page without an image tells.

        Returns:
            A page that waits, or an empty one; nothing if a newer event was here first.
        """

        def answer(number: int) -> Answer:
            try:
                analysis = replace(analyse(*inputs), number=number)
                shown = in_turn(
                    analysis.image.pixels.size, lambda: image_answer.whole(analysis, self._model())
                )
            except BusiUNetError as error:
                shown = {**image_answer.empty(str(error)), "error": str(error)}
            return without_clip(shown)

        def without_clip(answer: Answer) -> Answer:
            """What belongs to the whole clip stays as it is while its frames change."""
            return {name: value for name, value in answer.items() if name not in CLIP or not frame_moves}

        if not newest.take(number, analyse and answer, same_file=frame_moves):
            return {}
        waiting = image_answer.empty(error) if analyse is None else image_answer.awaited()
        return {**without_clip(waiting), "number": newest.number}

    def run(self, newest: Newest) -> None:
        """Analyse the newest image, unless that is done; those that it replaced are never analysed."""
        newest.run(lambda number: image_answer.empty(text.TRY_AGAIN))

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

    def redraw(self, analysis: Analysis | None, *settings: Any) -> Answer:
        """Return the kept image, if there is one, under other settings; the network is not asked again.

        What is kept stays as it is, so that a mask that arrives while this draws is not lost.
        """
        if analysis is None:
            return image_answer.nothing_drawn(text.INVITATION)
        return in_turn(
            analysis.image.pixels.size,
            lambda: image_answer.drawing(self._set(analysis, *settings), self._model()),
        )

    def analyse_again(self, analysis: Analysis | None) -> Answer:
        """Return the kept image, its result to be shown although it was refused."""
        return {"kept": analysis and replace(analysis, anyway=True)}

    def measure_in_mm(self, analysis: Analysis | None, pixel_size_mm: float | None) -> Answer:
        """Return the kept image with a pixel size that the visitor typed, or without one again."""
        used = arguments.typed_size(pixel_size_mm)
        reset = {"pixel_size": None} if pixel_size_mm and used is None else {}
        return {"kept": analysis and replace(analysis, pixel_size_mm=used), **reset}

    def compare(self, analysis: Analysis | None, references: list[bytes] | None) -> Answer:
        """Return the kept image with reference masks that the visitor brings, encoded images to be united."""
        if not references:
            return {"kept": analysis and replace(analysis, reference=None)}
        analysis = required(analysis)
        try:
            reference = decode_reference(references, analysis.image.pixels.shape)
        except BusiUNetError as error:
            gr.Warning(str(error), duration=30)
            return {"kept": replace(analysis, reference=None), "reference": None}
        return {"kept": replace(analysis, reference=reference)}

    def training_pair(self, analysis: Analysis | None, label: str | None, *settings: Any) -> Answer:
        """Return a zip with the image and its mask in the layout of BUSI."""
        analysis = self._set(analysis, *settings)
        return {"pair_file": image_answer.write_training_pair(analysis, self._model(), label)}

    def downloads(self, analysis: Analysis | None, formats: Sequence[str], *settings: Any) -> Answer:
        """Return overlay, JSON, PDF report and the formats chosen of the image under these settings."""
        analysis = self._set(analysis, *settings)
        return {"files": image_answer.write_downloads(analysis, self._model(), formats)}

    def _analyse(self, image: DecodedImage, **settings: Any) -> Analysis:
        return Analysis(
            image,
            self._model().predictor.run([image.pixels])[0],
            warnings=image_warnings(image),
            text_boxes=text_boxes(image.pixels),
            panels=panel_boxes(image.pixels),
            **settings,
        )

    def _renewed(self, analysis: Analysis, image: DecodedImage, made: str, look: tuple[Any, ...]) -> Analysis:
        """Analyse what was made of an image; its name says how."""
        return in_turn(
            image.pixels.size,
            lambda: self._analyse(
                image,
                name=analysis.name if analysis.name.endswith(made) else f"{analysis.name} {made}",
                remark=analysis.remark,
                pixel_size_mm=analysis.pixel_size_mm,
                look=Look(*look),
                in_box=False,
            ),
        )


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
    stream = io.BytesIO()
    pixels.save(stream, "PNG", compress_level=1)
    return stream.getvalue()
