import csv
import dataclasses
import io

import numpy as np
import pytest
from fakes.dicom_files import dicom
from fakes.image_files import encoded
from PIL import Image

from busi_unet.config import Thresholds
from busi_unet.data.phantom import make_phantom
from busi_unet.errors import UsageError
from busi_unet.inference.batch import predict_files
from busi_unet.inference.clip import FRAME_COLUMNS, Clip, predict_all_frames
from busi_unet.inference.predictor import Predictor
from busi_unet.io import decode
from busi_unet.io.find_images import ImageFile

PIXELS = np.stack([make_phantom("benign", seed=seed, size=(64, 90)).image for seed in range(4)])
IMAGES = [Image.fromarray(pixels) for pixels in PIXELS]


@pytest.fixture
def predictor(tiny_model) -> Predictor:
    return Predictor.from_pretrained(tiny_model, device="cpu")


@pytest.fixture
def file(tmp_path) -> ImageFile:
    (tmp_path / "clip.dcm").write_bytes(dicom(PIXELS, frames=4))
    return ImageFile(tmp_path / "clip.dcm", "clip.dcm", "clip")


def rows(clip: Clip, areas, normal, malignant=0.1) -> Clip:
    """Fill a clip with frames of these areas and normal probabilities; None is not analysed."""
    for number, (area, share) in enumerate(zip(areas, normal, strict=True), start=1):
        row = dict.fromkeys((*FRAME_COLUMNS, "p_normal", "p_malignant"))
        row |= {"frame": number, "frames": len(areas)}
        if area is not None:
            row |= {"label": "benign", "p_normal": share, "p_malignant": malignant, "flagged": False}
            row |= {"lesions": int(area > 0), "lesion_area_px": area}
        clip.rows.append(row)
    return clip


class TestReadFrames:
    @pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "DICOM"])
    @pytest.mark.parametrize("in_memory", [True, False])
    def test_each_frame_is_what_reading_it_alone_gives(self, kind, in_memory, tmp_path):
        options = {"save_all": True, "append_images": IMAGES[1:]}
        content = (
            dicom(PIXELS, frames=4)
            if kind == "DICOM"
            else encoded(IMAGES[0], kind, **options, **({"lossless": True} if kind == "WEBP" else {}))
        )
        (tmp_path / "clip").write_bytes(content)
        frames = list(decode.read_frames(content if in_memory else tmp_path / "clip", name="clip"))
        assert len(frames) == 4
        for index, frame in enumerate(frames):
            alone = decode.read_image(content, index=index, name="clip")
            np.testing.assert_array_equal(frame.pixels, alone.pixels)
            assert dataclasses.replace(frame, pixels=None) == dataclasses.replace(alone, pixels=None)

    def test_an_absurd_number_of_frames_is_refused(self, monkeypatch):
        monkeypatch.setattr(decode, "MAX_FRAMES", 3)
        with pytest.raises(UsageError, match=r"has 4 frames; one run takes at most 3"):
            next(decode.read_frames(dicom(PIXELS, frames=4), name="long.dcm"))


class TestPredictClip:
    def test_a_frame_that_cannot_be_read_is_refused_and_stops_no_other(self, predictor):
        content = encoded(IMAGES[0], "TIFF", save_all=True, append_images=IMAGES[1:], compression="tiff_lzw")
        broken = bytearray(content)
        with Image.open(io.BytesIO(content)) as image:
            image.seek(2)
            start = image.tag_v2[273][0]
        broken[start : start + 600] = b"\xff" * 600
        found = list(predictor.predict_clip(bytes(broken), name="a.tif"))
        assert [prediction.refused for prediction in found] == [False, False, True, False]
        assert [(prediction.frame, prediction.frames) for prediction in found] == [
            (number, 4) for number in range(1, 5)
        ]
        assert "Frame 3 of 4 of a.tif" in found[2].reasons[0]


class TestKeyFrame:
    @pytest.mark.parametrize(
        ("areas", "normal", "key"),
        [
            ((10, 95, 100, 96, 20), (0.1, 0.4, 0.3, 0.2, 0.1), 4),
            ((10, 10, 500, 12, 10), (0.9, 0.4, 0.01, 0.3, 0.5), 4),
            ((0, 0, 0), (0.9, 0.7, 0.8), 2),
            ((None, 50, None), (None, 0.2, None), 2),
            ((None, None), (None, None), None),
        ],
        ids=["large and sure", "a single false outline", "no outline", "one analysed", "none analysed"],
    )
    def test_it_is_the_surest_of_those_that_stay_large(self, areas, normal, key):
        clip = rows(Clip(), areas, normal)
        assert clip.key_frame == clip.to_dict()["key_frame"] == key


def test_a_clip_gets_a_row_per_frame_its_key_frame_and_an_overlay_clip(predictor, file, tmp_path):
    predictor.config = dataclasses.replace(predictor.config, thresholds=Thresholds(0.0, 0.0, 0.0))
    out = tmp_path / "out"
    (record,) = predict_files(predictor, [file], out, clips=predict_all_frames)
    with (out / record["clip"]["table"]).open(encoding="utf-8-sig", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert tuple(table[0]) == FRAME_COLUMNS
    assert [(row["frame"], row["frames"]) for row in table] == [(str(number), "4") for number in range(1, 5)]
    (key,) = (row for row in table if row["key_frame"] == "True")
    assert int(key["frame"]) == record["frame"] == record["clip"]["key_frame"]
    mask = np.asarray(Image.open(out / record["mask"])) > 0
    np.testing.assert_array_equal(
        mask, predictor.predict(decode.read_image(file.path, index=record["frame"] - 1)).mask
    )
    with Image.open(out / record["clip"]["overlay"]) as overlays:
        assert (overlays.format, overlays.n_frames) == ("WEBP", 4)
        overlays.load()
        assert overlays.info["duration"] == 100
    list(predict_files(predictor, [file], out, clips=predict_all_frames))
