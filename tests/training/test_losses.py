import math

import pytest
import torch

from busi_unet.models.unet import UNetOutput
from busi_unet.training.losses import combined_loss, soft_dice_loss


def target() -> torch.Tensor:
    """One image with a lesion of a quarter of it, one without."""
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, 0, :4, :4] = 1
    return mask


def classes(*indices: int) -> torch.Tensor:
    return torch.eye(3)[list(indices)]


def test_dice_loss_of_perfect_and_of_disjoint_masks():
    sure = 40 * (2 * target() - 1)
    assert soft_dice_loss(sure, target())[0] == pytest.approx(0, abs=1e-6)
    assert soft_dice_loss(-sure, target())[0] == pytest.approx(1, abs=1e-6)


def test_dice_loss_by_hand():
    # All probabilities are one half: overlap 8, areas 32 and 16.
    assert soft_dice_loss(torch.zeros(2, 1, 8, 8), target())[0] == pytest.approx(1 - 2 * 8 / (32 + 16))


def test_an_empty_mask_has_no_dice_loss():
    assert soft_dice_loss(torch.zeros(2, 1, 8, 8), target())[1] == 0


def test_empty_images_still_teach_through_cross_entropy():
    logits = torch.zeros(2, 1, 8, 8, requires_grad=True)
    output = UNetOutput(logits, torch.zeros(2, 3))
    combined_loss(output, target(), classes(1, 0)).sum().backward()
    assert (logits.grad[1] > 0).all()


def test_every_image_has_its_own_loss():
    generator = torch.Generator().manual_seed(0)
    output = UNetOutput(torch.randn(4, 1, 8, 8, generator=generator), torch.randn(4, 3, generator=generator))
    mask = torch.cat([target(), torch.zeros(2, 1, 8, 8)])
    shares = classes(1, 0, 0, 2)
    whole = combined_loss(output, mask, shares)
    singles = [
        combined_loss(UNetOutput(*(part[i : i + 1] for part in output)), mask[i : i + 1], shares[i : i + 1])
        for i in range(4)
    ]
    torch.testing.assert_close(whole, torch.cat(singles))


def test_the_loss_is_the_weighted_sum():
    # Without knowledge: a Dice loss of 2/3 on the lesion, as above, and the logarithms of 2 and of 3.
    output = UNetOutput(torch.zeros(2, 1, 8, 8), torch.zeros(2, 3))
    loss = combined_loss(output, target(), classes(2, 0), class_weight=0.25)
    expected = math.log(2) + 0.25 * math.log(3)
    assert loss.tolist() == pytest.approx([2 / 3 + expected, expected])


def test_a_blend_of_two_classes_asks_for_both():
    logits = torch.zeros(1, 3, requires_grad=True)
    blend = torch.tensor([[0.75, 0.25, 0.0]])
    output = UNetOutput(torch.zeros(1, 1, 8, 8), logits)
    combined_loss(output, target()[:1], blend, class_weight=1, label_smoothing=0).sum().backward()
    torch.testing.assert_close(logits.grad, torch.full((1, 3), 1 / 3) - blend)
