"""Scores of one mask against hand-computed cases and brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest

from busi_unet.errors import UsageError
from busi_unet.imaging.scores import hd95, segmentation_scores


def rectangle(shape, top, left, bottom, right):
    mask = np.zeros(shape, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def surface_pixels(mask):
    """Pixels with a 4-neighbour outside the mask, one by one."""
    height, width = mask.shape
    found = []
    for row in range(height):
        for column in range(width):
            neighbours = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
            outside = [not (0 <= y < height and 0 <= x < width) or not mask[y, x] for y, x in neighbours]
            if mask[row, column] and any(outside):
                found.append((row, column))
    return found


def percentile95(values):
    """Linear interpolation between order statistics, written out."""
    values = sorted(values)
    place = 0.95 * (len(values) - 1)
    below = math.floor(place)
    above = min(below + 1, len(values) - 1)
    return values[below] + (place - below) * (values[above] - values[below])


def slow_hd95(first, second):
    surfaces = surface_pixels(first), surface_pixels(second)
    directed = [
        percentile95([min(math.dist(point, other) for other in there) for point in here])
        for here, there in (surfaces, surfaces[::-1])
    ]
    return max(directed)


class TestSegmentationScores:
    def test_perfect_mask(self):
        mask = rectangle((20, 30), 5, 6, 12, 20)
        scores = segmentation_scores(mask, mask)
        assert (scores.dice, scores.iou, scores.hd95_px, scores.precision, scores.recall) == (1, 1, 0, 1, 1)
        assert (scores.true_positives, scores.true_negatives) == (7 * 14, 20 * 30 - 7 * 14)
        assert not scores.false_mask

    def test_half_overlap(self):
        # 8 x 4 against 8 x 8 that contains it.
        scores = segmentation_scores(rectangle((20, 20), 4, 4, 12, 8), rectangle((20, 20), 4, 4, 12, 12))
        assert scores.dice == pytest.approx(2 * 32 / (32 + 64))
        assert scores.iou == pytest.approx(0.5)
        assert (scores.precision, scores.recall) == (1, 0.5)
        counts = scores.true_positives, scores.false_positives, scores.false_negatives, scores.true_negatives
        assert counts == (32, 0, 32, 336)
        assert (scores.target_area_px, scores.predicted_area_px) == (64, 32)

    def test_disjoint_masks(self):
        # Two single pixels 3 down and 4 right of each other.
        scores = segmentation_scores(rectangle((20, 20), 5, 5, 6, 6), rectangle((20, 20), 8, 9, 9, 10))
        assert (scores.dice, scores.iou, scores.precision, scores.recall) == (0, 0, 0, 0)
        assert scores.hd95_px == pytest.approx(5)

    def test_missed_lesion_scores_zero_and_the_diagonal(self):
        target = rectangle((30, 40), 10, 10, 20, 20)
        scores = segmentation_scores(np.zeros_like(target), target)
        assert (scores.dice, scores.iou, scores.recall) == (0, 0, 0)
        assert scores.precision is None
        assert scores.hd95_px == pytest.approx(50)
        farthest = rectangle((30, 40), 0, 0, 1, 1), rectangle((30, 40), 29, 39, 30, 40)
        assert segmentation_scores(*farthest).hd95_px < scores.hd95_px, "missing must not beat any drawn mask"

    def test_false_mask_on_a_normal_image_has_no_dice(self):
        prediction = rectangle((30, 40), 1, 1, 3, 4)
        scores = segmentation_scores(prediction, np.zeros_like(prediction))
        assert (scores.dice, scores.iou, scores.hd95_px, scores.recall) == (None, None, None, None)
        assert scores.precision == 0
        assert scores.false_mask
        assert scores.false_positives == 6

    def test_two_empty_masks_score_nothing(self):
        empty = np.zeros((30, 40), dtype=bool)
        scores = segmentation_scores(empty, empty)
        assert (scores.dice, scores.iou, scores.hd95_px, scores.precision, scores.recall) == (None,) * 5
        assert not scores.false_mask
        assert scores.true_negatives == 1200

    def test_sizes_must_agree(self):
        with pytest.raises(UsageError, match=r"\(30, 40\).*\(40, 30\).*native size"):
            segmentation_scores(np.zeros((30, 40), dtype=bool), np.zeros((40, 30), dtype=bool))

    @pytest.mark.parametrize("wrong", [np.zeros((4, 5)), np.zeros((1, 4, 5), bool), np.zeros((0, 5), bool)])
    def test_probabilities_and_stacks_are_no_masks(self, wrong):
        with pytest.raises(UsageError, match=r"predicted mask is .* boolean mask"):
            segmentation_scores(wrong, np.zeros((4, 5), dtype=bool))


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
        small, long = rectangle((1, 100), 0, 0, 1, 10), rectangle((1, 100), 0, 0, 1, 100)
        assert hd95(small, long) == pytest.approx(np.percentile([0] * 10 + list(range(1, 91)), 95))

    def test_ignores_a_stray_pixel_that_the_maximum_would_not(self):
        target = rectangle((200, 200), 50, 50, 100, 100)
        prediction = target.copy()
        prediction[199, 199] = True
        assert hd95(prediction, target) == 0

    def test_undefined_for_an_empty_mask(self):
        mask = rectangle((9, 9), 2, 2, 4, 4)
        assert hd95(mask, np.zeros_like(mask)) is None
        assert hd95(np.zeros_like(mask), mask) is None
