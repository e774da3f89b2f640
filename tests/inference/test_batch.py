import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from fakes.dicom_files import dicom, region
from PIL import Image

from busi_unet.data.phantom import make_phantom
from busi_unet.imaging.measure import measure_lesions
from busi_unet.imaging.overlay import draw_overlay
from busi_unet.inference.batch import FileResult, predict_files, write_summary
from busi_unet.inference.predictor import Predictor
from busi_unet.io.decode import decode_image
from busi_unet.io.find_images import ImageFile, find_images


@pytest.fixture
def predictor(tiny_model) -> Predictor:
    return Predictor.from_pretrained(tiny_model, device="cpu")


def save_phantom(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(make_phantom("benign", seed=seed, size=(64, 90)).image).save(path)
    return path


def files_of(*paths):
    return [ImageFile(path, str(path), path.stem) for path in paths]


def test_each_image_gets_a_mask_an_overlay_and_a_line(predictor, tmp_path):
    path = save_phantom(tmp_path / "in" / "a.png")
    (result,) = predict_files(predictor, files_of(path), tmp_path / "out")
    mask = np.asarray(Image.open(tmp_path / "out" / "a_mask.png"))
    np.testing.assert_array_equal(mask > 0, predictor.predict(path).mask)
    assert Image.open(tmp_path / "out" / "a_overlay.png").size == (2 * 90 + 8, 64)
    (line,) = (tmp_path / "out" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == json.loads(result.json_line())
    assert json.loads(line)["image"] == str(path)
    assert json.loads(line)["mask"] == str(tmp_path / "out" / "a_mask.png")
    assert result.record["label"] in result.summary()
    for label, told in (("benign", True), ("malignant", False)):
        flagged = FileResult({**result.record, "flagged": True, "label": label})
        assert ("; flagged;" in flagged.summary()) == told


def test_several_lesions_are_numbered(predictor, tmp_path, monkeypatch):
    path = save_phantom(tmp_path / "a.png")
    mask = np.zeros((64, 90), dtype=bool)
    mask[5:25, 5:35] = mask[40:60, 50:85] = True
    found = replace(predictor.predict(path), mask=mask, measurements=measure_lesions(mask))
    monkeypatch.setattr(Predictor, "predict", lambda *args, **kwargs: found)
    list(predict_files(predictor, files_of(path), tmp_path / "out"))
    drawn = np.asarray(Image.open(tmp_path / "out" / "a_overlay.png"))[:, -90:]
    numbers = (drawn != np.asarray(draw_overlay(decode_image(path), mask))).any(axis=2)
    assert numbers[5:25, 5:35].any() and numbers[40:60, 50:85].any()


def test_one_bad_file_never_stops_the_rest(predictor, tmp_path):
    good = [save_phantom(tmp_path / f"{name}.png") for name in ("a", "c")]
    bad = tmp_path / "b.png"
    bad.write_text("not an image")
    known = ImageFile(tmp_path / "z.zip", "z.zip", "z", "z.zip is not a zip.")
    results = list(predict_files(predictor, [*files_of(good[0], bad, good[1]), known], tmp_path / "out"))
    assert [result.failed for result in results] == [False, True, False, True]
    assert "b.png is not an image" in results[1].summary()
    assert results[3].record == {"image": "z.zip", "error": "z.zip is not a zip."}
    assert len((tmp_path / "out" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()) == 4
    assert (tmp_path / "out" / "c_mask.png").exists()


def test_a_stopped_run_has_its_lines_on_disk(predictor, tmp_path):
    paths = [save_phantom(tmp_path / f"{name}.png") for name in "ab"]
    run = predict_files(predictor, files_of(*paths), tmp_path / "out", relative=True)
    first = next(run)
    (line,) = (tmp_path / "out" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == first.record
    assert first.record["overlay"] == "a_overlay.png"
    run.close()


def test_a_dicom_file_is_measured_in_millimetres(predictor, tmp_path):
    path = tmp_path / "IM1"
    pixels = make_phantom("malignant", seed=0, size=(64, 90)).image
    path.write_bytes(dicom(pixels, SequenceOfUltrasoundRegions=[region((0, 0, 89, 63))]))
    (result,) = predict_files(predictor, find_images([path], tmp_path), tmp_path / "out")
    assert all(lesion["unit"] == "mm" for lesion in result.record["measurements"])
    assert result.record["measurements"]


def test_the_summary_names_what_lies_beside_it(predictor, tmp_path):
    bad = tmp_path / "b.png"
    bad.write_text("not an image")
    results = list(
        predict_files(predictor, files_of(save_phantom(tmp_path / "a.png"), bad), tmp_path / "out")
    )
    write_summary(results, tmp_path / "out", model="tiny", date="2020-01-02")
    with (tmp_path / "out" / "predictions.csv").open(encoding="utf-8", newline="") as file:
        good_row, bad_row = csv.DictReader(file)
    assert (tmp_path / "out" / good_row["mask"]).is_file()
    assert "is not an image" in bad_row["remarks"]
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert 'src="a_overlay.png"' in report
    assert "2020-01-02" in report and "tiny" in report
