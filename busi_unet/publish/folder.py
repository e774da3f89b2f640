"""A repository's files, laid out in a folder before anything is sent."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from busi_unet.errors import UsageError
from busi_unet.files import whole_or_nothing


def checked_id(repo_id: str) -> str:
    """The id itself, if it has the form USER/NAME.

    Raises:
        UsageError: it has not.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UsageError(f"{repo_id!r} is not a Hub id.", "Use USER/NAME.") from error
    if "/" not in repo_id:
        raise UsageError(f"{repo_id!r} is not a Hub id.", "Use USER/NAME.")
    return repo_id


@contextlib.contextmanager
def repository_folder(output: str | os.PathLike) -> Iterator[Path]:
    """An empty folder to fill; it takes the place of `output` once everything is in it.

    An earlier folder of the same kind is replaced; one that holds anything else is left alone.

    Raises:
        UsageError: `output` is a file, or holds something that the new folder does not.
        BusiUNetError: the disk refuses.
    """
    # Resolved, because "." has no name to put the unfinished folder beside.
    output = Path(output).expanduser().resolve()
    if output.exists() and not output.is_dir():
        raise UsageError(f"The output {output} is a file.", "Choose another --output.")
    with whole_or_nothing(output) as partial:
        yield partial
        made = {path.name for path in partial.iterdir()}
        others = sorted(path.name for path in output.iterdir()) if output.exists() else []
        others = [name for name in others if name not in made]
        if others:
            raise UsageError(
                f"The output {output} holds {others[0]}, which would be lost, so it is not replaced.",
                "Choose another --output, or delete that folder.",
            )


def dry_run(build: Callable[[Path], Path], output: Path | None) -> list[dict[str, Any]]:
    """Lists what `build` lays out in the output, or in a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="busi-unet-", ignore_cleanup_errors=True) as scratch:
        return list_files(build(output or Path(scratch) / "repository"))


def list_files(folder: Path) -> list[dict[str, Any]]:
    """Every file in a folder, sorted by path, JSON-ready: path (with slashes) and bytes."""
    return [
        {"path": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


def describe_files(files: list[dict[str, Any]]) -> str:
    """`list_files` for people, with a total."""
    total = sum(file["bytes"] for file in files)
    lines = [f"{file['bytes']:>12,}  {file['path']}" for file in files]
    return "\n".join([*lines, f"{total:>12,}  bytes in {len(files)} files"])
