"""A made-up predictor on a made-up split, small enough for figures worked out by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as PILImage

from busi_unet.config import CLASS_NAMES

FEATURES = Features(
    image=Image(),
    mask=Image(),
    label=ClassLabel(names=list(CLASS_NAMES)),
    image_id=Value("string"),
    group=Value("string"),
    source=Value("string"),
    fold=Value("int8"),
)
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


def make_split(cases=CASES):
    return Dataset.from_dict(
        {
            "image": [PILImage.fromarray(PIXELS[case[0]]) for case in cases],
            "mask": [PILImage.fromarray(case[2].astype(np.uint8) * 255) for case in cases],
            "label": [CLASS_NAMES.index(case[0].split()[0]) for case in cases],
            "image_id": [case[0] for case in cases],
            "group": [case[1] for case in cases],
            "source": ["phantoms"] * len(cases),
            "fold": [0] * len(cases),
        },
        features=FEATURES,
    )


class MadeUpPredictor:
    """Knows each picture by its pixels, so that a mixed-up row shows."""

    def __init__(self, cases=CASES, refused=()):
        self.answers = {
            PIXELS[name].tobytes(): SimpleNamespace(
                mask=mask,
                label=label,
                probabilities=dict(zip(CLASS_NAMES, probabilities, strict=True)),
                refused=name in refused,
                prediction_set=None,
                boundary_band=None,
                flagged=probabilities[2] > 0.1,
            )
            for name, _, _, mask, label, probabilities in cases
        }

    def predict(self, image):
        return self.answers[image.tobytes()]
