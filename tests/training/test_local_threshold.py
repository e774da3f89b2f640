import numpy as np
import pytest

from busi_unet.training.local_threshold import fit_local_threshold


def hospital(count: int, *, seed: int = 0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Malignant probabilities of images, a third of them malignant; a shift moves all of them."""
    generator = np.random.default_rng(seed)
    malignant = np.arange(count) % 3 == 0
    score = generator.normal(size=count) + 2.5 * malignant - 2 + shift
    return 1 / (1 + np.exp(-score)), malignant, [str(i) for i in range(count)]


def test_the_threshold_follows_the_hospital_and_keeps_the_sensitivity():
    for shift in (-1.0, 0.0, 1.0):
        found = fit_local_threshold(*hospital(150, shift=shift), 0.95)
        probability, malignant, _ = hospital(6000, seed=1, shift=shift)
        flagged = probability >= found.threshold
        assert flagged[malignant].mean() == pytest.approx(0.95, abs=0.04)
        assert found.sensitivity[1] <= flagged[malignant].mean() <= found.sensitivity[2]
        assert found.specificity[1] <= 1 - flagged[~malignant].mean() <= found.specificity[2]


def test_fewer_images_are_less_reliable():
    few, many = (fit_local_threshold(*hospital(count), 0.95) for count in (30, 300))
    assert (few.malignant, few.other) == (10, 20)
    assert np.ptp(few.threshold_range) > np.ptp(many.threshold_range)
    assert np.ptp(few.specificity) > np.ptp(many.specificity)


def test_copies_do_not_make_it_look_more_reliable():
    probability, malignant, groups = hospital(40)
    once = fit_local_threshold(probability, malignant, groups, 0.95)
    copied = fit_local_threshold(*(np.repeat(part, 3) for part in (probability, malignant, groups)), 0.95)
    assert np.ptp(copied.specificity) == pytest.approx(np.ptp(once.specificity), abs=0.05)
