import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.metrics import roc_auc_score

from busi_unet.config import ClassCalibration
from busi_unet.inference.calibration import calibrated_probabilities, fit_calibration, map_peak


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


def test_by_default_they_are_the_softmax():
    logits = np.random.default_rng(0).normal(size=(5, 3))
    plain = calibrated_probabilities(logits, np.full(5, 0.3), ClassCalibration())
    np.testing.assert_allclose(plain, softmax(logits, axis=1))


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


def test_the_peak_is_that_of_the_surest_spot():
    probability = np.zeros((100, 100))
    assert map_peak(probability) == 0
    probability[40:50, 40:45] = 0.8
    assert map_peak(probability) == pytest.approx(0.8)
