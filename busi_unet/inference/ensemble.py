"""Several forward passes as one predictor: other networks, or the same one on the mirror image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from busi_unet.inference.predictor import Predictor, RawOutput


class Ensemble(Predictor):
    """The mean of what several passes say of a picture; everything else is as the first member has it.

    Lesion and class probabilities are averaged, not logits, so that a network that is sure of itself
    does not overrule the others. Calibration and thresholds are to be fitted anew, as the mean is less sure
    than each of its parts.

    Args:
        members: with equal preprocessing.
        mirror: whether each member sees the picture's mirror image, too.
    """

    def __init__(self, members: Sequence[Predictor], *, mirror: bool = False) -> None:
        first = members[0]
        super().__init__(first.model, first.config, first.ood, device=str(first.device))
        self.members = tuple(members)
        self.mirror = mirror

    def run(self, frames: Sequence[np.ndarray]) -> list[RawOutput]:
        """As `Predictor.run`, one forward pass per member and view."""
        passes = []
        for member in self.members:
            passes.append(member.run(frames))
            if self.mirror:
                mirrored = member.run([np.ascontiguousarray(frame[:, ::-1]) for frame in frames])
                passes.append([_turned_back(raw) for raw in mirrored])
        return [_mean(of_one) for of_one in zip(*passes, strict=True)]


def _turned_back(raw: RawOutput) -> RawOutput:
    return RawOutput(
        raw.probability[:, ::-1], raw.class_logits, raw.class_activation_maps[:, :, ::-1], raw.features
    )


def _mean(passes: Sequence[RawOutput]) -> RawOutput:
    logits = np.stack([raw.class_logits for raw in passes])
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return RawOutput(
        probability=np.mean([raw.probability for raw in passes], axis=0),
        class_logits=np.log(shares.mean(axis=0)),
        class_activation_maps=np.mean([raw.class_activation_maps for raw in passes], axis=0),
        features=passes[0].features,
    )
