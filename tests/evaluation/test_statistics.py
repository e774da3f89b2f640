"""Statistics and intervals against hand-computed cases, brute force and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from busi_unet.evaluation import statistics
from busi_unet.evaluation.metrics import measure_over
from busi_unet.evaluation.statistics import Bootstrap


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
        values = self.probabilities[:, 1]
        for statistic, expected in ((statistics.mean, np.mean), (statistics.median, np.median)):
            np.testing.assert_allclose(
                statistic(values, self.weights), [expected(each) for each in self.repeated(values)]
            )

    def test_macro_f1_agrees_with_scikit_learn(self):
        pairs = zip(self.repeated(self.truth), self.repeated(self.predicted), strict=True)
        np.testing.assert_allclose(
            statistics.macro_f1(self.truth, self.predicted, self.weights),
            [f1_score(*pair, average="macro") for pair in pairs],
        )

    def test_an_image_without_a_predicted_class_is_a_miss_of_its_own(self):
        truth, predicted = np.array([0, 0, 1, 2]), np.array([0, -1, 1, 2])
        assert statistics.macro_f1(truth, predicted, np.ones(4)) == pytest.approx((2 / 3 + 1 + 1) / 3)

    def test_auc_agrees_with_scikit_learn_with_ties(self):
        positive, scores = self.truth == 2, self.probabilities[:, 2]
        assert len(np.unique(scores)) < self.count / 2
        pairs = zip(self.repeated(positive), self.repeated(scores), strict=True)
        np.testing.assert_allclose(
            statistics.auc(scores, positive, self.weights), [roc_auc_score(*pair) for pair in pairs]
        )

    def test_undefined_where_a_class_is_absent(self):
        truth = np.array([0, 1, 1])
        assert np.isnan(statistics.macro_f1(truth, truth, np.ones(3)))
        scores = np.array([0.2, 0.4, 0.6])
        assert np.isnan(statistics.auc(scores, np.array([True] * 3), np.ones(3)))
        assert np.isnan(statistics.auc(scores[:0], np.zeros(0, dtype=bool), np.ones(0)))
        # Both classes exist, but a resample may hold only one of them.
        resamples = np.array([[1, 1, 1], [0, 2, 1]])
        np.testing.assert_array_equal(
            np.isnan(statistics.auc(scores, np.array([True, False, False]), resamples)), [False, True]
        )
        assert np.isnan(statistics.mean(scores, np.zeros(3)))
        assert np.isnan(statistics.median(scores[:0], np.ones(0)))
        assert np.isnan(statistics.median(scores, np.zeros((1, 3)))).all()

    def test_calibration_error_by_hand(self):
        # Bin of 0.9: two right, two wrong, gap 0.4. Bin of 0.5: right, gap 0.5.
        probabilities = np.array(
            [[0.9, 0.1, 0], [0.9, 0.1, 0], [0.9, 0.1, 0], [0.9, 0.1, 0], [0.25, 0.5, 0.25]]
        )
        truth = np.array([0, 0, 1, 2, 1])
        expected = (4 * 0.4 + 1 * 0.5) / 5
        assert statistics.expected_calibration_error(probabilities, truth, np.ones(5)) == pytest.approx(
            expected
        )
        weights = np.array([[1, 1, 1, 1, 1], [2, 0, 0, 0, 2]])
        np.testing.assert_allclose(
            statistics.expected_calibration_error(probabilities, truth, weights), [expected, (0.1 + 0.5) / 2]
        )


class TestBootstrap:
    @staticmethod
    def interval(values, groups, **settings):
        values = np.asarray(values, dtype=float)
        return Bootstrap(groups, **settings).estimate(lambda weights: statistics.mean(values, weights), 1)

    def test_covers_the_truth_about_as_often_as_it_says(self):
        rng = np.random.default_rng(1)
        covered = 0
        for _ in range(100):
            values, groups = np.repeat(rng.normal(0, 1, 30), 4), np.repeat(np.arange(30), 4).tolist()
            found = self.interval(values, groups, resamples=400)
            covered += found.ci_low <= 0 <= found.ci_high
        assert 0.87 <= covered / 100 <= 0.98

    def test_it_does_not_matter_how_groups_are_named(self):
        values, groups = np.random.default_rng(5).random(60), np.arange(60) // 2
        named = self.interval(values, [f"{-group}" for group in groups])
        assert named == self.interval(values, groups.tolist())

    def test_undefined_resamples_are_left_out_and_counted(self):
        # A resample of 3 groups misses the first two, and so both values, in (1/3)^3 of the draws.
        used = np.array([True, True, False])
        measured = measure_over(used, statistics.mean, np.array([1.0, 2.0, np.nan]))
        found = Bootstrap("abc", resamples=5000).estimate(*measured)
        assert found.undefined_resamples / 5000 == pytest.approx(1 / 27, abs=0.01)
        assert (found.ci_low, found.ci_high) == (1, 2)

    @pytest.mark.parametrize(
        ("values", "groups"),
        [([1.0, 0.0], "aa"), ([np.nan, np.nan], "ab"), ([0.0] * 20, "abcdefghijklmnopqrst")],
        ids=["one group", "never defined", "alike in every resample"],
    )
    def test_no_interval_rather_than_a_false_one(self, values, groups):
        assert self.interval(values, groups).ci_low is None
