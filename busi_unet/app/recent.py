"""The last images of each page, to go back to: in memory, deleted when the page closes."""

from __future__ import annotations

import itertools
import threading

import gradio as gr
import numpy as np

from busi_unet.app import text
from busi_unet.app.analysis import Analysis
from busi_unet.app.thumbnails import thumbnail
from busi_unet.errors import UsageError

MAX_RECENT = 12
# Of all pages; those of longest ago make room. 12 images of a usual size take some 6 MB, and those of 50
# million pixels a hundred times as much.
MAX_BYTES = 240_000_000
_Entry = tuple[Analysis, dict[str, str]]


class Recent:
    """Analyses with their thumbnails, the newest first, by session."""

    def __init__(self) -> None:
        self._pages: dict[str | None, list[_Entry]] = {}
        self._keys = itertools.count()
        # One page may close while another one adds.
        self._lock = threading.Lock()

    def add(self, session: str | None, analysis: Analysis) -> list[dict[str, str]]:
        """Keep an analysis instead of an earlier one of its image; return all thumbnails for a strip."""
        with self._lock:
            entries = self._pages.pop(session, [])
            self._pages[session] = entries
            # What the visitor went back to stays where it was.
            if not any(kept.raw is analysis.raw for kept, _ in entries):
                entries[:] = [entry for entry in entries if not _same(entry[0], analysis)]
                small = thumbnail(next(self._keys), analysis.name, analysis.image.pixels)
                entries.insert(0, (analysis, small))
            del entries[MAX_RECENT:]
            while self._bytes() > MAX_BYTES and len(self._pages) > 1:
                del self._pages[next(iter(self._pages))]
            while self._bytes() > MAX_BYTES and len(entries) > 1:
                entries.pop()
            return [small for _, small in entries]

    def get(self, session: str | None, key: str) -> Analysis:
        """Return the analysis of a thumbnail, by its key: its place may change while it is clicked.

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
