import numpy as np
import pytest

from busi_unet.config import Preprocess
from busi_unet.inference.preprocess import Preprocessor


@pytest.fixture
def preprocessor() -> Preprocessor:
    return Preprocessor(Preprocess(size=64))


def test_a_frame_becomes_normalised_input_of_the_networks_size(preprocessor):
    frame = np.full((90, 120), 127, dtype=np.uint8)
    inputs = preprocessor(frame)
    assert inputs.shape == (1, 64, 64)
    assert inputs.dtype == np.float32
    np.testing.assert_allclose(inputs, 0, atol=1e-6)


@pytest.mark.parametrize("shape", [(64, 64), (50, 200), (333, 101)])
def test_a_region_comes_back_where_it_was(preprocessor, shape):
    height, width = shape
    mask = np.zeros(shape, dtype=bool)
    mask[height // 4 : height // 2, width // 2 : 3 * width // 4] = True
    restored = preprocessor.restore(preprocessor.resize_mask(mask).astype(np.float32), shape) >= 0.5
    assert restored.shape == shape
    assert (restored & mask).sum() / (restored | mask).sum() > 0.9


def test_frame_and_mask_share_their_geometry(preprocessor):
    mask = np.zeros((90, 150), dtype=bool)
    mask[20:60, 70:130] = True
    frame = preprocessor.resize_frame(mask.astype(np.uint8) * 255)
    assert ((frame >= 128) != preprocessor.resize_mask(mask)).mean() < 0.01


def test_restored_probabilities_stay_probabilities(preprocessor):
    restored = preprocessor.restore(np.random.default_rng(0).random((64, 64), dtype=np.float32), (70, 33))
    assert restored.dtype == np.float32
    assert restored.min() >= 0
    assert restored.max() <= 1
