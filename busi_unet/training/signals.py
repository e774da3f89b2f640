"""Being told to stop: a scheduler's SIGTERM, or Ctrl-C."""

from __future__ import annotations

import signal
import threading
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Inside its `with` block, SIGTERM and SIGINT are noted instead of ending the process.

    Repeats change nothing, because launchers pass on what a terminal has already sent to everyone.
    Outside the main thread, where Python allows no handlers, nothing is noted.

    Args:
        at_once: raise KeyboardInterrupt as well, for work that may break off anywhere.

    Attributes:
        received: number of the signal that came first; 0 while none has.
    """

    def __init__(self, *, at_once: bool = False) -> None:
        self.at_once = at_once
        self.received = 0

    def __enter__(self) -> StopSignals:
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.received:
            return
        self.received = number
        if self.at_once:
            # No Exception, which a decoder might take for a damaged image.
            raise KeyboardInterrupt


def leave_signals_to_the_parent(_worker: int = 0) -> None:
    """For data-loader workers: a signal to the whole job must not lose the images of the current step."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
