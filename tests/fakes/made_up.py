"""A made-up predictor on a made-up split, small enough for metrics worked out by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from datasets import Dataset
from PIL import Image

from busi_unet.config import CLASS_NAMES, Thresholds
from busi_unet.data.prepared import UNKNOWN, features

HEIGHT, WIDTH = 30, 40  # The diagonal is 50.


def box(top, left, bottom, right, shape=(HEIGHT, WIDTH)):
    mask = np.zeros(shape, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


EMPTY = box(0, 0, 0, 0)
SQUARE = box(4, 4, 12, 12)
LEFT_HALF = box(4, 4, 12, 8)

# image_id, group, reference, predicted mask, predicted class, probabilities of normal, benign, malignant
CASES = (
    ("benign (1)", "a", SQUARE, SQUARE, "benign", (0.1, 0.8, 0.1)),
    ("benign (2)", "a", SQUARE, LEFT_HALF, "malignant", (0.2, 0.3, 0.5)),
    ("malignant (1)", "b", SQUARE, EMPTY, "malignant", (0.2, 0.32, 0.48)),
    ("malignant (2)", "c", SQUARE, SQUARE, "malignant", (0.0, 0.1, 0.9)),
    ("normal (1)", "d", box(0, 0, 0, 0, (50, 36)), box(1, 1, 3, 4, (50, 36)), "benign", (0.3, 0.6, 0.1)),
    ("normal (2)", "e", EMPTY, EMPTY, "normal", (0.7, 0.2, 0.1)),
)
PIXELS = {
    case[0]: np.random.default_rng(seed).integers(0, 256, case[2].shape, dtype=np.uint8)
    for seed, case in enumerate(CASES)
}


def make_split(
    cases=CASES, *, source_of=lambda name: "made-up", known=lambda name: True, masked=lambda name: True
):
    """Rows of a prepared data set; `known` and `masked` by image id."""
    return Dataset.from_dict(
        {
            "image": [Image.fromarray(PIXELS[case[0]]) for case in cases],
            "mask": [
                Image.fromarray(case[2].astype(np.uint8) * 255) if masked(case[0]) else None for case in cases
            ],
            "label": [CLASS_NAMES.index(case[0].split()[0]) if known(case[0]) else UNKNOWN for case in cases],
            "image_id": [case[0] for case in cases],
            "source": [source_of(case[0]) for case in cases],
            "group": [case[1] for case in cases],
            "fold": [0] * len(cases),
        },
        features=features(),
    )


def make_answer(mask, label, probabilities, refused=False):
    """What an evaluation reads of a prediction."""
    return SimpleNamespace(
        mask=mask,
        probability=mask.astype(np.float32),
        label=label,
        probabilities=dict(zip(CLASS_NAMES, probabilities, strict=True)),
        refused=refused,
        prediction_set=None,
        boundary_band=None,
        flagged=probabilities[2] > 0.1,
    )


class MadeUpPredictor:
    """Knows each image by its pixels, so that a mixed-up row shows.

    Where it outlines nothing in a lesion image, the square would be outlined at a lower lesion threshold.
    """

    def __init__(self, cases=CASES, refused=()):
        self.config = SimpleNamespace(thresholds=Thresholds())
        self.answers = {}
        for name, _, target, mask, label, probabilities in cases:
            answer = make_answer(mask, label, probabilities, refused=name in refused)
            answer.probability = (mask if mask.any() else target).astype(np.float32)
            self.answers[PIXELS[name].tobytes()] = answer

    def predict(self, image):
        return self.answers[image.tobytes()]
