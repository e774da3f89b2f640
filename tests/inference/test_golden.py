"""The embedded weights answer as they did: `python tests/inference/test_golden.py` writes down new ones."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from busi_unet.data.phantom import make_phantom
from busi_unet.inference.predictor import EMBEDDED, Predictor
from busi_unet.models.folder import weights_hash

GOLDEN = Path(__file__).with_name("golden.json")
LABELS = ("normal", "benign", "malignant")


def answers(predictor: Predictor) -> dict[str, dict[str, list[float]]]:
    found = {}
    for label in LABELS:
        prediction = predictor.predict(make_phantom(label, seed=7, size=(300, 400)).image, anyway=True)
        coarse = Image.fromarray(prediction.probability).resize((8, 6), Image.Resampling.BOX)
        found[label] = {
            "probabilities": [round(value, 5) for value in prediction.probabilities.values()],
            "map": [round(float(value), 5) for value in np.asarray(coarse).ravel()],
        }
    return found


def test_predictions_of_the_embedded_weights_stay():
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert golden["weights"] == weights_hash(EMBEDDED), f"new weights: run python {__file__}"
    found = answers(Predictor.from_pretrained(device="cpu"))
    for label in LABELS:
        for name, values in golden["answers"][label].items():
            assert found[label][name] == pytest.approx(values, abs=1e-3)


if __name__ == "__main__":
    content = {
        "weights": weights_hash(EMBEDDED),
        "answers": answers(Predictor.from_pretrained(device="cpu")),
    }
    GOLDEN.write_text(json.dumps(content) + "\n", encoding="utf-8")
