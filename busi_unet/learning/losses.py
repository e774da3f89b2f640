"""What training minimises: a segmentation and a classification loss together."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from busi_unet.model.unet import UNetOutput


class LossParts(NamedTuple):
    """Per image, float (N,).

    Attributes:
        total: its mean over the batch is minimised.
        mask_dice: soft Dice loss; 0 without a lesion.
        mask_bce: binary cross-entropy, mean over the pixels.
        class_ce: cross-entropy over the classes.
    """

    total: Tensor
    mask_dice: Tensor
    mask_bce: Tensor
    class_ce: Tensor


def soft_dice_loss(mask_logits: Tensor, target: Tensor, *, count_empty: bool = False) -> Tensor:
    """1 - Dice of probabilities (Milletari et al. 2016, arXiv:1606.04797), per image.

    Args:
        mask_logits: (N, 1, S, S).
        target: (N, 1, S, S), 0 or 1, or in between where two pictures were mixed.
        count_empty: whether an image without foreground counts, as the share of it that is falsely
            lit; by default its loss is 0 and cross-entropy alone teaches it, because the Dice of an
            empty target jumps from 1 to 0 with the first lit pixel.

    Returns:
        (N,), from 0 to 1.
    """
    probability = mask_logits.sigmoid().flatten(1)
    target = target.flatten(1)
    present = target.sum(dim=1) > 0
    overlap = (probability * target).sum(dim=1)
    loss = 1 - 2 * overlap / (probability.sum(dim=1) + target.sum(dim=1)).clamp_min(1e-6)
    empty = probability.mean(dim=1) if count_empty else torch.zeros_like(loss)
    return torch.where(present, loss, empty)


def combined_loss(
    output: UNetOutput,
    mask: Tensor,
    classes: Tensor,
    *,
    class_weight: float = 0.5,
    label_smoothing: float = 0.05,
) -> LossParts:
    """Dice + binary cross-entropy on the mask, and weighted cross-entropy on the class.

    No image's loss depends on the others', so that the mean over equal shards of a batch equals the
    loss of the whole batch, whatever the number of processes.

    Args:
        output: the network's.
        mask: float (N, 1, S, S), 0 to 1.
        classes: float (N, 3), shares that sum to 1.
        class_weight: of the classification term.
        label_smoothing: of the classification term (Szegedy et al. 2016, arXiv:1512.00567).
    """
    # Autocast may have left the outputs in half precision.
    mask_logits, class_logits = output.mask_logits.to(mask.dtype), output.class_logits.to(mask.dtype)
    mask_dice = soft_dice_loss(mask_logits, mask)
    mask_bce = F.binary_cross_entropy_with_logits(mask_logits, mask, reduction="none").flatten(1).mean(dim=1)
    class_ce = F.cross_entropy(class_logits, classes, label_smoothing=label_smoothing, reduction="none")
    return LossParts(mask_dice + mask_bce + class_weight * class_ce, mask_dice, mask_bce, class_ce)
