"""Results that visitors asked to keep for a link: few, in memory alone, and not for long."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict

from busi_unet.app.analysis import Analysis

KEPT_HOURS = 2


class KeptResults:
    """Analyses by a name that cannot be guessed; the oldest make room for new ones.

    Args:
        seconds: how long each is kept.
        most: how many are kept at once.
        most_pixels: of all their images together.
    """

    def __init__(
        self, *, seconds: float = KEPT_HOURS * 3600, most: int = 100, most_pixels: int = 100_000_000
    ) -> None:
        self._seconds, self._most, self._most_pixels = seconds, most, most_pixels
        self._results: OrderedDict[str, tuple[float, Analysis]] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, analysis: Analysis) -> str:
        """Keep a result; returns its name."""
        name = secrets.token_urlsafe(16)
        with self._lock:
            self._results[name] = (time.monotonic() + self._seconds, analysis)
            self._drop()
        return name

    def get(self, name: str) -> Analysis | None:
        """Return the result of this name, or None where it is no longer kept."""
        with self._lock:
            self._drop()
            _, analysis = self._results.get(name, (0.0, None))
            return analysis

    def _drop(self) -> None:
        now = time.monotonic()
        for name in [name for name, (until, _) in self._results.items() if until <= now]:
            del self._results[name]
        while len(self._results) > 1 and (
            len(self._results) > self._most or self._pixels() > self._most_pixels
        ):
            self._results.popitem(last=False)

    def _pixels(self) -> int:
        return sum(analysis.frame.pixels.size for _, analysis in self._results.values())
