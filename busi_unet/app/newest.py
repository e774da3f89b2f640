"""Only the newest image of a page is analysed and shown, however fast the ones before it were replaced.

The browser numbers every event that sets the image, in the order in which the visitor causes them, and hides
what is shown until an answer with that number has arrived. On the server, each page has a `Newest`: an event
takes it, and answers to earlier numbers are dropped. What belongs to a whole clip has the number of
the event that set its file; choosing another frame of it is a newer event of the same file.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Takes the arguments of an event; returns them with its number as the first.
_NUMBER_JS = """(...values) => {
    delete document.body.dataset.crop;
    document.body.dataset.stale = "";
    for (const toast of document.querySelectorAll("#told, .toast-close")) toast.click();
    values[0] = window.newestImage = (window.newestImage ?? 0) + 1;
    %s
    return values;
}"""
FRAME_JS = _NUMBER_JS % ""
NUMBER_JS = (
    _NUMBER_JS
    % """window.newestFile = values[0];
    const rule = document.querySelector("#newest-file") ?? document.createElement("style");
    rule.id = "newest-file";
    document.head.append(rule);
    rule.textContent = `#clip:not(:has([data-file="${values[0]}"])) { visibility: hidden; }`;"""
)
# Returns the arguments of an event with the number of the file at hand as the first.
FILE_JS = "(...values) => [window.newestFile ?? 0, ...values.slice(1)]"
# Shows what has arrived if it belongs to the newest image.
CHECK_JS = """(number) => {
    if (number === window.newestImage) delete document.body.dataset.stale;
    else document.body.dataset.stale = "";
}"""


@dataclass
class _Job:
    number: int = 0
    file: int = 0
    analyse: Callable[[], dict[str, Any]] | None = None
    started: bool = False
    answer: dict[str, Any] | None = None


class Newest:
    """The newest event of one page that set its image: its number, the analysis it asks for, its answer."""

    def __init__(self) -> None:
        # Replaced as a whole, so that a run in another thread never mixes two events.
        self._job = _Job()

    @property
    def number(self) -> int:
        """Of the newest event, from 1; 0 before the first."""
        return self._job.number

    @property
    def file(self) -> int:
        """Number of the event that set the file of the newest image; its frame may be set by a later one."""
        return self._job.file

    @property
    def waiting(self) -> bool:
        """Whether the newest image has not been handed over yet."""
        return self._job.analyse is not None

    def take(
        self,
        number: float,
        analyse: Callable[[], dict[str, Any]] | None = None,
        *,
        same_file: bool = False,
    ) -> bool:
        """Make an event the newest, unless a newer one was here before; return whether it is.

        Args:
            analyse: gives the answer; None where there is nothing to analyse.
            same_file: another frame of the file at hand was chosen.
        """
        if number <= self.number:
            return False
        self._job = _Job(int(number), self.file if same_file else int(number), analyse)
        return True

    def run(self, otherwise: Callable[[], dict[str, Any]]) -> None:
        """Analyse the newest image, unless that has begun; `otherwise` gives the answer where it fails.

        It never raises: after a run that fails, Gradio's page forgets the run that waits.
        """
        job = self._job
        if job.analyse is None or job.started:
            return
        job.started = True
        try:
            job.answer = job.analyse()
        except Exception:
            traceback.print_exc()
            job.answer = otherwise()

    def hand_over(self) -> dict[str, Any] | None:
        """Return the answer for the newest image, once; None where there is none yet, or no longer."""
        job = self._job
        answer, job.answer = job.answer, None
        if answer is not None:
            job.analyse = None
        return answer


def of_newest(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the handler of an `Analysis` so that its answer is empty if a newer image was set.

    The wrapped one takes the page's `Newest` first, and adds the number for the browser to check.
    """

    def wrapped(newest: Newest, analysis: Any, *arguments: Any) -> Any:
        def stale() -> bool:
            return newest.waiting if analysis is None else analysis.number != newest.number

        if stale():
            return {}
        number = newest.number
        answer = handler(analysis, *arguments)
        if stale():
            return {}
        return {**answer, "number": number}

    wrapped.__name__ = handler.__name__
    return wrapped
