import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from busi_unet.data.phantom import make_phantom
from busi_unet.errors import UsageError
from busi_unet.inference.batch import predict_files
from busi_unet.inference.predictor import Predictor
from busi_unet.inference.summary import summary_line, table_row
from busi_unet.io.find_images import ImageFile


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
        assert (found["image"], found["mask"]) == ("a.png", "a_mask.png")
        # A stopped run keeps it.
        run.close()
        (line,) = (tmp_path / "out" / "predictions.jsonl").read_text(encoding="utf-8").splitlines()
        assert json.loads(line) == json.loads(json.dumps(found))

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
