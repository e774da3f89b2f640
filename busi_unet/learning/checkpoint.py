"""One file per checkpoint, written whole or not at all."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, Protocol

import torch

from busi_unet.errors import TrainingError, first_line
from busi_unet.files import replace_file

CHECKPOINT_NAME = "checkpoint.pt"


class Stateful(Protocol):
    """Anything with a state that can be saved and restored, such as a module or an optimizer."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


def has_checkpoint(run: Path) -> bool:
    return (run / CHECKPOINT_NAME).is_file()


def save_checkpoint(run: Path, parts: dict[str, Stateful]) -> None:
    """Replaces the checkpoint of a run folder by the states of the named parts.

    Raises:
        TrainingError: it cannot be written; the checkpoint before it is as it was.
    """
    states = {name: part.state_dict() for name, part in parts.items()}
    try:
        replace_file(run / CHECKPOINT_NAME, lambda file: torch.save(states, file))
    except (OSError, RuntimeError) as error:  # torch reports a full disk as either.
        raise TrainingError(
            f"The checkpoint in {run} cannot be written ({first_line(error)}); the one before it is intact.",
            "Free some space on the disk, then go on with --resume.",
        ) from error


def load_checkpoint(run: Path, parts: dict[str, Stateful]) -> None:
    """Restores the named parts.

    Raises:
        TrainingError: there is no checkpoint, it is damaged, or it belongs to another network.
    """
    path = run / CHECKPOINT_NAME
    if not path.is_file():
        raise TrainingError(f"{run} holds no checkpoint to resume from.", "Start it without --resume.")
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
