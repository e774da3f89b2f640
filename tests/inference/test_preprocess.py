import numpy as np
import pytest

from busi_unet.config import Preprocess, Thresholds
from busi_unet.inference.preprocess import Preprocessor, mask_from_probability


@pytest.fixture
def preprocessor() -> Preprocessor:
    return Preprocessor(Preprocess(size=64))


def test_the_aspect_ratio_is_kept_and_the_rest_is_black(preprocessor):
    wide = preprocessor.resize_image(np.full((50, 200), 200, dtype=np.uint8))
    assert (wide[24:40] == 200).all()
    assert not wide[:24].any()
    assert not wide[40:].any()


def test_a_coarse_map_is_cut_to_the_image(preprocessor):
    coarse = np.zeros((2, 2), dtype=np.float32)
    coarse[:, 1] = 1
    threshold = preprocessor.crop_map(coarse, (50, 200))
    assert threshold.shape == (16, 64)
    assert threshold[:, :8].max() == 0
    assert threshold[:, -8:].min() == 1


def test_an_image_becomes_normalised_input_of_the_networks_size(preprocessor):
    inputs = preprocessor(np.full((64, 64), 127, dtype=np.uint8))
    assert inputs.shape == (1, 64, 64)
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs, 0, atol=1e-6)


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


def test_restored_probabilities_stay_probabilities(preprocessor):
    restored = preprocessor.restore(np.random.default_rng(0).random((64, 64), dtype=np.float32), (70, 33))
    assert restored.dtype == np.float32
    assert restored.min() >= 0
    assert restored.max() <= 1


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


def test_specks_stay_without_a_smallest_area():
    assert mask_from_probability(probability(), 1.0, Thresholds()).sum() == 104


def test_no_mask_where_no_lesion_is_believed():
    thresholds = Thresholds(lesion=0.6)
    assert not mask_from_probability(probability(), 0.59, thresholds).any()
    assert mask_from_probability(probability(), 0.6, thresholds).any()


def test_the_threshold_itself_belongs_to_the_mask():
    assert mask_from_probability(np.full((20, 20), 0.5), 1.0, Thresholds(mask=0.5)).all()
