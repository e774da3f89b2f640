import numpy as np

from busi_unet.config import Thresholds
from busi_unet.inference.postprocess import mask_from_probability


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
