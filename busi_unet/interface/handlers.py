"""What happens when a picture arrives: from bytes to everything that the page and the API show."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import gradio as gr
from PIL import Image

from busi_unet.config import CLASS_NAMES
from busi_unet.errors import BusiUNetError
from busi_unet.imaging.decode import Frame, decode_frame
from busi_unet.imaging.overlay import draw_overlay
from busi_unet.imaging.quality import picture_warnings
from busi_unet.interface.examples import example_frame
from busi_unet.interface.model import ModelInUse, load_model
from busi_unet.interface.wording import describe

INVITATION = "Upload a picture, or choose an example."


class Answer(NamedTuple):
    """One value per output component, in the order of the API.

    Attributes:
        overlay: RGB, the size of the picture, with the lesions tinted and outlined.
        probabilities: per class; None where the picture is refused.
        report: JSON-ready, with the weights in use.
        findings: Markdown.
        original: the grey frame that was analysed, the size of the overlay.
    """

    overlay: Image.Image | None
    probabilities: dict[str, float] | None
    report: dict[str, Any] | None
    findings: str
    original: Image.Image | None


class Handlers:
    """The functions behind the page, with one model loaded on first use.

    Args:
        requested: Hub id or folder of the weights; None for the embedded ones.
    """

    def __init__(self, requested: str | None = None) -> None:
        self._requested = requested

    @functools.cached_property
    def model(self) -> ModelInUse:
        return load_model(self._requested)

    def analyse(self, picture: bytes | None) -> Answer:
        """Outlines lesions in one breast ultrasound picture and gives the probabilities of its class.

        Args:
            picture: encoded (PNG, JPEG, WebP, BMP, TIFF or DICOM).

        Raises:
            gr.Error: no picture, or one that cannot be used; or no weights can be loaded.
        """
        if picture is None:
            raise _shown("No picture was given. Choose one and try again.")
        try:
            # Named neutrally: an upload's own name is a stranger's text, and the page renders errors as HTML.
            return self._answer(decode_frame(picture, name="The file"))
        except BusiUNetError as error:
            raise _shown(str(error)) from error

    def analyse_example(self, event: gr.SelectData) -> Answer:
        """`analyse` for the synthetic example that was clicked."""
        label = CLASS_NAMES[event.index]
        try:
            return self._answer(Frame(example_frame(label)), f"*Synthetic example, drawn as {label}.*")
        except BusiUNetError as error:
            raise _shown(str(error)) from error

    def _answer(self, frame: Frame, *remarks: str) -> Answer:
        model = self.model
        prediction = model.predictor.predict(frame.pixels, spacing_mm=frame.spacing_mm)
        notice = [f"> {model.notice}"] if model.notice else []
        warnings = [] if prediction.refused else [f"> {warning}" for warning in picture_warnings(frame)]
        paragraphs = [*notice, *remarks, *warnings, describe(prediction), model.describe()]
        return Answer(
            overlay=draw_overlay(frame.pixels, prediction.mask),
            probabilities=None if prediction.refused else prediction.probabilities,
            report={**prediction.to_dict(), "weights": model.to_dict()},
            findings="\n\n".join(paragraphs),
            original=Image.fromarray(frame.pixels),
        )


def nothing(findings: str = INVITATION) -> Answer:
    """An empty page, so that no result stays beside a picture it does not belong to."""
    return Answer(None, None, None, findings, None)


def _shown(message: str) -> gr.Error:
    return gr.Error(message, duration=30, print_exception=False)
