import numpy as np
import pytest

from busi_unet.config import Preprocess, Thresholds
from busi_unet.inference.preprocess import Preprocessor, mask_from_probability, resize_map


@pytest.fixture
def preprocessor() -> Preprocessor:
    return Preprocessor(Preprocess(size=64))


def test_the_aspect_ratio_is_kept_and_the_rest_is_black(preprocessor):
    wide = preprocessor.resize_image(np.full((50, 200), 200, dtype=np.uint8))
    assert (wide[24:40] == 200).all()
    assert not wide[:24].any()
    assert not wide[40:].any()


@pytest.mark.parametrize("shape", [(64, 64), (50, 200), (333, 101)])
def test_a_region_comes_back_where_it_was(preprocessor, shape):
    height, width = shape
    mask = np.zeros(shape, dtype=bool)
    mask[height // 4 : height // 2, width // 2 : 3 * width // 4] = True
    restored = preprocessor.restore(preprocessor.resize_mask(mask).astype(np.float32), shape) >= 0.5
    assert restored.shape == shape
    assert (restored & mask).sum() / (restored | mask).sum() > 0.85


def test_image_and_mask_share_their_geometry(preprocessor):
    mask = np.zeros((90, 150), dtype=bool)
    mask[20:60, 70:130] = True
    image = preprocessor.resize_image(mask.astype(np.uint8) * 255)
    assert ((image >= 128) != preprocessor.resize_mask(mask)).mean() < 0.01


def probability() -> np.ndarray:
    """A lesion of 100 pixels with a hole, and a speck of 4, in an image of 1,200."""
    map_ = np.zeros((30, 40), dtype=np.float32)
    map_[5:15, 5:15] = 0.9
    map_[9:11, 9:11] = 0.1
    map_[25:27, 30:32] = 0.9
    return map_


def test_threshold_holes_and_specks():
    mask = mask_from_probability(probability(), 1.0, Thresholds(mask=0.5, lesion=0.5, min_area=0.01))
    expected = np.zeros((30, 40), dtype=bool)
    expected[5:15, 5:15] = True
    np.testing.assert_array_equal(mask, expected)


def test_no_mask_where_no_lesion_is_believed():
    thresholds = Thresholds(lesion=0.6)
    assert not mask_from_probability(probability(), 0.59, thresholds).any()
    assert mask_from_probability(probability(), 0.6, thresholds).any()


@pytest.mark.parametrize("shape", [(90, 131), (7, 11)])
def test_a_map_resized_where_lesions_are_gives_the_mask_of_the_whole(shape):
    thresholds = Thresholds(mask=0.5, min_area=0.002)
    whole = mask_from_probability(resize_map(probability(), shape), 1.0, thresholds)
    assert whole.any()
    np.testing.assert_array_equal(mask_from_probability(probability(), 1.0, thresholds, shape), whole)
