import json

import numpy as np
import pytest
from PIL import Image

from busi_unet.imaging.measure import measure_lesions
from busi_unet.inference.prediction import Prediction


@pytest.fixture
def prediction() -> Prediction:
    mask = np.zeros((60, 100), dtype=bool)
    mask[20:40, 30:70] = True
    return Prediction(
        image=np.full((60, 100), 100, dtype=np.uint8),
        mask=mask,
        coarse_probability=np.where(mask, 0.9, 0.1).astype(np.float32),
        probabilities={"normal": 0.05, "benign": 0.7, "malignant": 0.25},
        label="benign",
        refused=False,
        reasons=(),
        measurements=measure_lesions(mask),
        coarse_activation_map=np.zeros((2, 2), dtype=np.float32),
        flagged=True,
    )


def test_an_overlay_outlines_the_lesion(prediction):
    drawn = np.asarray(prediction.overlay())
    assert drawn.shape == (60, 100, 3)
    changed = (drawn != 100).any(axis=2)
    assert changed[prediction.mask].all() and not changed[~prediction.mask].any()
    assert prediction.overlay(beside=True).size == (2 * 100 + 8, 60)


def test_saved_files_hold_what_the_prediction_does(prediction, tmp_path):
    folder = prediction.save(tmp_path / "new" / "folder")
    assert sorted(path.name for path in folder.iterdir()) == ["mask.png", "overlay.png", "prediction.json"]
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "mask.png")), prediction.mask * 255)
    saved = json.loads((folder / "prediction.json").read_text(encoding="utf-8"))
    assert saved == json.loads(json.dumps(prediction.to_dict()))
