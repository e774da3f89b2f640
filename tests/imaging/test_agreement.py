"""Scores of one mask against hand-computed cases and brute force; references that a user brings."""

import io
from dataclasses import asdict

import numpy as np
import pytest
from fakes.image_files import encoded
from PIL import Image
from scipy.spatial.distance import cdist

from busi_unet.errors import UnreadableImageError, UsageError
from busi_unet.imaging.agreement import compare_masks, decode_reference, hd95


def box(top, left, bottom, right, shape=(40, 60)):
    mask = np.zeros(shape, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def mask_file(mask, kind="PNG", **options):
    return encoded(Image.fromarray(mask).convert("L"), kind, **options)


EMPTY = np.zeros((40, 60), dtype=bool)


def surface_pixels(mask):
    """Return the places, (N, 2), of the pixels that have a 4-neighbour outside the mask."""
    padded = np.pad(mask, 1)
    rows, columns = slice(1, -1), slice(1, -1)
    inside = padded[:-2, columns] & padded[2:, columns] & padded[rows, :-2] & padded[rows, 2:]
    return np.argwhere(mask & ~inside)


def slow_hd95(first, second):
    distances = cdist(surface_pixels(first), surface_pixels(second))
    return max(np.percentile(distances.min(axis=axis), 95) for axis in (0, 1))


class TestScores:
    def test_values_by_hand_and_millimetres_along_each_axis(self):
        first, right, below = box(10, 10, 20, 30), box(10, 20, 20, 40), box(20, 10, 30, 30)
        agreement = compare_masks(first, right)
        assert asdict(agreement) == {
            **{"dice": 0.5, "iou": pytest.approx(1 / 3), "hd95_px": 10.0, "hd95_mm": None},
            **{"precision": 0.5, "recall": 0.5, "predicted_area_px": 200, "reference_area_px": 200},
            "remark": "",
        }
        assert compare_masks(first, right, spacing_mm=(0.1, 0.3)).hd95_mm == pytest.approx(3.0)
        assert compare_masks(first, below, spacing_mm=(0.1, 0.3)).hd95_mm == pytest.approx(1.0)
        half = compare_masks(box(4, 4, 12, 8), box(4, 4, 12, 12))
        assert (half.dice, half.iou, half.precision, half.recall) == (pytest.approx(2 / 3), 0.5, 1, 0.5)

    def test_disjoint_masks(self):
        # Two single pixels 3 down and 4 right of each other.
        scores = compare_masks(box(5, 5, 6, 6), box(8, 9, 9, 10))
        assert (scores.dice, scores.iou, scores.precision, scores.recall) == (0, 0, 0, 0)
        assert scores.hd95_px == pytest.approx(5)

    def test_a_missed_lesion_scores_zero_and_the_diagonal(self):
        scores = compare_masks(EMPTY, box(10, 10, 20, 20), spacing_mm=(0.1, 0.2))
        assert (scores.dice, scores.iou, scores.recall, scores.precision) == (0, 0, 0, None)
        assert (scores.hd95_px, scores.hd95_mm) == pytest.approx((np.hypot(40, 60), np.hypot(4, 12)))
        assert "diagonal" in scores.remark
        farthest = compare_masks(box(0, 0, 1, 1), box(39, 59, 40, 60))
        assert farthest.hd95_px < scores.hd95_px, "missing must not beat any drawn mask"

    @pytest.mark.parametrize(("prediction", "precision"), [(box(1, 1, 3, 4), 0), (EMPTY, None)])
    def test_an_image_without_a_lesion_has_no_dice_and_no_distance(self, prediction, precision):
        scores = compare_masks(prediction, EMPTY, spacing_mm=(0.1, 0.1))
        assert (scores.dice, scores.iou, scores.hd95_px, scores.hd95_mm, scores.recall) == (None,) * 5
        assert scores.precision == precision
        assert "not defined" in scores.remark

    def test_sizes_must_agree(self):
        with pytest.raises(UsageError, match=r"\(40, 60\).*\(60, 40\).*native size"):
            compare_masks(EMPTY, EMPTY.T)


class TestHd95:
    @pytest.mark.parametrize("seed", range(20))
    def test_equals_brute_force(self, seed):
        rng = np.random.default_rng(seed)
        shape = tuple(rng.integers(3, 24, size=2))
        density = rng.choice([0.03, 0.5, 0.9])  # dust, holes, masks that touch every border
        first, second = rng.random((2, *shape)) < density
        first[0, 0] = second[-1, -1] = True
        assert hd95(first, second) == pytest.approx(slow_hd95(first, second))
        assert hd95(first, second) == hd95(second, first)

    def test_takes_the_worse_direction(self):
        # From the small mask all is near; from the long one, 90 of 100 pixels lie farther and farther off.
        small, long = box(0, 0, 1, 10, (1, 100)), box(0, 0, 1, 100, (1, 100))
        assert hd95(small, long) == pytest.approx(np.percentile([0] * 10 + list(range(1, 91)), 95))

    def test_ignores_a_stray_pixel_that_the_maximum_would_not(self):
        target = box(50, 50, 100, 100, (200, 200))
        prediction = target.copy()
        prediction[199, 199] = True
        assert hd95(prediction, target) == 0


class TestReference:
    def test_the_masks_of_several_lesions_are_united(self):
        parts = box(2, 2, 9, 9), box(20, 20, 30, 50)
        reference = decode_reference([mask_file(parts[0]), io.BytesIO(mask_file(parts[1]))], (40, 60))
        np.testing.assert_array_equal(reference.pixels, parts[0] | parts[1])
        assert reference.remark == ""

    def test_another_size_and_an_image_are_refused_by_number(self):
        with pytest.raises(UnreadableImageError, match="60 × 40 pixels and the image 40 × 60"):
            decode_reference([mask_file(EMPTY)], (60, 40))
        ramp = np.tile(np.linspace(0, 255, 60).astype(np.uint8), (40, 1))
        with pytest.raises(UnreadableImageError, match=r"^Reference mask 2 is not a mask"):
            decode_reference([mask_file(EMPTY), mask_file(ramp)], (40, 60))

    def test_grey_edges_are_remarked_upon(self):
        soft = mask_file(box(10, 20, 20, 40), "JPEG", quality=60)
        assert decode_reference([soft], (40, 60)).remark.startswith("The reference mask has grey")
