"""Zips from anyone, unpacked so that nothing leaves the folder or fills the disk."""

from __future__ import annotations

import lzma
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from busi_unet.errors import BusiUNetError, DataLayoutError, first_line

_GIB, _MIB = 1024**3, 1024**2


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
                    f"{name} would unpack to {_size(total)} in {len(entries)} files; "
                    f"the limits are {_size(max_bytes)} and {max_files} files.",
                    hint=hint,
                )
            unsafe = [f"{entry.filename}: {reason}" for entry in entries if (reason := _unsafe(entry))]
            if unsafe:
                raise DataLayoutError(f"{name} is not safe to unpack:", unsafe, hint)
            target.mkdir(parents=True, exist_ok=True)
            for entry in entries:
                try:
                    zip_file.extract(entry, target)
                except (
                    zipfile.BadZipFile,
                    zlib.error,
                    lzma.LZMAError,
                    EOFError,
                    NotImplementedError,
                ) as error:
                    (target / entry.filename).unlink(missing_ok=True)
                    problems.append(f"{entry.filename}: damaged in the archive ({first_line(error)})")
    except zipfile.BadZipFile as error:
        raise DataLayoutError(f"{name} is not a zip, or is cut short.", hint=hint) from error
    except OSError as error:
        raise BusiUNetError(f"{name} could not be unpacked ({first_line(error)}).", hint) from error
    return problems


def _size(count: int) -> str:
    return f"{count / _GIB:.1f} GiB" if count >= _GIB else f"{count / _MIB:.0f} MiB"


def _unsafe(entry: zipfile.ZipInfo) -> str | None:
    posix, windows = PurePosixPath(entry.filename), PureWindowsPath(entry.filename)
    if posix.is_absolute() or windows.drive or windows.root or ".." in (*posix.parts, *windows.parts):
        return "its path leads out of the archive's folder"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "is a symbolic link"
    if entry.flag_bits & 1:
        return "is encrypted"
    return None
