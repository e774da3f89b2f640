"""The last images of each page, to go back to: in memory, deleted when the page closes."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import gradio as gr
import numpy as np
from PIL import Image

from busi_unet.app import text
from busi_unet.app.analysis import Analysis
from busi_unet.app.answers import as_file
from busi_unet.errors import UsageError

MAX_RECENT = 12
# Of all pages; those of longest ago make room. 12 images of a usual size take some 6 MB, and those of 50
# million pixels a hundred times as much.
MAX_BYTES = 240_000_000
_THUMBNAIL = (160, 120)
_Thumbnail = tuple[str, str]


class Recent:
    """Analyses with the thumbnail and name of each, the newest first, by session."""

    def __init__(self) -> None:
        self._pages: dict[str | None, list[tuple[Analysis, _Thumbnail]]] = {}
        # One page may close while another one adds.
        self._lock = threading.Lock()

    def add(self, session: str | None, analysis: Analysis) -> list[_Thumbnail]:
        """Keep an analysis, unless its image is kept already; return (path of a PNG, name) of all."""
        with self._lock:
            return self._add(session, analysis)

    def _add(self, session: str | None, analysis: Analysis) -> list[_Thumbnail]:
        entries = self._pages.pop(session, [])
        self._pages[session] = entries
        if not any(_same(kept, analysis) for kept, _ in entries):
            small = Image.fromarray(analysis.image.pixels)
            small.thumbnail(_THUMBNAIL)
            entries.insert(0, (analysis, (as_file(small, "recent"), analysis.name)))
        for _, thumbnail in entries[MAX_RECENT:]:
            _delete(thumbnail)
        del entries[MAX_RECENT:]
        while self._bytes() > MAX_BYTES and len(self._pages) > 1:
            self._forget(next(iter(self._pages)))
        while self._bytes() > MAX_BYTES and len(entries) > 1:
            _delete(entries.pop()[1])
        return [thumbnail for _, thumbnail in entries]

    def get(self, session: str | None, path: str) -> Analysis:
        """Return the analysis of a thumbnail, by its path: its place may change while it is clicked.

        Raises:
            UsageError: it is no longer kept.
        """
        for analysis, thumbnail in self._pages.get(session, []):
            if thumbnail[0] == path:
                return analysis
        raise UsageError(*text.RECENT_GONE)

    def forget(self, request: gr.Request) -> None:
        """Delete what is kept of a page that closes."""
        with self._lock:
            self._forget(request.session_hash)

    def _bytes(self) -> int:
        kept = (analysis for page in self._pages.values() for analysis, _ in page)
        return sum(analysis.image.pixels.nbytes + len(analysis.colors or b"") for analysis in kept)

    def _forget(self, session: str | None) -> None:
        for _, thumbnail in self._pages.pop(session, []):
            _delete(thumbnail)


def _same(one: Analysis, other: Analysis) -> bool:
    return one.name == other.name and np.array_equal(one.image.pixels, other.image.pixels)


def _delete(thumbnail: _Thumbnail) -> None:
    shutil.rmtree(Path(thumbnail[0]).parent, ignore_errors=True)
