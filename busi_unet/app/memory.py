"""Memory: large images take turns, and what is no longer used goes back to the machine."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator
from typing import Any

LARGE_PIXELS = 4_000_000
_M_ARENA_MAX = -8
_large = threading.Lock()


def share_heaps() -> None:
    """Have all threads share two heaps, where glibc would give each of them one that keeps what it once held.

    To be called before there are threads; does nothing under another C library.
    """
    _call("mallopt", _M_ARENA_MAX, 2)


@contextlib.contextmanager
def turn(pixels: int) -> Iterator[None]:
    """Let images of more than 4 million pixels in one at a time; the others pass.

    Each takes seconds of a processor and some 15 bytes a pixel: together they would take all there is.
    """
    if pixels <= LARGE_PIXELS:
        yield
        return
    with _large:
        try:
            yield
        finally:
            _call("malloc_trim", 0)


def _call(name: str, *arguments: Any) -> None:
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (OSError, TypeError, AttributeError):
        return
    function(*arguments)
