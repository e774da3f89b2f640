import json

import numpy as np
import pytest

from busi_unet.imaging.measure import measure_lesions


def test_two_lesions_largest_first():
    mask = np.zeros((50, 80), dtype=bool)
    mask[2:6, 3:6] = True
    mask[10:30, 20:60] = True
    large, small = measure_lesions(mask)
    assert (large.area_px, large.box, large.width_px, large.height_px) == (800, (20, 10, 60, 30), 40, 20)
    assert large.area_share == pytest.approx(0.2)
    assert large.longest_diameter_px == pytest.approx(np.hypot(40, 20), abs=0.05)
    assert not large.taller_than_wide
    assert (small.area_px, small.taller_than_wide) == (12, True)


def test_diagonal_neighbours_are_one_lesion():
    assert len(measure_lesions(np.eye(5, dtype=bool))) == 1


def test_one_pixel_and_no_pixel():
    mask = np.zeros((9, 9), dtype=bool)
    assert measure_lesions(mask) == ()
    mask[4, 4] = True
    (lesion,) = measure_lesions(mask)
    assert (lesion.area_px, lesion.longest_diameter_px) == (1, 1.4)


def test_records_are_json():
    mask = np.ones((4, 6), dtype=bool)
    (lesion,) = measure_lesions(mask)
    assert json.loads(json.dumps(lesion.to_dict()))["box"] == [0, 0, 6, 4]
