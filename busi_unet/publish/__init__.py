"""What is put on the Hugging Face Hub: models, prepared data sets, the Space.

A repository's files are laid out in a folder before `busi_unet.hub` sends anything.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from busi_unet.errors import BusiUNetError, UsageError
from busi_unet.hub import PushResult, push_folder
from busi_unet.io.files import scratch_folder, whole_or_nothing

NOT_A_DEVICE = "**Research use only. Not a medical device: do not use it to find or rule out cancer.**"


@contextlib.contextmanager
def repository_folder(output: str | os.PathLike) -> Iterator[Path]:
    """Yield an empty folder to fill; it becomes `output` once everything is in it.

    Raises:
        UsageError: `output` exists and is not an empty folder.
        BusiUNetError: the disk refuses.
    """
    # Resolved, because "." has no name to put the unfinished folder beside.
    output = Path(output).expanduser().resolve()
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise UsageError(f"The output {output} exists and is not an empty folder.", "Name another.")
    with whole_or_nothing(output) as partial:
        yield partial


def dry_run(build: Callable[[Path], Path], output: Path | None) -> tuple[list[dict[str, Any]], str]:
    """Return the files that `build` lays out in `output`, or in a folder that is removed again.

    They are given as path (with slashes) and bytes of each, sorted; and as text, with a total.
    """
    with scratch_folder() as scratch:
        folder = build(output or scratch / "repository")
        files = [
            {"path": path.relative_to(folder).as_posix(), "bytes": path.stat().st_size}
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        ]
    lines = [f"{file['bytes']:>12,}  {file['path']}" for file in files]
    total = sum(file["bytes"] for file in files)
    return files, "\n".join([*lines, f"{total:>12,}  bytes in {len(files)} files"])


def push_built(
    build: Callable[[Path], Path], repo_id: str, *, command: Sequence[str], intact: str = "", **options: Any
) -> PushResult:
    """Push the folder that `build` fills and returns, with the other options of `push_folder`.

    Every error but wrong usage ends with the command that does this again, and says in a sentence what is
    `intact`.
    """
    try:
        with scratch_folder() as scratch:
            return push_folder(build(scratch / "repository"), repo_id, **options)
    except UsageError:
        # The same arguments would be wrong again.
        raise
    except BusiUNetError as error:
        error.message = f"{error.message} {intact}".rstrip()
        error.hint = f"{error.hint} Then resume with: {shlex.join(command)}".lstrip()
        raise
