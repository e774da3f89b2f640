"""One file per checkpoint, written whole or not at all, and what is said where a run cannot be written."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import torch

from busi_unet.errors import TrainingError, first_line
from busi_unet.io.files import replace_file

CHECKPOINT_NAME = "checkpoint.pt"


class Stateful(Protocol):
    """Anything with a state that can be saved and restored, such as a module or an optimizer."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


def has_checkpoint(run: Path) -> bool:
    return (run / CHECKPOINT_NAME).is_file()


@contextlib.contextmanager
def writing(run: Path) -> Iterator[None]:
    """Inside its `with` block, a disk that refuses what a run writes to its folder is told in one line.

    Raises:
        TrainingError: for an OSError; it says whether there is a checkpoint to go on from.
    """
    try:
        yield
    except OSError as error:
        kept, again = "there is no checkpoint yet", "start again"
        if has_checkpoint(run):
            kept, again = "its last checkpoint is intact", "go on with --resume"
        raise TrainingError(
            f"The run folder {run} cannot be written ({first_line(error)}); {kept}.",
            f"Check the space on the disk and the folder's permissions, then {again}.",
        ) from error


def save_checkpoint(run: Path, parts: dict[str, Stateful]) -> None:
    """Replaces the checkpoint of a run folder by the states of the named parts.

    Raises:
        TrainingError: it cannot be written; the checkpoint before it is as it was.
    """
    states = {name: part.state_dict() for name, part in parts.items()}

    def write(file: BinaryIO) -> None:
        try:
            torch.save(states, file)
        except RuntimeError as error:
            # torch covers what the disk said with a complaint about its own position in the file.
            raise OSError(first_line(error.__context__ or error)) from error

    with writing(run):
        replace_file(run / CHECKPOINT_NAME, write)


def load_checkpoint(run: Path, parts: dict[str, Stateful]) -> None:
    """Restores the named parts.

    Raises:
        TrainingError: the checkpoint is damaged, or it belongs to another network.
    """
    path = run / CHECKPOINT_NAME
    try:
        with zipfile.ZipFile(path) as archive:
            # torch writes checksums but does not compare them.
            if (bad := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"{bad} has changed")
        states = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise TrainingError(
            f"{path} is damaged ({type(error).__name__}: {first_line(error)}).",
            "Start anew in another --output.",
        ) from error
    try:
        for name, part in parts.items():
            part.load_state_dict(states[name])
    except Exception as error:
        raise TrainingError(
            f"{path} does not fit this run ({type(error).__name__}: {first_line(error)}).",
            "Use the options the run was started with, or start anew in another --output.",
        ) from error
