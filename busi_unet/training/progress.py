"""How far a run has come: what is counted while an epoch runs, and what is known after it."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, field
from typing import Any

from torch import Tensor


@dataclass
class Tally:
    """Sums over images, from which an epoch's means are read.

    Attributes:
        loss: over all images.
        images: how many.
        dice: over the images with a lesion.
        lesions: how many of those.
        correct: images whose class was found.
    """

    loss: float = 0
    images: float = 0
    dice: float = 0
    lesions: float = 0
    correct: float = 0

    def add(self, loss: Tensor, dice: Tensor, correct: Tensor) -> None:
        """Adds per-image figures (N,); `dice` is NaN for images without a lesion."""
        counted = ~dice.isnan()
        # Sums of float32 would depend on how the images are dealt to batches and processes.
        self.loss += sum(loss.tolist())
        self.images += len(loss)
        self.dice += sum(dice[counted].tolist())
        self.lesions += int(counted.sum())
        self.correct += int(correct.sum())

    def sums(self) -> tuple[float, ...]:
        """The five sums; `Tally(*sums)` is an equal tally."""
        return astuple(self)

    def means(self, prefix: str) -> dict[str, float | None]:
        """Mean loss, Dice over lesion images, and accuracy; None where nothing was counted."""
        return {
            f"{prefix}_loss": self.loss / self.images if self.images else None,
            f"{prefix}_dice": self.dice / self.lesions if self.lesions else None,
            f"{prefix}_accuracy": self.correct / self.images if self.images else None,
        }


@dataclass
class Progress:
    """Part of the checkpoint.

    Attributes:
        epoch: finished epochs.
        step: finished optimizer steps of the epoch that is running.
        tally: of the training images of those steps.
        best_score: None where nothing is selected.
        best_epoch: from 1; 0 before the first.
        seconds: spent training, over all resumptions.
        history: one row per finished epoch.
    """

    epoch: int = 0
    step: int = 0
    tally: Tally = field(default_factory=Tally)
    best_score: float | None = -math.inf
    best_epoch: int = 0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)

    def state_dict(self) -> dict[str, Any]:
        return vars(self) | {"tally": self.tally.sums()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state | {"tally": Tally(*state["tally"])})
