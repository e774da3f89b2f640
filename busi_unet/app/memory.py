"""Memory: large images take turns, and freed memory goes back to the system."""

from __future__ import annotations

import contextvars
import ctypes
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")

LARGE_PIXELS = 4_000_000
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def share_heaps() -> None:
    """Have all threads share two heaps; glibc would give each its own, which keeps the memory it once used.

    To be called before there are threads; does nothing under another C library.
    """
    _call("mallopt", _M_ARENA_MAX, 2)


def give_back_arrays() -> None:
    """Have glibc return freed blocks of 4 MB or more at once; else it keeps 300 MB after a batch."""
    _call("mallopt", _M_MMAP_THRESHOLD, 4_000_000)
    # Else it returns memory after each image of usual size, only to ask for it again.
    _call("mallopt", _M_TRIM_THRESHOLD, 16_000_000)


def in_turn(pixels: int, work: Callable[[], Result]) -> Result:
    """Return what `work` returns; images of more than 4 million pixels go one at a time, at low priority.

    Each takes seconds of a processor and some 15 bytes a pixel: at once they would take all memory.
    """
    if pixels <= LARGE_PIXELS:
        return work()
    try:
        return _large.submit(contextvars.copy_context().run, work).result()
    finally:
        _call("malloc_trim", 0)


def _step_back() -> None:
    # Only on Linux does a thread have a priority of its own.
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)


_large = ThreadPoolExecutor(1, "large-image", _step_back)


def _call(name: str, *arguments: Any) -> None:
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (OSError, TypeError, AttributeError):
        return
    function(*arguments)
