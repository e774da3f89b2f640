"""Every error this package raises for a user's mistake or a failing outside world.

A message says what was wrong with which input; the hint says what to do next.
"""

from __future__ import annotations

from collections.abc import Iterable


class BusiUNetError(Exception):
    """Base of all errors that a user can fix: what was wrong with which input, and a hint what to do next.

    The hint is empty where the message says it all.
    """

    exit_code = 1
    label = "error"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class UsageError(BusiUNetError):
    """Arguments that do not fit together or name something that does not exist."""

    exit_code = 2


class UnreadableImageError(BusiUNetError):
    """An image or a mask that cannot be decoded or is out of the accepted range."""


class DataLayoutError(BusiUNetError):
    """A data set that cannot be used; a line per problem, each starting with the file or folder concerned."""

    def __init__(self, message: str, problems: Iterable[str] = (), hint: str = "") -> None:
        super().__init__(message, hint)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        listed = "".join(f"\n  - {problem}" for problem in self.problems)
        return f"{self.message}{listed}" + (f"\n{self.hint}" if self.hint else "")


class IncompatibleModelError(BusiUNetError):
    """A model folder whose weights or config do not fit this version of the package."""


class TrainingError(BusiUNetError):
    """A training run that cannot start, go on or be resumed."""


class TrainingStopped(BusiUNetError):
    """A training run that was told to stop, by a scheduler or a user, and kept all it had done.

    The exit code is 128 more than the number of the signal, as a shell would report it.
    """

    label = "stopped"

    def __init__(self, signal_number: int, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.exit_code = 128 + signal_number


class MissingDependencyError(BusiUNetError):
    """An optional package is needed for what was asked and is not installed."""


class HubAccessError(BusiUNetError):
    """The Hugging Face Hub cannot be reached, or refuses what was asked."""


def first_line(error: BaseException) -> str:
    """Return what another library's error says, to stand inside a sentence; its class if it says nothing."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300].rstrip(".")
