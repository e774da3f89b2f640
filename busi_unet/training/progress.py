"""How far a run has come: what is counted while an epoch runs, and what is known after it."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass, field
from typing import Any

from torch import Tensor

from busi_unet.data.prepared import UNKNOWN
from busi_unet.data.torch_dataset import Batch
from busi_unet.models.unet import UNetOutput


@dataclass
class Tally:
    """Sums over images, from which an epoch's means are read.

    Attributes:
        loss: over all images.
        images: how many.
        dice: over the images with a lesion.
        lesions: how many of those.
        labelled: images whose class is known.
        correct: those of them whose class was found.
    """

    loss: float = 0
    images: float = 0
    dice: float = 0
    lesions: float = 0
    labelled: float = 0
    correct: float = 0

    def add(self, output: UNetOutput, batch: Batch, loss: Tensor) -> None:
        """Count a batch of this process; loss is (N,), one per image."""
        predicted = (output.mask_logits > 0).flatten(1)
        target = batch.mask.flatten(1) > 0.5
        area = target.sum(1)
        has_lesion = area > 0
        dice = 2 * (predicted & target).sum(1) / (predicted.sum(1) + area)
        correct = output.class_logits.argmax(1) == batch.label
        # Sums of float32 would depend on how the images are dealt to batches and processes.
        self.loss += sum(loss.tolist())
        self.images += len(loss)
        self.dice += sum(dice[has_lesion].tolist())
        self.lesions += int(has_lesion.sum())
        self.labelled += int((batch.label != UNKNOWN).sum())
        self.correct += int(correct.sum())

    def sums(self) -> tuple[float, ...]:
        """Return the sums; `Tally(*sums)` is an equal tally."""
        return astuple(self)

    def means(self, prefix: str) -> dict[str, float | None]:
        """Return mean loss, Dice over lesion images, and accuracy; None where nothing was counted."""
        return {
            f"{prefix}_loss": self.loss / self.images if self.images else None,
            f"{prefix}_dice": self.dice / self.lesions if self.lesions else None,
            f"{prefix}_accuracy": self.correct / self.labelled if self.labelled else None,
        }


@dataclass
class Progress:
    """Part of the checkpoint.

    Attributes:
        epoch: finished epochs.
        step: finished optimizer steps of the epoch that is running.
        tally: of the training images of those steps.
        best_score: mean of validation Dice and accuracy; None where nothing is selected.
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

    def finish_epoch(self, row: dict[str, Any], *, validated: bool) -> bool:
        """Add an epoch to the history.

        Args:
            row: its figures; number and seconds are added.
            validated: whether there are any on validation images to compare epochs by.

        Returns:
            Whether it is the best so far. Without validation the last epoch counts as the best.
        """
        self.epoch, self.step, self.tally = self.epoch + 1, 0, Tally()
        self.history.append({"epoch": self.epoch, **row, "seconds": round(self.seconds, 1)})
        score = ((row["validation_dice"] or 0) + (row["validation_accuracy"] or 0)) / 2 if validated else None
        better = score is None or score > self.best_score
        if better:
            self.best_score, self.best_epoch = score, self.epoch
        return better

    def state_dict(self) -> dict[str, Any]:
        return vars(self) | {"tally": self.tally.sums()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        vars(self).update(state | {"tally": Tally(*state["tally"])})
