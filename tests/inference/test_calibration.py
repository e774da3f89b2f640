import numpy as np
import pytest
from scipy.special import softmax

from busi_unet.inference.calibration import calibrated_probabilities, fit_temperature


def draws(temperature: float, count: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `temperature` times too sure of labels drawn from them."""
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(count, 3)) * 2
    labels = np.array([generator.choice(3, p=row) for row in softmax(logits, axis=1)])
    return logits * temperature, labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_over_and_underconfident_logits_is_found(temperature):
    assert fit_temperature(*draws(temperature)) == pytest.approx(temperature, rel=0.1)


def test_calibration_keeps_the_order_and_sums_to_one():
    logits = np.array([[2.0, -1.0, 0.5], [0.0, 0.0, 0.0]], dtype=np.float32)
    for temperature in (0.3, 5.0):
        probabilities = calibrated_probabilities(logits, temperature)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)
        assert probabilities[0].argmax() == 0
    assert calibrated_probabilities(logits, 5.0)[0, 0] < calibrated_probabilities(logits, 0.3)[0, 0]
