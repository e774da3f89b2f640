import io
import json

import numpy as np
import pytest
from PIL import Image

from busi_unet.errors import UnreadableImageError, UsageError
from busi_unet.imaging.agreement import compare_masks, decode_reference


def box(top, left, bottom, right, shape=(40, 60)):
    mask = np.zeros(shape, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def encoded(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


EMPTY = np.zeros((40, 60), dtype=bool)


def test_figures_by_hand():
    agreement = compare_masks(box(10, 10, 20, 30), box(10, 20, 20, 40))
    assert (agreement.dice, agreement.iou, agreement.hd95_px) == (0.5, pytest.approx(1 / 3), 10.0)
    assert (agreement.predicted_area_px, agreement.reference_area_px, agreement.remark) == (200, 200, "")
    assert agreement.hd95_mm is None
    assert json.loads(json.dumps(agreement.to_dict()))["dice"] == 0.5


def test_millimetres_follow_the_axis():
    across = compare_masks(box(10, 10, 20, 30), box(10, 20, 20, 40), spacing_mm=(0.1, 0.3))
    down = compare_masks(box(10, 10, 20, 30), box(20, 10, 30, 30), spacing_mm=(0.1, 0.3))
    assert across.hd95_mm == pytest.approx(3.0)
    assert down.hd95_mm == pytest.approx(1.0)


def test_missed_lesion():
    agreement = compare_masks(EMPTY, box(10, 20, 20, 40), spacing_mm=(0.1, 0.1))
    assert (agreement.dice, agreement.iou) == (0.0, 0.0)
    assert agreement.hd95_px == pytest.approx(np.hypot(40, 60))
    assert agreement.hd95_mm == pytest.approx(np.hypot(4, 6))
    assert "diagonal" in agreement.remark


@pytest.mark.parametrize("predicted", [EMPTY, box(1, 1, 9, 9)])
def test_an_empty_reference_has_no_dice(predicted):
    agreement = compare_masks(predicted, EMPTY, spacing_mm=(0.1, 0.1))
    assert agreement.dice is agreement.iou is agreement.hd95_px is agreement.hd95_mm is None
    assert "not defined" in agreement.remark


def test_a_reference_is_read_at_the_size_of_the_image():
    reference = decode_reference([encoded(box(10, 20, 20, 40))], (40, 60))
    np.testing.assert_array_equal(reference.mask, box(10, 20, 20, 40))
    assert reference.remark == ""
    with pytest.raises(UnreadableImageError, match="60 × 40 pixels and the image 40 × 60"):
        decode_reference([encoded(EMPTY)], (60, 40))


def test_the_masks_of_several_lesions_are_united():
    parts = box(2, 2, 9, 9), box(20, 20, 30, 50)
    reference = decode_reference([encoded(part) for part in parts], (40, 60))
    np.testing.assert_array_equal(reference.mask, parts[0] | parts[1])
    with pytest.raises(UnreadableImageError, match=r"^Reference mask 2 is 30 × 40 pixels"):
        decode_reference([encoded(parts[0]), encoded(parts[1][:, :30])], (40, 60))


def test_a_reference_may_be_an_open_file():
    stream = io.BytesIO()
    Image.fromarray(box(10, 20, 20, 40)).save(stream, "PNG")
    stream.seek(0)
    assert decode_reference([stream], (40, 60)).mask.sum() == 200


def test_an_image_is_refused_and_grey_edges_are_remarked_upon():
    pixels = np.tile(np.linspace(0, 255, 60).astype(np.uint8), (40, 1))
    with pytest.raises(UnreadableImageError, match=r"^Reference mask 2 is not a mask"):
        decode_reference([encoded(EMPTY), encoded(pixels)], (40, 60))
    soft = Image.fromarray(box(10, 20, 20, 40)).convert("L")
    stream = io.BytesIO()
    soft.save(stream, "JPEG", quality=60)
    assert decode_reference([stream.getvalue()], (40, 60)).remark.startswith("The reference mask has grey")


def test_sizes_must_agree():
    with pytest.raises(UsageError):
        compare_masks(EMPTY, EMPTY.T)
