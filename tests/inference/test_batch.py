import json
from dataclasses import replace

import numpy as np
import pytest
from fakes.dicom_files import dicom, region
from PIL import Image, ImageDraw

from busi_unet.data.phantom import make_phantom
from busi_unet.errors import UsageError
from busi_unet.imaging.measure import measure_lesions
from busi_unet.imaging.overlay import draw_overlay
from busi_unet.inference.batch import predict_files
from busi_unet.inference.predictor import Predictor
from busi_unet.inference.run import JSON_LINES_NAME
from busi_unet.inference.summary import summary_line, table_row, write_summary
from busi_unet.io.decode import decode_image
from busi_unet.io.find_images import ImageFile, find_images


class TestPredictFiles:
    @pytest.fixture
    def predictor(self, tiny_model) -> Predictor:
        return Predictor.from_pretrained(tiny_model, device="cpu")

    @pytest.fixture
    def files(self, tmp_path) -> list[ImageFile]:
        image = Image.fromarray(make_phantom("benign", seed=0, size=(64, 90)).image)
        for name in "ac":
            image.save(tmp_path / f"{name}.png")
        return [ImageFile(tmp_path / f"{name}.png", f"{name}.png", name) for name in "ac"]

    def test_each_image_gets_a_mask_an_overlay_and_a_line(self, predictor, files, tmp_path):
        run = predict_files(predictor, files, tmp_path / "out")
        found = next(run)
        mask = np.asarray(Image.open(tmp_path / "out" / found["mask"]))
        np.testing.assert_array_equal(mask > 0, predictor.predict(files[0].path).mask)
        assert Image.open(tmp_path / "out" / found["overlay"]).size == (2 * 90 + 8, 64)
        # Already there while the run goes on, so that a stopped one keeps it.
        (line,) = (tmp_path / "out" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
        assert json.loads(line) == json.loads(json.dumps(found))
        assert (found["image"], found["mask"]) == ("a.png", "a_mask.png")
        run.close()

    def test_a_refused_image_has_no_mask_and_none_of_an_earlier_run(self, predictor, tmp_path):
        Image.new("L", (64, 64), 90).save(tmp_path / "blank.png")
        files, out = [ImageFile(tmp_path / "blank.png", "blank.png", "blank")], tmp_path / "out"
        (anyway,) = predict_files(predictor, files, out, anyway=True)
        assert (out / anyway["mask"]).exists()
        (record,) = predict_files(predictor, files, out)
        assert record["refused"] and record["mask"] is None and record["warnings"] == []
        assert not (out / "blank_mask.png").exists() and (out / record["overlay"]).exists()

    def test_it_says_where_text_may_identify_the_patient(self, predictor, tmp_path):
        image = Image.new("L", (200, 150), 0)
        ImageDraw.Draw(image).text((5, 130), "DOE, JANE", fill=200)
        image.save(tmp_path / "name.png")
        (record,) = predict_files(
            predictor, [ImageFile(tmp_path / "name.png", "name.png", "name")], tmp_path / "out"
        )
        ((left, top, right, bottom),) = record["text_boxes"]
        assert left <= 5 and top <= 133 and right >= 55 and bottom >= 140
        assert "bottom left" in summary_line(record)

    def test_which_frame_of_a_clip_it_is_stands_in_every_output(self, predictor, files, tmp_path):
        clip = np.stack([make_phantom("benign", seed=0, size=(64, 90)).image] * 3)
        (tmp_path / "clip.dcm").write_bytes(dicom(clip, frames=3))
        (record,) = predict_files(
            predictor, [ImageFile(tmp_path / "clip.dcm", "clip.dcm", "clip")], tmp_path / "out"
        )
        write_summary([record], tmp_path / "out", model="tiny", date="2026-01-01")
        written = [(tmp_path / "out" / name) for name in (JSON_LINES_NAME, "predictions.csv", "report.html")]
        for text in (summary_line(record), *(path.read_text(encoding="utf-8") for path in written)):
            assert "frame 1 of 3" in text

    def test_several_lesions_are_numbered(self, predictor, files, tmp_path, monkeypatch):
        mask = np.zeros((64, 90), dtype=bool)
        mask[5:25, 5:35] = mask[40:60, 50:85] = True
        found = replace(predictor.predict(files[0].path), mask=mask, measurements=measure_lesions(mask))
        monkeypatch.setattr(Predictor, "interpret", lambda *args, **kwargs: found)
        list(predict_files(predictor, files[:1], tmp_path / "out"))
        drawn = np.asarray(Image.open(tmp_path / "out" / "a_overlay.jpg"))[:, -90:].astype(int)
        numbers = abs(drawn - draw_overlay(decode_image(files[0].path), mask)).max(axis=2) > 100
        assert numbers[5:25, 5:35].any() and numbers[40:60, 50:85].any()

    def test_one_bad_file_never_stops_the_rest(self, predictor, files, tmp_path):
        (tmp_path / "b.png").write_text("not an image")
        bad = ImageFile(tmp_path / "b.png", "b.png", "b")
        known = ImageFile(tmp_path / "z.zip", "z.zip", "z", "z.zip is not a zip.")
        found = list(predict_files(predictor, [files[0], bad, files[1], known], tmp_path / "out"))
        assert [bool(record["error"]) for record in found] == [False, True, False, True]
        assert "b.png is not an image" in found[1]["error"]
        assert found[3]["error"] == "z.zip is not a zip."
        assert {tuple(record) for record in found} == {tuple(found[0])}
        assert len((tmp_path / "out" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()) == 4
        assert (tmp_path / "out" / "c_mask.png").exists()

    def test_a_file_that_no_earlier_run_wrote_is_never_replaced(self, predictor, files, tmp_path):
        out = tmp_path / "out"
        for _ in range(2):
            list(predict_files(predictor, files, out))
        (out / "c_mask.png").write_bytes(b"corrected by hand")
        before = {path.name: path.read_bytes() for path in out.iterdir()}
        with pytest.raises(UsageError, match=r"\(c_mask\.png\)"):
            next(predict_files(predictor, files, out))
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
        list(predict_files(predictor, files[:1], out))
        (out / "written.sha256").unlink()
        with pytest.raises(UsageError, match=r"a_mask\.png"):
            next(predict_files(predictor, files[:1], out))

    def test_formats_are_written_beside_each_other_and_a_stopped_run_keeps_what_is_done(
        self, predictor, files, tmp_path
    ):
        (tmp_path / "a.png").replace(tmp_path / "gone.png")
        run = predict_files(predictor, files, tmp_path / "out", formats=("coco", "yolo", "dicom", "csv"))
        failed, found = next(run), next(run)
        run.close()
        assert failed["error"] and failed["files"] is None
        assert (found["mask"], found["files"]) == (None, ["c.txt"])
        assert "PNG or COCO" in found["not_written"][0]
        assert found["not_written"][0] in table_row(found)["remarks"]
        coco = json.loads((tmp_path / "out" / "coco.json").read_text(encoding="utf-8"))
        assert [image["file_name"] for image in coco["images"]] == ["c.png"]
        assert len(coco["annotations"]) == len(found["measurements"])
        assert (tmp_path / "out" / "measurements.csv").read_bytes().startswith(b"\xef\xbb\xbfimage,")
        # A later run replaces them all.
        list(predict_files(predictor, files[1:], tmp_path / "out", formats=("coco", "yolo", "csv")))
        with pytest.raises(UsageError, match="no format 'gif'"):
            next(predict_files(predictor, files, tmp_path / "out", formats=("gif",)))

    def test_a_dicom_file_is_measured_in_millimetres(self, predictor, tmp_path):
        path = tmp_path / "IM1"
        pixels = make_phantom("malignant", seed=0, size=(64, 90)).image
        path.write_bytes(dicom(pixels, SequenceOfUltrasoundRegions=[region((0, 0, 89, 63))]))
        (found,) = predict_files(predictor, find_images([path], tmp_path), tmp_path / "out")
        assert {lesion["unit"] for lesion in found["measurements"]} == {"mm"}
