"""How a push that failed goes on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from busi_unet.errors import BusiUNetError, UsageError


@contextmanager
def resumable(command: Sequence[str], *, intact: str = "") -> Iterator[None]:
    """Lets every error but wrong usage end with the command that does the same again.

    Args:
        command: the program and its arguments.
        intact: one sentence, what has not been lost.
    """
    try:
        yield
    except UsageError:
        # The same arguments would be wrong again.
        raise
    except BusiUNetError as error:
        error.message = f"{error.message} {intact}".rstrip()
        error.hint = f"{error.hint} Then resume with: {shlex.join(command)}".lstrip()
        raise
