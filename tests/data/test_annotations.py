import numpy as np
import pytest

from busi_unet.data.augment import draw_calipers, draw_text, find_strokes, paint_out


@pytest.fixture
def tissue() -> np.ndarray:
    """Soft mid-grey texture without a sharp stroke in it."""
    y, x = np.mgrid[0:240, 0:320]
    return (60 + 20 * np.sin(x / 19) * np.cos(y / 23)).astype(np.uint8)


@pytest.fixture
def lesion(tissue) -> np.ndarray:
    y, x = np.mgrid[0:240, 0:320]
    return ((x - 200) / 50) ** 2 + ((y - 90) / 30) ** 2 < 1


def test_what_was_drawn_is_found_and_painted_out(tissue, lesion):
    assert not find_strokes(tissue).any()
    np.testing.assert_array_equal(paint_out(tissue), tissue)
    for seed in range(5):
        generator = np.random.default_rng(seed)
        drawn = draw_text(draw_calipers(tissue, lesion, generator), generator)
        apart = np.abs(drawn.astype(int) - tissue) > 60
        assert (find_strokes(drawn) & apart).sum() > 0.75 * apart.sum()
        left = np.abs(paint_out(drawn).astype(int) - tissue) > 60
        assert left.sum() < 0.25 * apart.sum()
