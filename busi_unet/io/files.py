"""Files that appear whole or not at all, names and zips from anyone, what an earlier run wrote."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import lzma
import os
import re
import shutil
import stat
import struct
import tempfile
import threading
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any, BinaryIO

from busi_unet.errors import BusiUNetError, DataLayoutError, UsageError, first_line

if TYPE_CHECKING:
    from PIL import Image

WRITTEN = "written.sha256"
# What zipfile raises on damaged archives.
DAMAGED_ZIP = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, NotImplementedError, ValueError, OverflowError),
)
# Control characters; bytes of a name that are no UTF-8, as Python holds them.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_NOTING = threading.Lock()


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
def scratch_folder() -> Iterator[Path]:
    """Yield an empty folder; it is removed with all that is in it."""
    with tempfile.TemporaryDirectory(prefix="busi-unet-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


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


def image_bytes(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Return an image as the content of a file of Pillow's format `kind`."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def readable(name: str) -> str:
    """Return a name as text for every output: control characters and bytes that are not UTF-8 as \\xNN."""
    return _UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", name)


def composed(name: str) -> str:
    """Return a name with its accents composed (NFC), as tables have them and macOS may not."""
    return unicodedata.normalize("NFC", name)


def shortened(name: str, limit: int = 255) -> str:
    """Return a name of at most `limit` bytes; the middle of a longer one is a hash of the whole."""
    data = os.fsencode(name)
    if len(data) <= limit:
        return name
    digest = hashlib.sha256(data).hexdigest()[:8]
    head, tail = data[: limit - 34], data[-24:]
    return f"{head.decode(errors='ignore')}~{digest}~{tail.decode(errors='ignore')}"


# --- What an earlier run wrote -------------------------------------------------------------------


def check_ours(folder: Path, names: Iterable[str]) -> None:
    """Refuse to write files where others, not written by an earlier run or changed since, have their names.

    Raises:
        UsageError: there are such files.
    """
    there = [name for name in names if os.path.lexists(folder / name)] if folder.exists() else []
    # No run writes a folder or a link.
    files = (name for name in there if (folder / name).is_file() and not (folder / name).is_symlink())
    digests = {name: sha256_of(folder / name) for name in files}
    ours = set()
    for record in folder.glob(f"{WRITTEN.partition('.')[0]}.*") if there else ():
        with record.open(encoding="utf-8", errors="replace", newline="\n") as lines:
            for line in lines:
                digest, _, name = line.rstrip("\n").partition("  ")
                if digests.get(name) == digest:
                    ours.add(name)
    if foreign := [name for name in there if name not in ours]:
        listed = ", ".join(foreign[:3]) + (", …" if foreign[3:] else "")
        raise UsageError(
            f"This run would overwrite files in {folder} that no earlier run wrote, or that somebody changed "
            f"since ({listed}).",
            "Choose another output folder. Nothing was written.",
        )


def write_ours(folder: Path, name: str, content: bytes | Iterable[bytes], *, record: str = WRITTEN) -> None:
    """Write a file that later runs may replace; it appears whole or not at all, whatever stops the run.

    Its SHA-256 is noted for `check_ours`, which reads every `written….sha256` of a folder.
    """
    digest, partial = hashlib.sha256(), folder / f".{name}.partial"
    try:
        with partial.open("wb") as file:
            for part in (content,) if isinstance(content, bytes) else content:
                digest.update(part)
                file.write(part)
        with _NOTING, (folder / record).open("a", encoding="utf-8", newline="\n") as lines:
            lines.write(f"{digest.hexdigest()}  {name}\n")
        partial.replace(folder / name)
    finally:
        partial.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class JsonLines:
    """What the lines of a file of JSON hold; each loop reads them anew, one line at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[Any]:
        with self._path.open("rb") as lines:
            yield from map(json.loads, lines)


def json_line(value: Any) -> bytes:
    """Return a value as a line for `JsonLines`."""
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


# --- Zips ----------------------------------------------------------------------------------------


def unpack(
    archive: Path, target: Path, *, max_bytes: int, max_files: int, name: str | None = None, hint: str = ""
) -> dict[str, str]:
    """Unpack a zip into a folder; one entry that cannot be unpacked never stops the others.

    Backslashes divide folders, as zips made on Windows have them; parts of a path over 255 bytes are
    shortened.

    Args:
        archive: the file.
        target: the folder; created where missing.
        max_bytes, max_files: nothing is unpacked where the entries hold more than this together.
        name: how errors name the archive; by default its path.
        hint: what errors tell to do next.

    Returns:
        Why, by the name of the entry, for each that was not unpacked: its path would leave the folder, it is
        a symbolic link, encrypted or damaged, or another one has its name.

    Raises:
        DataLayoutError: not a zip, or cut short; too large.
        BusiUNetError: the disk refuses.
    """
    name = name or str(archive)
    problems: dict[str, str] = {}
    try:
        with zipfile.ZipFile(archive) as zip_file:
            entries = [(_path_in_zip(entry), entry) for entry in zip_file.infolist()]
            entries = [(path, entry) for path, entry in entries if not path.endswith("/")]
            # zipfile never reads more of an entry than this, whatever its packed bytes would give.
            total = sum(entry.file_size for _, entry in entries)
            if total > max_bytes or len(entries) > max_files:
                raise DataLayoutError(
                    f"{name} would unpack to {total / 1024**3:.2f} GiB in {len(entries)} files; "
                    f"the limits are {max_bytes / 1024**3:.2f} GiB and {max_files} files.",
                    hint=hint,
                )
            target.mkdir(parents=True, exist_ok=True)
            for path, entry in entries:
                if problem := _unsafe(path, entry) or _extract(zip_file, path, entry, target):
                    problems[readable(path)] = problem
    except OSError as error:
        raise BusiUNetError(f"{name} could not be unpacked ({first_line(error)}).", hint) from error
    except DAMAGED_ZIP as error:
        raise DataLayoutError(f"{name} is not a readable zip, or is cut short.", hint=hint) from error
    return problems


def _path_in_zip(entry: zipfile.ZipInfo) -> str:
    name = entry.orig_filename.partition("\0")[0]
    if not entry.flag_bits & 0x800:
        # Many programs write UTF-8 without its flag; zipfile took it for cp437.
        with contextlib.suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return "/".join(shortened(part) for part in name.replace("\\", "/").split("/"))


def _unsafe(path: str, entry: zipfile.ZipInfo) -> str:
    if PurePosixPath(path).is_absolute() or PureWindowsPath(path).drive or ".." in PurePosixPath(path).parts:
        return "its path leads out of the archive's folder"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "is a symbolic link"
    return "is encrypted" if entry.flag_bits & 1 else ""


def _extract(zip_file: zipfile.ZipFile, path: str, entry: zipfile.ZipInfo, target: Path) -> str:
    """Unpack an entry; return why it cannot be, or nothing."""
    try:
        if (target / path).exists():
            return "another entry of the archive has the same name and was used"
        entry.filename = path
        zip_file.extract(entry, target)
    except (OSError, *DAMAGED_ZIP) as error:
        with contextlib.suppress(OSError):
            (target / path).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno:
            if error.errno == errno.ENOSPC:
                raise
            return f"could not be unpacked ({error.strerror})"
        return f"damaged in the archive ({first_line(error)})"
    return ""
