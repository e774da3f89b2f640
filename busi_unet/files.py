"""Folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from busi_unet.errors import BusiUNetError, first_line


@contextlib.contextmanager
def whole_or_nothing(output: Path) -> Iterator[Path]:
    """A folder beside the output to write to; it takes the output's place once everything is in it.

    Raises:
        BusiUNetError: the disk refuses; an earlier output is still there.
    """
    partial, previous = (
        output.with_name(f".{output.name}.{os.getpid()}.{suffix}") for suffix in ("new", "old")
    )
    try:
        partial.mkdir(parents=True)
        yield partial
        if output.exists():
            output.rename(previous)
        try:
            partial.rename(output)
        except BaseException:
            if previous.exists():
                previous.rename(output)
            raise
    except OSError as error:
        raise BusiUNetError(
            f"The output {output} could not be written ({first_line(error)}).",
            "Check the folder's permissions and the space on the disk.",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if output.exists():
            shutil.rmtree(previous, ignore_errors=True)
