"""What training minimises: a segmentation and a classification loss together."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from busi_unet.data.prepared import UNKNOWN
from busi_unet.data.torch_dataset import Batch
from busi_unet.models.unet import UNetOutput


def soft_dice_loss(mask_logits: Tensor, target: Tensor) -> Tensor:
    """Return 1 - Dice of probabilities (Milletari et al. 2016, arXiv:1606.04797), per image.

    An image without foreground has a loss of 0, and cross-entropy alone teaches it: the Dice of an
    empty target jumps from 1 to 0 with the first lit pixel.

    Args:
        mask_logits: (N, 1, S, S).
        target: (N, 1, S, S), 0 or 1.

    Returns:
        (N,), from 0 to 1.
    """
    probability = mask_logits.sigmoid().flatten(1)
    target = target.flatten(1)
    present = target.sum(dim=1) > 0
    overlap = (probability * target).sum(dim=1)
    loss = 1 - 2 * overlap / (probability.sum(dim=1) + target.sum(dim=1)).clamp_min(1e-6)
    return torch.where(present, loss, 0.0)


def mask_loss(mask_logits: Tensor, mask: Tensor) -> Tensor:
    """Return Dice loss + binary cross-entropy, (N,) from logits and mask (N, 1, S, S), 0 to 1."""
    bce = F.binary_cross_entropy_with_logits(mask_logits, mask, reduction="none").flatten(1).mean(dim=1)
    return soft_dice_loss(mask_logits, mask) + bce


def class_loss(class_logits: Tensor, label: Tensor, *, label_smoothing: float) -> Tensor:
    """Return cross-entropy, (N,) from logits (N, 3) and labels (N,); 0 where the class is not known.

    Label smoothing: Szegedy et al. 2016, arXiv:1512.00567.
    """
    return F.cross_entropy(
        class_logits, label, label_smoothing=label_smoothing, ignore_index=UNKNOWN, reduction="none"
    )


def combined_loss(output: UNetOutput, batch: Batch, *, class_weight: float, label_smoothing: float) -> Tensor:
    """Return `mask_loss` + class_weight · `class_loss`, per image; the mean over the batch is minimised.

    No image's loss depends on the others', so that the mean over equal shares of a batch is the loss of the
    whole batch, whatever the number of processes.

    Args:
        output: of the network, for this batch.
        batch: N images; those without a mask have the classification term alone, and the reverse.
        class_weight: of the classification term.
        label_smoothing: of the classification term.

    Returns:
        (N,).
    """
    # Autocast may have left the outputs in half precision.
    mask_logits, class_logits = (logits.to(batch.mask.dtype) for logits in output)
    mask = torch.where(batch.has_mask, mask_loss(mask_logits, batch.mask), 0.0)
    return mask + class_weight * class_loss(class_logits, batch.label, label_smoothing=label_smoothing)
