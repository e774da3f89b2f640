"""Files and folders that appear whole or not at all, zips from anyone, files of a known form."""

from __future__ import annotations

import contextlib
import lzma
import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

from busi_unet.errors import BusiUNetError, DataLayoutError, UsageError, first_line

_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError)


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


@contextlib.contextmanager
def reading(path: Path, otherwise: str, hint: str) -> Iterator[None]:
    """Turn errors of reading a file that a user named into one that says which form it should have.

    Args:
        path: of the file.
        otherwise: what is said of a file of another form, after its name: "is not a …".
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


def unpack(
    archive: Path, target: Path, *, max_bytes: int, max_files: int, name: str | None = None, hint: str = ""
) -> list[str]:
    """Unpack a zip into a folder, unless any of its entries is not safe.

    Args:
        archive: the file.
        target: the folder; created where missing.
        max_bytes, max_files: nothing is unpacked where the entries hold more than this together.
        name: how errors name the archive; by default its path.
        hint: what errors tell to do next.

    Returns:
        "ENTRY: damaged in the archive (why)" for each entry that could not be unpacked; the others were.

    Raises:
        DataLayoutError: not a zip, or cut short; too large; entries that would leave the folder, are
            symbolic links or encrypted.
        BusiUNetError: the disk refuses.
    """
    name = name or str(archive)
    problems = []
    try:
        with zipfile.ZipFile(archive) as zip_file:
            entries = [entry for entry in zip_file.infolist() if not entry.is_dir()]
            # zipfile never reads more of an entry than this, whatever its packed bytes would give.
            total = sum(entry.file_size for entry in entries)
            if total > max_bytes or len(entries) > max_files:
                raise DataLayoutError(
                    f"{name} would unpack to {total / 1024**3:.2f} GiB in {len(entries)} files; "
                    f"the limits are {max_bytes / 1024**3:.2f} GiB and {max_files} files.",
                    hint=hint,
                )
            unsafe = [f"{entry.filename}: {reason}" for entry in entries if (reason := _unsafe(entry))]
            if unsafe:
                raise DataLayoutError(f"{name} is not safe to unpack:", unsafe, hint)
            target.mkdir(parents=True, exist_ok=True)
            for entry in entries:
                try:
                    zip_file.extract(entry, target)
                except _DAMAGED as error:
                    (target / entry.filename).unlink(missing_ok=True)
                    problems.append(f"{entry.filename}: damaged in the archive ({first_line(error)})")
    except zipfile.BadZipFile as error:
        raise DataLayoutError(f"{name} is not a zip, or is cut short.", hint=hint) from error
    except OSError as error:
        raise BusiUNetError(f"{name} could not be unpacked ({first_line(error)}).", hint) from error
    return problems


def _unsafe(entry: zipfile.ZipInfo) -> str | None:
    posix, windows = PurePosixPath(entry.filename), PureWindowsPath(entry.filename)
    if posix.is_absolute() or windows.drive or windows.root or ".." in (*posix.parts, *windows.parts):
        return "its path leads out of the archive's folder"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "is a symbolic link"
    if entry.flag_bits & 1:
        return "is encrypted"
    return None
