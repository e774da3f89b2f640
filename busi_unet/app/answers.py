"""How handlers answer: an error as one sentence, an image as a file that Gradio serves."""

from __future__ import annotations

import inspect
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder
from PIL import Image

from busi_unet.app import text
from busi_unet.errors import BusiUNetError
from busi_unet.imaging.quality import reduction

# Each update of a long run sends everything done so far, so they must not be too frequent.
SECONDS_BETWEEN_UPDATES = 0.7


@contextmanager
def shown_errors() -> Iterator[None]:
    """Turn an error of this package into one sentence on the page and in the API, without a traceback."""
    try:
        yield
    except BusiUNetError as error:
        raise gr.Error(str(error), duration=30, print_exception=False) from error


def described(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Put each argument in a handler's docstring on one line: Gradio reads no more for assistants."""
    told = inspect.getdoc(handler).partition("\nRaises:")[0]
    handler.__doc__ = re.sub(r"\n {8}\s*", " ", told)
    return handler


def cache_folder() -> Path:
    """Return the one folder that Gradio serves files from; it deletes old ones there."""
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def cache_scratch() -> Iterator[Path]:
    """Yield a new folder in `cache_folder`; delete it at the end, also when the visitor leaves halfway."""
    with tempfile.TemporaryDirectory(
        prefix="scratch-", dir=cache_folder(), ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def answer_folder() -> Path:
    """Return a new folder in `cache_folder` for files that an answer names."""
    return Path(tempfile.mkdtemp(prefix="answer-", dir=cache_folder()))


def for_page(image: Image.Image) -> Image.Image:
    """Return an image as the page shows it: reduced where it has more than 9 million pixels."""
    scale = reduction(image.size)
    return image.reduce(scale) if scale > 1 else image


def as_file(image: Image.Image, name: str) -> str:
    """Write an image as `name`.png for the page; return its path.

    Gradio compresses images harder, which takes longer than the network's answer.
    """
    path = answer_folder() / f"{name}.png"
    image.save(path, compress_level=1)
    return str(path)


class ProgressText:
    """Tells now and then how far a run over many things, such as images, is."""

    def __init__(self, things: str) -> None:
        self._things = things
        self._start = self._told = time.monotonic()

    def tell(self, done: int, of: int) -> str:
        """Return how many are done and the time left; empty if it was told less than 0.7 s ago."""
        now = time.monotonic()
        if now - self._told <= SECONDS_BETWEEN_UPDATES:
            return ""
        self._told = now
        return text.progress(done, of, self._things, (now - self._start) / done * (of - done))
