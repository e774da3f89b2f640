import math

import pytest
import torch

from busi_unet.data.prepared import UNKNOWN
from busi_unet.data.torch_dataset import Batch
from busi_unet.models.unet import UNetOutput
from busi_unet.training.losses import Tally, combined_loss, soft_dice_loss


def target() -> torch.Tensor:
    """One image with a lesion of a quarter of it, one without."""
    mask = torch.zeros(2, 1, 8, 8)
    mask[0, 0, :4, :4] = 1
    return mask


def batch(mask: torch.Tensor, *labels: int) -> Batch:
    index = torch.arange(len(mask))
    known = torch.ones(len(mask), dtype=torch.bool)
    return Batch(torch.zeros_like(mask), mask, known, torch.tensor(labels), index)


def test_dice_loss_of_perfect_disjoint_and_empty_masks():
    sure = 40 * (2 * target() - 1)
    assert soft_dice_loss(sure, target())[0] == pytest.approx(0, abs=1e-6)
    assert soft_dice_loss(-sure, target())[0] == pytest.approx(1, abs=1e-6)
    # All probabilities are one half: overlap 8, areas 32 and 16.
    half = soft_dice_loss(torch.zeros(2, 1, 8, 8), target())
    assert half.tolist() == pytest.approx([1 - 2 * 8 / (32 + 16), 0])


def test_empty_images_still_teach_through_cross_entropy():
    logits = torch.zeros(2, 1, 8, 8, requires_grad=True)
    output = UNetOutput(logits, torch.zeros(2, 3))
    combined_loss(output, batch(target(), 1, 0), class_weight=0, label_smoothing=0).sum().backward()
    assert (logits.grad[1] > 0).all()


def test_every_image_has_its_own_loss():
    generator = torch.Generator().manual_seed(0)
    output = UNetOutput(torch.randn(2, 1, 8, 8, generator=generator), torch.randn(2, 3, generator=generator))
    both = batch(target(), 1, 0)
    weights = {"class_weight": 0.5, "label_smoothing": 0.05}
    singles = [
        combined_loss(
            UNetOutput(*(part[i : i + 1] for part in output)),
            Batch(*(part[i : i + 1] for part in both)),
            **weights,
        )
        for i in range(2)
    ]
    torch.testing.assert_close(combined_loss(output, both, **weights), torch.cat(singles))


def test_the_loss_is_the_weighted_sum():
    # Without knowledge: a Dice loss of 2/3 on the lesion, as above, and the logarithms of 2 and of 3.
    output = UNetOutput(torch.zeros(2, 1, 8, 8), torch.zeros(2, 3))
    loss = combined_loss(output, batch(target(), 2, 0), class_weight=0.25, label_smoothing=0)
    expected = math.log(2) + 0.25 * math.log(3)
    assert loss.tolist() == pytest.approx([2 / 3 + expected, expected])


def test_what_is_not_known_teaches_nothing():
    known = batch(target(), 2, 0)
    partly = known._replace(has_mask=torch.tensor([False, True]), label=torch.tensor([2, UNKNOWN]))
    output = UNetOutput(torch.zeros(2, 1, 8, 8), torch.zeros(2, 3))
    loss = combined_loss(output, partly, class_weight=0.25, label_smoothing=0)
    assert loss.tolist() == pytest.approx([0.25 * math.log(3), math.log(2)])


def test_a_tally_leaves_lesion_free_images_out_of_the_dice():
    logits = torch.full((2, 1, 8, 8), -1.0)
    logits[0, 0, :4, :2] = 1  # Dice 2 · 8 / (8 + 16)
    tally = Tally()
    output = UNetOutput(logits, torch.eye(3)[[1, 1]])
    tally.add(output, batch(target(), 1, 0), torch.tensor([1.0, 3.0]))
    means = tally.means("x")
    assert (means["x_loss"], round(means["x_dice"], 4), means["x_accuracy"]) == (2.0, 0.6667, 0.5)
    assert Tally().means("x")["x_dice"] is None
