import json

import numpy as np
import pytest
from PIL import Image

from busi_unet.data.phantom import make_phantom
from busi_unet.errors import UnreadableImageError, UsageError
from busi_unet.prediction_files import predict_files
from busi_unet.predictor import Predictor


@pytest.fixture
def predictor(tiny_bundle) -> Predictor:
    return Predictor.from_pretrained(tiny_bundle, device="cpu")


def save_phantom(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(make_phantom("benign", seed=seed, size=(64, 90)).image).save(path)
    return path


def test_each_picture_gets_a_mask_an_overlay_and_a_line(predictor, tmp_path):
    path = save_phantom(tmp_path / "in" / "a.png")
    (result,) = predict_files(predictor, [path], tmp_path / "out", progress=False)
    mask = np.asarray(Image.open(tmp_path / "out" / "a_mask.png"))
    np.testing.assert_array_equal(mask > 0, predictor.predict(path).mask)
    assert Image.open(tmp_path / "out" / "a_overlay.png").size == (2 * 90 + 8, 64)
    (line,) = (tmp_path / "out" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == json.loads(result.json_line())
    assert json.loads(line)["image"] == str(path)
    assert result.record["label"] in result.summary()


def test_one_bad_file_never_stops_the_rest(predictor, tmp_path):
    good = [save_phantom(tmp_path / f"{name}.png") for name in ("a", "c")]
    bad = tmp_path / "b.png"
    bad.write_text("no picture")
    results = []
    with pytest.raises(UnreadableImageError, match="1 of 3"):
        results.extend(predict_files(predictor, [good[0], bad, good[1]], tmp_path / "out", progress=False))
    lines = (tmp_path / "out" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert ["error" in json.loads(line) for line in lines] == [False, True, False]
    assert (tmp_path / "out" / "c_mask.png").exists()


def test_folders_are_searched_and_names_kept_apart(predictor, tmp_path):
    for name in ("x/a.png", "y/a.png", "y/a.bmp", "y/a-2.png", "y/a_mask.png", "y/a_overlay.png"):
        save_phantom(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("left alone")
    list(predict_files(predictor, [tmp_path / "in"], tmp_path / "out", progress=False))
    masks = sorted(path.name for path in (tmp_path / "out").glob("*_mask.png"))
    assert masks == ["x__a_mask.png", "y__a-2_mask.png", "y__a-3_mask.png", "y__a_mask.png"]


def test_an_empty_folder_is_wrong_usage(predictor, tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(UsageError, match="holds no picture"):
        list(predict_files(predictor, [tmp_path / "in"], tmp_path / "out"))
