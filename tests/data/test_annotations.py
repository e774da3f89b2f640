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


def test_text_is_near_white_and_small(tissue):
    before, brightest = tissue.copy(), []
    for seed in range(10):
        drawn = draw_text(tissue, np.random.default_rng(seed))
        changed = drawn != tissue
        assert drawn.shape == tissue.shape and drawn.dtype == np.uint8
        assert changed.mean() < 0.03
        brightest.append(drawn[changed].max(initial=0))
    # At most one of them beyond the edge.
    assert sorted(brightest)[1] > 180
    np.testing.assert_array_equal(tissue, before)


def test_calipers_lie_at_the_lesion_or_anywhere(tissue, lesion):
    def centres(mask: np.ndarray | None) -> np.ndarray:
        drawn = (draw_calipers(tissue, mask, np.random.default_rng(seed)) != tissue for seed in range(25))
        return np.array([np.argwhere(changed).mean(axis=0) for changed in drawn])

    assert np.abs(centres(lesion) - (90, 200)).max() < 25
    assert centres(None).std(axis=0).min() > 25
    np.testing.assert_array_equal(centres(np.zeros_like(lesion)), centres(None))


def test_calipers_measure_the_lesion(tissue, lesion):
    drawn = draw_calipers(tissue, lesion, np.random.default_rng(2)) != tissue
    columns = np.flatnonzero(drawn.any(axis=0))
    assert 80 < np.ptp(columns) < 150


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
