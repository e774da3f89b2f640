import numpy as np
import pytest

from busi_unet.imaging.overlay import ORANGE, draw_overlay, outline, side_by_side


@pytest.fixture
def frame() -> np.ndarray:
    return np.full((60, 100), 80, dtype=np.uint8)


@pytest.fixture
def mask(frame) -> np.ndarray:
    mask = np.zeros(frame.shape, dtype=bool)
    mask[20:40, 30:70] = True
    return mask


def test_only_the_mask_is_painted(frame, mask):
    overlay = np.asarray(draw_overlay(frame, mask))
    assert overlay.shape == (60, 100, 3)
    assert (overlay[~mask] == 80).all()
    assert (overlay[mask] != 80).any(axis=1).all()


def test_the_edge_has_the_full_colour(frame, mask):
    overlay = np.asarray(draw_overlay(frame, mask, opacity=0.0))
    np.testing.assert_array_equal((overlay == ORANGE).all(axis=2), outline(mask))
    assert 0 < outline(mask).sum() < mask.sum()


def test_opacity_one_hides_what_lies_below(frame, mask):
    overlay = np.asarray(draw_overlay(frame, mask, opacity=1.0, contour=False))
    assert (overlay[mask] == ORANGE).all()


def test_frame_and_mask_must_agree(frame, mask):
    with pytest.raises(ValueError, match="must be"):
        draw_overlay(frame, mask.T)


def test_side_by_side_keeps_both(frame, mask):
    overlay = draw_overlay(frame, mask)
    joined = np.asarray(side_by_side(frame, overlay, gap=8))
    assert joined.shape == (60, 208, 3)
    assert (joined[:, :100] == 80).all()
    np.testing.assert_array_equal(joined[:, 108:], np.asarray(overlay))
