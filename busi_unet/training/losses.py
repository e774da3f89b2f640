"""What training minimises: a segmentation and a classification loss together."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from busi_unet.models.unet import UNetOutput


def soft_dice_loss(mask_logits: Tensor, target: Tensor) -> Tensor:
    """1 - Dice of probabilities (Milletari et al. 2016, arXiv:1606.04797), per image.

    An image without foreground has a loss of 0, and cross-entropy alone teaches it: the Dice of an
    empty target jumps from 1 to 0 with the first lit pixel.

    Args:
        mask_logits: (N, 1, S, S).
        target: (N, 1, S, S), 0 or 1, or in between where two pictures were mixed.

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
    """Dice loss + binary cross-entropy, per image.

    Args:
        mask_logits: (N, 1, S, S).
        mask: (N, 1, S, S), 0 to 1.

    Returns:
        (N,).
    """
    bce = F.binary_cross_entropy_with_logits(mask_logits, mask, reduction="none").flatten(1).mean(dim=1)
    return soft_dice_loss(mask_logits, mask) + bce


def combined_loss(
    output: UNetOutput,
    mask: Tensor,
    classes: Tensor,
    *,
    class_weight: float = 0.5,
    label_smoothing: float = 0.05,
) -> Tensor:
    """`mask_loss`, and weighted cross-entropy on the class.

    No image's loss depends on the others', so that the mean over equal shards of a batch equals the
    loss of the whole batch, whatever the number of processes.

    Args:
        output: the network's.
        mask: float (N, 1, S, S), 0 to 1.
        classes: float (N, 3), shares that sum to 1.
        class_weight: of the classification term.
        label_smoothing: of the classification term (Szegedy et al. 2016, arXiv:1512.00567).

    Returns:
        (N,); the mean over the batch is minimised.
    """
    # Autocast may have left the outputs in half precision.
    mask_logits, class_logits = output.mask_logits.to(mask.dtype), output.class_logits.to(mask.dtype)
    class_ce = F.cross_entropy(class_logits, classes, label_smoothing=label_smoothing, reduction="none")
    return mask_loss(mask_logits, mask) + class_weight * class_ce
