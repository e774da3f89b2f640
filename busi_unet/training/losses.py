"""What training minimises, a segmentation and a classification loss together, and how it is counted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from busi_unet.data.prepared import UNKNOWN
from busi_unet.data.torch_dataset import Batch
from busi_unet.models.unet import UNetOutput


def soft_dice_loss(mask_logits: Tensor, target: Tensor) -> Tensor:
    """Return 1 - Dice of probabilities (Milletari et al. 2016, arXiv:1606.04797), (N,), from 0 to 1.

    An image without foreground has a loss of 0, and cross-entropy alone teaches it: the Dice of an
    empty target jumps from 1 to 0 with the first lit pixel. Logits and target, 0 or 1, are (N, 1, S, S).
    """
    probability = mask_logits.sigmoid().flatten(1)
    target = target.flatten(1)
    present = target.sum(dim=1) > 0
    overlap = (probability * target).sum(dim=1)
    loss = 1 - 2 * overlap / (probability.sum(dim=1) + target.sum(dim=1)).clamp_min(1e-6)
    return torch.where(present, loss, 0.0)


def combined_loss(output: UNetOutput, batch: Batch, *, class_weight: float, label_smoothing: float) -> Tensor:
    """Return Dice loss + binary cross-entropy of the mask + class_weight · cross-entropy of the class, (N,).

    The mean over the batch is minimised. No image's loss depends on the others', so that the mean over equal
    shares of a batch is the loss of the whole batch, whatever the number of processes. Images without a mask
    have the classification term alone, and the reverse; it has label smoothing (Szegedy et al. 2016,
    arXiv:1512.00567).
    """
    # Autocast may have left the outputs in half precision.
    mask_logits, class_logits = (logits.to(batch.mask.dtype) for logits in output)
    bce = F.binary_cross_entropy_with_logits(mask_logits, batch.mask, reduction="none").flatten(1).mean(dim=1)
    mask = torch.where(batch.has_mask, soft_dice_loss(mask_logits, batch.mask) + bce, 0.0)
    return mask + class_weight * F.cross_entropy(
        class_logits, batch.label, label_smoothing=label_smoothing, ignore_index=UNKNOWN, reduction="none"
    )


@dataclass
class Tally:
    """Sums over `images`, from which an epoch's means are read.

    `dice` is over the `lesions`, the images with one, `correct` over the `labelled`, those of a known class.
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

    def means(self, prefix: str) -> dict[str, float | None]:
        """Return mean loss, Dice over lesion images, and accuracy; None where nothing was counted."""
        return {
            f"{prefix}_loss": self.loss / self.images if self.images else None,
            f"{prefix}_dice": self.dice / self.lesions if self.lesions else None,
            f"{prefix}_accuracy": self.correct / self.labelled if self.labelled else None,
        }
