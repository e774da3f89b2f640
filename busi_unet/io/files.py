"""Files and folders that appear whole or not at all, and files that are what they should be or are named."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from busi_unet.errors import BusiUNetError, UsageError, first_line


@contextlib.contextmanager
def whole_or_nothing(output: Path) -> Iterator[Path]:
    """Yield a folder beside the output to write to; it takes the output's place once everything is in it.

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


@contextlib.contextmanager
def reading(path: Path, otherwise: str, hint: str) -> Iterator[None]:
    """Turn errors of reading a file of a known form, which a user named, into one that says so.

    Args:
        path: of the file.
        otherwise: what is said of a file of another form, after its name: "is no …".
        hint: which file to name.

    Raises:
        UsageError: the file cannot be read, or what is read from it does not hold what it should.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}).", hint) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} {otherwise} ({type(error).__name__}: {error}).", hint) from error


def replace_file(path: Path, write: Callable[[BinaryIO], Any]) -> None:
    """Replace a file at once: a crash or a power cut leaves the old content or the new."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    if os.name == "posix":
        # The new name is on the disk only once the folder is.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
