"""Metrics against hand-computed cases, brute force and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from busi_unet.errors import UsageError
from busi_unet.evaluation import metrics
from busi_unet.evaluation.metrics import bootstrap_interval, hd95, segmentation_scores


def rectangle(shape, top, left, bottom, right):
    mask = np.zeros(shape, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def ones(count):
    return np.ones(count, dtype=int)


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


class TestStatistics:
    """Weights must do exactly what repeating the images does."""

    rng = np.random.default_rng(3)
    count = 40
    truth = rng.integers(0, 3, count)
    predicted = np.where(rng.random(count) < 0.6, truth, rng.integers(0, 3, count))
    # Rounded, so that many scores tie.
    probabilities = np.round(rng.dirichlet((1, 1, 1), count), 1)
    weights = rng.integers(0, 4, (6, count))

    def repeated(self, values):
        return [np.repeat(values, weights, axis=0) for weights in self.weights]

    def test_mean_and_median(self):
        values = np.where(self.truth == 0, np.nan, self.probabilities[:, 1])
        expected = self.repeated(values)
        np.testing.assert_allclose(
            metrics.mean(values, self.weights), [np.nanmean(each) for each in expected]
        )
        np.testing.assert_allclose(
            metrics.median(values, self.weights), [np.nanmedian(each) for each in expected]
        )

    def test_accuracy_and_macro_f1_agree_with_scikit_learn(self):
        confusion = metrics.confusion_matrix(self.truth, self.predicted, 3, self.weights)
        pairs = list(zip(self.repeated(self.truth), self.repeated(self.predicted), strict=True))
        np.testing.assert_allclose(metrics.accuracy(confusion), [accuracy_score(*pair) for pair in pairs])
        np.testing.assert_allclose(
            metrics.macro_f1(confusion), [f1_score(*pair, average="macro") for pair in pairs]
        )

    def test_auc_agrees_with_scikit_learn_with_ties(self):
        positive, scores = self.truth == 2, self.probabilities[:, 2]
        assert len(np.unique(scores)) < self.count / 2
        pairs = zip(self.repeated(positive), self.repeated(scores), strict=True)
        np.testing.assert_allclose(
            metrics.auc(scores, positive, self.weights), [roc_auc_score(*pair) for pair in pairs]
        )

    def test_confusion_matrix_has_truth_in_rows(self):
        confusion = metrics.confusion_matrix(np.array([0, 0, 1, 2]), np.array([0, 2, 1, 1]), 3)
        assert confusion.tolist() == [[1, 0, 1], [0, 1, 0], [0, 1, 0]]
        # F1: class 0 2/3, class 1 2/3, class 2 is never found.
        assert metrics.macro_f1(confusion) == pytest.approx(4 / 9)

    def test_undefined_where_a_class_is_absent(self):
        truth = np.array([0, 1, 1])
        assert np.isnan(metrics.macro_f1(metrics.confusion_matrix(truth, truth, 3)))
        scores = np.array([0.2, 0.4, 0.6])
        assert np.isnan(metrics.auc(scores, np.array([True] * 3), ones(3)))
        assert np.isnan(metrics.auc(scores[:0], np.zeros(0, dtype=bool), ones(0)))
        # Both classes exist, but a resample may hold only one of them.
        resamples = np.array([[1, 1, 1], [0, 2, 1]])
        np.testing.assert_array_equal(
            np.isnan(metrics.auc(scores, np.array([True, False, False]), resamples)), [False, True]
        )
        assert np.isnan(metrics.mean(np.array([np.nan, np.nan]), ones(2)))
        assert np.isnan(metrics.median(np.array([np.nan, np.nan]), ones(2)))
        assert np.isnan(metrics.median(np.array([np.nan, 1.0]), np.array([[3, 0]]))).all()

    def test_malignancy_score_leaves_the_normal_class_out(self):
        probabilities = np.array([[0.8, 0.05, 0.15], [0.0, 0.5, 0.5], [1.0, 0.0, 0.0]])
        np.testing.assert_allclose(metrics.malignancy_score(probabilities), [0.75, 0.5, 0.5])

    def test_calibration_error_by_hand(self):
        # Bin of 0.9: two right, two wrong, gap 0.4. Bin of 0.5: right, gap 0.5.
        probabilities = np.array(
            [[0.9, 0.1, 0], [0.9, 0.1, 0], [0.9, 0.1, 0], [0.9, 0.1, 0], [0.25, 0.5, 0.25]]
        )
        truth = np.array([0, 0, 1, 2, 1])
        expected = (4 * 0.4 + 1 * 0.5) / 5
        assert metrics.expected_calibration_error(probabilities, truth, ones(5)) == pytest.approx(expected)
        weights = np.array([[1, 1, 1, 1, 1], [2, 0, 0, 0, 2]])
        np.testing.assert_allclose(
            metrics.expected_calibration_error(probabilities, truth, weights), [expected, (0.1 + 0.5) / 2]
        )

    def test_certain_and_right_is_perfectly_calibrated(self):
        assert metrics.expected_calibration_error(np.eye(3), np.arange(3), ones(3)) == 0


class TestBootstrapInterval:
    @staticmethod
    def mean_of(values):
        return lambda weights: metrics.mean(np.asarray(values, dtype=float), weights)

    def test_agrees_with_the_normal_approximation(self):
        values = np.random.default_rng(0).normal(5, 2, 400)
        interval = bootstrap_interval(self.mean_of(values), range(400))
        error = values.std() / 20
        assert interval.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
        assert interval.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)
        assert interval.undefined_resamples == 0

    def test_covers_the_truth_about_as_often_as_it_says(self):
        rng = np.random.default_rng(1)
        covered = 0
        for seed in range(200):
            centres = rng.normal(0, 1, 30)
            interval = bootstrap_interval(
                self.mean_of(np.repeat(centres, 4)),
                np.repeat(np.arange(30), 4).tolist(),
                resamples=400,
                seed=seed,
            )
            covered += interval.low <= 0 <= interval.high
        assert 0.88 <= covered / 200 <= 0.98

    def test_copies_do_not_narrow_the_interval(self):
        values = np.repeat(np.random.default_rng(2).normal(size=20), 10)
        groups = np.repeat(np.arange(20), 10).tolist()
        by_group = bootstrap_interval(self.mean_of(values), groups)
        by_image = bootstrap_interval(self.mean_of(values), range(200))
        ratio = (by_group.high - by_group.low) / (by_image.high - by_image.low)
        assert ratio == pytest.approx(math.sqrt(10), rel=0.1)

    def test_same_seed_same_interval(self):
        values = np.random.default_rng(4).random(50)
        first, again, other = (
            bootstrap_interval(self.mean_of(values), range(50), seed=seed) for seed in (0, 0, 1)
        )
        assert first == again
        assert first != other

    def test_group_names_and_their_order_of_spelling_do_not_matter(self):
        values = np.random.default_rng(5).random(6)
        named = bootstrap_interval(self.mean_of(values), ["z", "z", "a", "m", "m", "b"])
        assert named == bootstrap_interval(self.mean_of(values), [0, 0, 1, 2, 2, 3])

    def test_undefined_resamples_are_left_out_and_counted(self):
        # A resample of 3 groups misses the first two, and so both values, in (1/3)^3 of the draws.
        interval = bootstrap_interval(self.mean_of([1.0, 2.0, np.nan]), "abc", resamples=5000)
        assert interval.undefined_resamples / 5000 == pytest.approx(1 / 27, abs=0.01)
        assert (interval.low, interval.high) == (1, 2)

    @pytest.mark.parametrize(
        ("values", "groups"),
        [([1.0, 0.0], "aa"), ([np.nan, np.nan], "ab"), ([0.0] * 20, "abcdefghijklmnopqrst")],
        ids=["one group", "never defined", "alike in every resample"],
    )
    def test_no_interval_rather_than_a_false_one(self, values, groups):
        assert bootstrap_interval(self.mean_of(values), groups) is None

    @pytest.mark.parametrize("wrong", [{"resamples": 0}, {"level": 1.0}, {"level": 95}])
    def test_impossible_settings_are_refused(self, wrong):
        with pytest.raises(UsageError, match="bootstrap"):
            bootstrap_interval(self.mean_of([1.0, 2.0]), "ab", **wrong)
