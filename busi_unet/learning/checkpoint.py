"""One file per checkpoint, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch

from busi_unet.errors import TrainingError, first_line

CHECKPOINT_NAME = "checkpoint.pt"


class Stateful(Protocol):
    """Anything with a state that can be saved and restored, such as a module or an optimizer."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


def save_checkpoint(run: Path, parts: dict[str, Stateful]) -> None:
    """Replaces the checkpoint of a run folder by the states of the named parts."""
    partial = run / f".{CHECKPOINT_NAME}.partial"
    torch.save({name: part.state_dict() for name, part in parts.items()}, partial)
    partial.replace(run / CHECKPOINT_NAME)


def load_checkpoint(run: Path, parts: dict[str, Stateful]) -> None:
    """Restores the named parts.

    Raises:
        TrainingError: there is no checkpoint, it is damaged, or it belongs to another network.
    """
    path = run / CHECKPOINT_NAME
    if not path.is_file():
        raise TrainingError(f"{run} holds no checkpoint to resume from.", "Start it without --resume.")
    try:
        states = torch.load(path, map_location="cpu", weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(states[name])
    except Exception as error:
        raise TrainingError(
            f"{path} cannot be resumed ({type(error).__name__}: {first_line(error)}).",
            "Use the options the run was started with, or start anew in another --output.",
        ) from error
