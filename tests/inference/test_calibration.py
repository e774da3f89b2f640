import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import roc_auc_score

from busi_unet.config import ClassCalibration
from busi_unet.inference.calibration import (
    boundary_band,
    boundary_distances,
    calibrated_probabilities,
    fit_boundary_band,
    fit_calibration,
    fit_set_threshold,
    prediction_set,
)


@pytest.fixture
def cohort() -> dict[str, np.ndarray]:
    """Overconfident answers of 2,000 images of two sources, one of them without normals."""
    generator = np.random.default_rng(0)
    sources = np.repeat(["a", "b"], 1000)
    normal = (generator.random(2000) < 0.3) & (sources == "a")
    evidence = generator.normal(size=(2000, 2))
    malignant = generator.random(2000) < expit(evidence[:, 0] - 0.5)
    labels = np.where(normal, 0, np.where(malignant, 2, 1))
    lesion = np.where(normal, -1.0, 1.0)
    head = lesion + 2 * generator.normal(size=2000)
    peaks = expit(lesion + 2 * generator.normal(size=2000))
    logits = np.stack([-4 * head, np.zeros(2000), 3 * evidence[:, 0]], axis=1)
    logits[:, 0] += np.logaddexp(logits[:, 1], logits[:, 2])
    return {"class_logits": logits, "peaks": peaks, "labels": labels, "sources": sources}


def test_the_fit_makes_probabilities_mean_what_they_say(cohort):
    fitted = fit_calibration(**cohort)
    probabilities = calibrated_probabilities(cohort["class_logits"], cohort["peaks"], fitted)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    lesions = cohort["labels"] > 0
    malignant = probabilities[lesions, 2] / probabilities[lesions, 1:].sum(axis=1)
    truth = cohort["labels"][lesions] == 2
    for low, high in ((0.2, 0.4), (0.4, 0.6), (0.6, 0.8)):
        inside = (malignant >= low) & (malignant < high)
        assert truth[inside].mean() == pytest.approx(malignant[inside].mean(), abs=0.08)


def test_head_and_mask_together_tell_more_of_a_lesion_than_either(cohort):
    own = cohort["sources"] == "a"
    truth = cohort["labels"][own] > 0
    fitted = calibrated_probabilities(cohort["class_logits"], cohort["peaks"], fit_calibration(**cohort))
    head = calibrated_probabilities(cohort["class_logits"], cohort["peaks"], ClassCalibration())
    together = roc_auc_score(truth, 1 - fitted[own, 0])
    assert together > roc_auc_score(truth, 1 - head[own, 0]) + 0.02
    assert together > roc_auc_score(truth, cohort["peaks"][own]) + 0.02


def test_what_the_images_cannot_tell_stays_as_it_is(cohort):
    lesions = cohort["sources"] == "b"
    only = fit_calibration(**{name: values[lesions] for name, values in cohort.items()})
    assert (only.lesion_head, only.lesion_map, only.lesion_bias) == (1, 0, 0)
    assert only.malignant_head < 1


def _cases(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    probabilities = softmax(generator.normal(size=(count, 3)), axis=1)
    labels = np.array([generator.choice(3, p=row) for row in probabilities])
    return probabilities, labels


def _names(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def _disc(
    radius: float, centre: tuple[int, int] = (50, 60), size: tuple[int, int] = (100, 120)
) -> np.ndarray:
    rows, columns = np.ogrid[: size[0], : size[1]]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_the_set_holds_the_class_as_often_as_stated(coverage):
    covered = []
    for seed in range(40):
        threshold = fit_set_threshold(*_cases(150, seed), _names(150), coverage)
        for row, label in zip(*_cases(400, 1000 + seed), strict=True):
            covered.append(label in prediction_set(row, threshold))

    assert np.mean(covered) == pytest.approx(coverage, abs=0.02)


def test_copies_of_an_image_share_one_vote():
    probabilities, labels = _cases(60, 0)
    copied = np.concatenate([probabilities, *[probabilities[:1]] * 500])
    names = _names(60) + ["0"] * 500
    threshold = fit_set_threshold(copied, np.concatenate([labels, *[labels[:1]] * 500]), names, 0.9)

    assert threshold == fit_set_threshold(probabilities, labels, _names(60), 0.9)


def test_too_few_images_exclude_no_class_and_state_no_band():
    assert fit_set_threshold(*_cases(5, 0), _names(5), 0.9) == 0
    assert fit_boundary_band([np.zeros(4)] * 19, _names(19), 0.9) == (0.0, 0.0)
    assert fit_boundary_band([np.zeros(4)] * 18, _names(18), 0.9) is None


def test_a_set_is_never_empty():
    assert prediction_set(np.array([0.3, 0.4, 0.3]), 0.9) == (1,)
    assert fit_set_threshold(np.eye(3)[[0] * 50], np.zeros(50, dtype=int), _names(50), 0.9) == 1


def test_distances_are_signed_and_in_radii():
    outline = _disc(20)

    assert np.abs(boundary_distances(outline, outline)).max() < 0.08
    np.testing.assert_allclose(boundary_distances(outline, _disc(30)), 0.5, atol=0.08)
    np.testing.assert_allclose(boundary_distances(outline, _disc(10)), -0.5, atol=0.08)


def test_the_band_holds_the_stated_share_of_the_edge():
    generator = np.random.default_rng(0)
    shares = []
    for _ in range(20):
        fitted = [generator.normal(0, 0.2, size=50) + generator.normal(0, 0.1) for _ in range(120)]
        inner, outer = fit_boundary_band(fitted, _names(120), 0.9)
        new = [generator.normal(0, 0.2, size=50) + generator.normal(0, 0.1) for _ in range(300)]
        shares.append(np.mean([np.mean((values >= -inner) & (values <= outer)) for values in new]))

    assert np.mean(shares) == pytest.approx(0.92, abs=0.02)
    assert min(shares) > 0.88


def test_the_band_lies_around_the_outline():
    outline = _disc(20)
    inner, outer = boundary_band(outline, 0.25, 0.5)

    assert (inner <= outline).all() and (outline <= outer).all()
    assert np.sqrt(inner.sum() / np.pi) == pytest.approx(15, abs=1)
    assert np.sqrt(outer.sum() / np.pi) == pytest.approx(30, abs=1)
    assert not any(mask.any() for mask in boundary_band(np.zeros_like(outline), 0.25, 0.5))


def test_a_lesion_cut_by_the_border_has_no_edge_there():
    lesion = _disc(20, (0, 60))
    inner, _ = boundary_band(lesion, 0.25, 0.5)

    assert inner[0, 60]
