"""Strips of small images to choose from: the examples, and the last images of a page."""

from __future__ import annotations

import functools
import itertools
import threading
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
import numpy as np
from PIL import Image

from busi_unet.app import text
from busi_unet.app.analysis import Analysis
from busi_unet.config import CLASS_NAMES
from busi_unet.errors import UsageError
from busi_unet.io.decode import read_image
from busi_unet.io.html import jpeg_uri

EXAMPLES_FOLDER = Path(__file__).with_name("examples")
MAX_RECENT = 12
# Of all pages together; the oldest go first. Twelve images of usual size take some 6 MB, and twelve of 50
# million pixels a hundred times as much.
MAX_RECENT_BYTES = 240_000_000
_SIZE = (160, 120)
_TEMPLATE = """<p>{{label}}</p>
{{#each value}}<button type="button" data-key="{{this.key}}" title="{{this.name}}"
aria-label="{{../kind}}, {{this.name}}"><img alt="" src="{{this.source}}"><span>{{this.name}}</span>
</button>{{/each}}"""
# Not gr.Gallery, which loses a click that comes as its images change.
_CLICKED_JS = """element.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) trigger("select", { key: button.dataset.key });
});"""


def strip(label: str, kind: str, elem_id: str) -> gr.HTML:
    """Return a strip whose values are lists of `thumbnail`; its `select` event has the key that was clicked.

    Screen readers hear the kind before the name of each image.
    """
    return gr.HTML(
        [],
        label=label,
        html_template=_TEMPLATE,
        js_on_load=_CLICKED_JS,
        elem_id=elem_id,
        apply_default_css=False,
        elem_classes="strip",
        kind=kind,
    )


def thumbnail(key: int, name: str, pixels: np.ndarray) -> dict[str, str]:
    """Return a grey image (uint8, height × width) for a strip, made small, as JPEG in a data URI.

    The name must have neither `$` nor a backslash (`image_handlers.result_name` removes them): Gradio runs
    the filled template as a template string of JavaScript.
    """
    small = Image.fromarray(pixels)
    small.thumbnail(_SIZE)
    return {"key": str(key), "name": name, "source": jpeg_uri(small)}


@dataclass(frozen=True)
class Example:
    """An image of BrEaST that the embedded weights were not trained on, with its case and label there."""

    path: Path
    case: str
    label: str


@functools.cache
def examples() -> tuple[Example, ...]:
    """Return the examples in the order of `CLASS_NAMES`."""
    # Named breast_CASE_CLASS.
    found = [Example(path, *path.stem.split("_")[1:]) for path in EXAMPLES_FOLDER.glob("breast_*")]
    return tuple(sorted(found, key=lambda example: CLASS_NAMES.index(example.label)))


@functools.cache
def example_thumbnails() -> list[dict[str, str]]:
    """Return the examples for a strip, each with its place as key and its class as name."""
    return [
        thumbnail(place, example.label, read_image(example.path).pixels)
        for place, example in enumerate(examples())
    ]


class Recent:
    """The last analyses of each page with their thumbnails, the newest first, until the page closes."""

    def __init__(self) -> None:
        self._pages: dict[str | None, list[tuple[Analysis, dict[str, str]]]] = {}
        self._keys = itertools.count()
        # One page may close while another one adds.
        self._lock = threading.Lock()

    def add(self, session: str | None, analysis: Analysis) -> list[dict[str, str]]:
        """Keep an analysis, in place of an earlier one of the same image; return the page's thumbnails."""
        with self._lock:
            entries = self._pages.pop(session, [])
            self._pages[session] = entries
            # What the visitor went back to stays where it was.
            if not any(kept.raw is analysis.raw for kept, _ in entries):
                entries[:] = [entry for entry in entries if not _same(entry[0], analysis)]
                small = thumbnail(next(self._keys), analysis.name, analysis.image.pixels)
                entries.insert(0, (analysis, small))
            del entries[MAX_RECENT:]
            while self._bytes() > MAX_RECENT_BYTES and len(self._pages) > 1:
                del self._pages[next(iter(self._pages))]
            while self._bytes() > MAX_RECENT_BYTES and len(entries) > 1:
                entries.pop()
            return [small for _, small in entries]

    def get(self, session: str | None, key: str) -> Analysis:
        """Return the analysis of a thumbnail by its key; its place may change during the click.

        Raises:
            UsageError: it is no longer kept.
        """
        for analysis, small in self._pages.get(session, []):
            if small["key"] == key:
                return analysis
        raise UsageError(*text.RECENT_GONE)

    def forget(self, request: gr.Request) -> None:
        """Delete what is kept of a page that closes."""
        with self._lock:
            self._pages.pop(request.session_hash, None)

    def _bytes(self) -> int:
        kept = (analysis for page in self._pages.values() for analysis, _ in page)
        return sum(analysis.image.pixels.nbytes + len(analysis.colors or b"") for analysis in kept)


def _same(one: Analysis, other: Analysis) -> bool:
    return one.name == other.name and np.array_equal(one.image.pixels, other.image.pixels)
