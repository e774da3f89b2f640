import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from busi_unet.imaging.regions import trace_contours


def filled(contours: list[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    # Four times as large, less half a point: Pillow paints the pixels on a line as well.
    canvas = Image.new("1", (4 * shape[1], 4 * shape[0]))
    for contour in contours:
        ImageDraw.Draw(canvas).polygon([tuple(point) for point in (4 * contour - 0.5).tolist()], fill=1)
    return np.asarray(canvas)[2::4, 2::4]


def test_every_corner_gives_the_mask_back():
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = rng.random((13, 17)) > 0.6
        contours = trace_contours(mask, tolerance=0)
        np.testing.assert_array_equal(filled(contours, mask.shape), ndimage.binary_fill_holes(mask))


def test_regions_that_meet_at_a_corner_are_one_and_an_empty_mask_has_none():
    mask = np.zeros((6, 6), bool)
    assert trace_contours(mask) == []
    mask[1:3, 1:3] = mask[3:5, 3:5] = True

    assert len(trace_contours(mask)) == 1
