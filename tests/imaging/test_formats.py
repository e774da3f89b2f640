import csv
import gzip
import io
import json

import nibabel
import numpy as np
import pytest
from fakes.predictions import make_prediction
from imaging.test_regions import filled
from PIL import Image

from busi_unet.data.readers.coco import _decode_runs
from busi_unet.imaging.formats import FORMATS, Result, files_of
from busi_unet.io.decode import DecodedImage

SHAPE = (40, 60)


def result(
    *boxes: tuple[int, int, int, int], hole: bool = False, spacing_mm=None, image=None, source=None, **told
) -> Result:
    """A result with a lesion per box of (left, top, right, bottom); the prediction has what is told."""
    mask = np.zeros(SHAPE, dtype=bool)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = True
    if hole:
        mask[top + 2 : top + 4, left + 2 : left + 5] = False
    prediction = make_prediction(mask, spacing_mm=spacing_mm, **told)
    image = image or DecodedImage(np.zeros(SHAPE, np.uint8), spacing_mm)
    return Result("case12", "study/case12.png", prediction, image, source, "embedded")


LESIONS = ((5, 4, 25, 20), (30, 22, 50, 38))


def test_png_is_0_and_255():
    each = result(*LESIONS)
    (content,) = files_of(each, "png").values()
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), each.prediction.mask * 255)


@pytest.mark.parametrize("hole", [False, True])
def test_coco_holds_each_lesion_as_it_is(hole):
    each = result(LESIONS[0], hole=hole)
    content = json.loads(files_of(each, "coco")["case12_coco.json"])
    (image,), (annotation,) = content["images"], content["annotations"]
    assert (image["file_name"], image["width"], image["height"]) == ("study/case12.png", 60, 40)
    names = {category["id"]: category["name"] for category in content["categories"]}
    assert names[annotation["category_id"]] == "benign" and annotation["image_id"] == image["id"]
    assert annotation["bbox"] == [5, 4, 20, 16]
    assert annotation["area"] == each.prediction.mask.sum()
    outline = annotation["segmentation"]
    if hole:
        mask = _decode_runs(outline["counts"], SHAPE)
    else:
        mask = filled([np.reshape(polygon, (-1, 2)) for polygon in outline], SHAPE)
    np.testing.assert_array_equal(mask, each.prediction.mask)


def test_coco_of_a_run_numbers_images_and_annotations_through():
    entries = [FORMATS["coco"].write(each) for each in (result(*LESIONS), result(), result(LESIONS[0]))]
    content = json.loads(b"".join(FORMATS["coco"].join(entries)))
    assert [image["id"] for image in content["images"]] == [1, 2, 3]
    assert [(each["id"], each["image_id"]) for each in content["annotations"]] == [(1, 1), (2, 1), (3, 3)]


def test_yolo_has_a_line_of_shares_per_lesion_and_an_empty_file_without():
    each = result(*LESIONS)
    lines = files_of(each, "yolo")["case12.txt"].decode().splitlines()
    numbers = [[float(number) for number in line.split()] for line in lines]
    assert [row[0] for row in numbers] == [1, 1]
    polygons = [np.reshape(row[1:], (-1, 2)) * SHAPE[::-1] for row in numbers]
    np.testing.assert_array_equal(filled(polygons, SHAPE), each.prediction.mask)
    assert files_of(result(), "yolo") == {"case12.txt": b""}


def test_an_outline_in_an_image_called_normal_has_the_likelier_class_of_a_lesion():
    each = result(LESIONS[0], label="normal", probabilities={"normal": 0.6, "benign": 0.1, "malignant": 0.3})
    files = {**files_of(each, "yolo"), **files_of(each, "coco")}
    assert files["case12.txt"].startswith(b"2 ")
    content = json.loads(files["case12_coco.json"])
    names = {category["id"]: category["name"] for category in content["categories"]}
    assert [names[annotation["category_id"]] for annotation in content["annotations"]] == ["malignant"]


def test_nifti_lies_as_the_image_does_and_is_in_millimetres_where_known():
    each = result(LESIONS[0], spacing_mm=(0.1, 0.2))
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(files_of(each, "nifti")["case12_mask.nii.gz"]))
    np.testing.assert_array_equal(np.asarray(image.dataobj)[:, :, 0].T, each.prediction.mask)
    np.testing.assert_allclose(image.header.get_zooms()[:2], (0.2, 0.1))
    assert image.header.get_xyzt_units()[0] == "mm"


def test_measurements_are_a_row_per_lesion_that_excel_reads():
    content = files_of(result(*LESIONS, spacing_mm=(0.1, 0.1)), "csv")["case12_measurements.csv"]
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert [(row["lesion"], row["area_px"], row["area_mm2"], row["left"]) for row in rows] == [
        ("1", "320", "3.2", "5"),
        ("2", "320", "3.2", "30"),
    ]
