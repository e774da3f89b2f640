import json
from pathlib import Path

import numpy as np
import pytest

from busi_unet.config import CLASS_NAMES
from busi_unet.errors import DataLayoutError

CATEGORIES = [{"id": 1, "name": "Benign"}, {"id": 2, "name": "malignant"}]
BOX = [15, 10, 29, 10, 29, 19, 15, 19]
# Rows 10 to 29, columns 15 to 34, less rows 12 and 13 of columns 16 to 19, as pycocotools writes it.
RUNS = "Rc0d0d0^O^O>b0B^O>b0B^O>b0B^O>b040000000000000000000000000000^b0"


def annotation(image: int, category: int, segmentation: object) -> dict:
    return {
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "bbox": [15, 10, 15, 10],
    }


def write_coco(
    folder: Path, annotations: list[dict], categories: list[dict] = CATEGORIES, count: int = 6
) -> Path:
    images = [{"id": n, "file_name": f"images/{n}.png", "width": 50, "height": 40} for n in range(count)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def folder(tmp_path, write_image) -> Path:
    base = tmp_path / "export"
    for number in range(6):
        write_image(base / "images" / f"{number}.png")
    return base


def test_polygons_runs_boxes_and_images_without_annotation(folder, prepared_rows):
    rle = {"size": [40, 50], "counts": RUNS}
    plain = {"size": [40, 50], "counts": [0, 40, 1960]}
    annotations = [
        annotation(0, 1, [BOX]),
        annotation(0, 2, [[0, 0, 5, 0, 5, 5]]),
        annotation(1, 1, rle),
        annotation(2, 1, plain),
        annotation(3, 2, []),
    ]
    rows = prepared_rows(write_coco(folder, annotations))
    masks = [rows[str(n)]["mask"] and np.asarray(rows[str(n)]["mask"]) > 0 for n in range(6)]
    assert [CLASS_NAMES[rows[str(n)]["label"]] for n in range(4)] == [
        "malignant",
        "benign",
        "benign",
        "malignant",
    ]
    assert masks[0][10:20, 15:30].all() and masks[0][1, 4] and not masks[0][30, 40]
    expected = np.zeros((40, 50), bool)
    expected[10:30, 15:35] = True
    expected[12:14, 16:20] = False
    assert np.array_equal(masks[1], expected)
    assert masks[2][:, 0].all() and not masks[2][:, 1:].any()
    assert masks[3] is None, "a box outlines nothing"
    assert CLASS_NAMES[rows["4"]["label"]] == "normal" and not masks[4].any()


def test_categories_that_are_not_classes_leave_the_class_unknown(folder, prepared_rows):
    write_coco(folder, [annotation(n, 7, [BOX]) for n in range(3)], [{"id": 7, "name": "lesion"}])
    rows = prepared_rows(folder)
    assert {row["label"] for row in rows.values()} == {-1}
    assert np.asarray(rows["0"]["mask"]).any() and not np.asarray(rows["4"]["mask"]).any()


def test_outlines_of_another_size_and_images_that_are_missing_are_listed(folder, prepared_rows):
    of_nothing = annotation(99, 1, [BOX])
    write_coco(folder, [annotation(0, 1, {"size": [2, 2], "counts": [1, 1, 1]}), of_nothing], count=7)
    with pytest.raises(DataLayoutError) as caught:
        prepared_rows(folder)
    assert any("6.png" in line for line in caught.value.problems)
    assert any("0.png" in line and "outline" in line for line in caught.value.problems)
    assert any("an annotation" in line for line in caught.value.problems)
