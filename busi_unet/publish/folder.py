"""A repository's files, laid out in a folder before anything is sent."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from busi_unet.errors import UsageError
from busi_unet.io.files import whole_or_nothing

# Lists the files beside it. `push_folder` sends nothing in .cache.
_LIST = Path(".cache") / "busi_unet.txt"


@contextlib.contextmanager
def repository_folder(output: str | os.PathLike) -> Iterator[Path]:
    """An empty folder to fill; it takes the place of `output` once everything is in it.

    An earlier folder of the kind is replaced, but only while it holds nothing that was not written here.

    Raises:
        UsageError: `output` is a file, or holds a file that no earlier call wrote.
        BusiUNetError: the disk refuses.
    """
    # Resolved, because "." has no name to put the unfinished folder beside.
    output = Path(output).expanduser().resolve()
    if output.exists() and not output.is_dir():
        raise UsageError(f"The output {output} is a file.", "Choose another --output.")
    written = (output / _LIST).read_text(encoding="utf-8").splitlines() if (output / _LIST).is_file() else []
    others = [file["path"] for file in list_files(output) if file["path"] not in written]
    if others:
        raise UsageError(
            f"The output {output} holds {others[0]}, which no dry run wrote, so it is not replaced.",
            "Choose another --output, or delete that folder.",
        )
    with whole_or_nothing(output) as partial:
        yield partial
        listed = "".join(f"{file['path']}\n" for file in list_files(partial))
        (partial / _LIST).parent.mkdir()
        (partial / _LIST).write_text(listed, encoding="utf-8")


def dry_run(build: Callable[[Path], Path], output: Path | None) -> list[dict[str, Any]]:
    """Lists what `build` lays out in the output, or in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="busi-unet-", ignore_cleanup_errors=True) as scratch:
        return list_files(build(output or Path(scratch) / "repository"))


def list_files(folder: Path) -> list[dict[str, Any]]:
    """Every file in a folder that would be sent, sorted by path, JSON-ready: path (with slashes), bytes."""
    paths = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return [
        {"path": name.as_posix(), "bytes": path.stat().st_size}
        for name, path in paths.items()
        if name != _LIST
    ]


def describe_files(files: list[dict[str, Any]]) -> str:
    """`list_files` for people, with a total."""
    total = sum(file["bytes"] for file in files)
    lines = [f"{file['bytes']:>12,}  {file['path']}" for file in files]
    return "\n".join([*lines, f"{total:>12,}  bytes in {len(files)} files"])
