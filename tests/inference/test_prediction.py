import json

import numpy as np
from fakes.predictions import make_prediction
from PIL import Image


def test_an_overlay_outlines_the_lesion():
    prediction = make_prediction()
    drawn = np.asarray(prediction.overlay())
    assert drawn.shape == (60, 100, 3)
    changed = (drawn != 100).any(axis=2)
    assert changed[prediction.mask].all() and not changed[~prediction.mask].any()
    assert prediction.overlay(beside=True).size == (2 * 100 + 8, 60)


def test_saved_files_hold_what_the_prediction_does(tmp_path):
    prediction = make_prediction(flagged=True)
    folder = prediction.save(tmp_path / "new" / "folder")
    assert sorted(path.name for path in folder.iterdir()) == ["mask.png", "overlay.png", "prediction.json"]
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "mask.png")), prediction.mask * 255)
    saved = json.loads((folder / "prediction.json").read_text(encoding="utf-8"))
    assert saved == json.loads(json.dumps(prediction.to_dict()))
