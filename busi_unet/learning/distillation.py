"""Networks that teach another one: what they say of a picture counts beside its mask and its class.

Knowledge distillation (Hinton et al. 2015, arXiv:1503.02531), so that one network learns what several know.
The teachers see the very picture that their pupil sees, augmented and blended (Beyer et al. 2022,
arXiv:2106.05237).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from busi_unet.bundle import load_bundle
from busi_unet.config import Preprocess
from busi_unet.errors import UsageError
from busi_unet.learning.options import TrainOptions
from busi_unet.learning.unseen import require_unseen
from busi_unet.model.unet import UNet, UNetOutput

if TYPE_CHECKING:
    from datasets import DatasetDict


class Taught(NamedTuple):
    """What teachers say of a batch.

    Attributes:
        mask: lesion probabilities, float (N, 1, S, S).
        classes: class probabilities, float (N, 3).
    """

    mask: Tensor
    classes: Tensor


class Teachers:
    """The mean of what several trained networks say.

    Args:
        networks: at least one, each with the temperature that calibrates it; they are not trained here.
    """

    def __init__(self, networks: Sequence[tuple[UNet, float]]) -> None:
        self._networks = [(network.eval().requires_grad_(False), heat) for network, heat in networks]

    @torch.no_grad()
    def __call__(self, image: Tensor) -> Taught:
        """image (N, 1, S, S), normalised as for each of the networks."""
        masks, classes = [], []
        for network, temperature in self._networks:
            output = network(image)
            masks.append(output.mask_logits.to(image.dtype).sigmoid())
            classes.append((output.class_logits.to(image.dtype) / temperature).softmax(dim=1))
        return Taught(torch.stack(masks).mean(dim=0), torch.stack(classes).mean(dim=0))


def load_teachers(options: TrainOptions, data: DatasetDict, device: torch.device) -> Teachers | None:
    """The networks that teach a run's, on its device; None where there are none.

    Args:
        options: of the run.
        data: split as for the run.
        device: of the run.

    Raises:
        UsageError: a folder that is no model, or a model that has learned no lesions, was tuned for another
            input, or knows of what the run holds back.
        IncompatibleBundleError: a model folder that cannot be read.
    """
    networks = []
    for folder in options.teachers:
        if not Path(folder).is_dir():
            raise UsageError(f"--teachers {folder} is no model folder.", "Name the folder of a model.")
        network, config, _ = load_bundle(folder)
        if config.only_a_start:
            raise UsageError(
                f"--teachers {folder} has not learned to outline lesions.", "Name the model of a training."
            )
        if config.preprocess != Preprocess(size=options.size):
            raise UsageError(
                f"--teachers {folder} was tuned for --size {config.preprocess.size}, not {options.size}.",
                "Use its size, or another model.",
            )
        require_unseen("--teachers", folder, config, data, validates=not options.refit)
        networks.append((network.to(device), config.calibration.temperature))
    return Teachers(networks) if networks else None


def distillation_loss(output: UNetOutput, taught: Taught, *, class_weight: float = 0.5) -> Tensor:
    """Cross-entropy of mask and class against what the teachers say, per image.

    Without a Dice term: that of a picture without a lesion would be of the traces that teachers see there.

    Args:
        output: the pupil's.
        taught: of the same pictures.
        class_weight: of the classification term.

    Returns:
        (N,).
    """
    # Autocast may have left the outputs in half precision.
    mask_logits, class_logits = (part.to(taught.mask.dtype) for part in output)
    bce = F.binary_cross_entropy_with_logits(mask_logits, taught.mask, reduction="none")
    return bce.flatten(1).mean(dim=1) + class_weight * F.cross_entropy(
        class_logits, taught.classes, reduction="none"
    )
