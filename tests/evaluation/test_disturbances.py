from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from busi_unet.data.annotations import find_strokes
from busi_unet.evaluation.disturbances import DISTURBANCES, generator_for

SHAPE = (200, 260)


def smooth_tissue(shape: tuple[int, int] = SHAPE, seed: int = 0) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 3)
    return np.clip(90 + 20 * noise / noise.std(), 20, 160).astype(np.uint8)


def burn_in(image: np.ndarray) -> np.ndarray:
    """A cross and a bar, as sharp as a screen draws them."""
    image = image.copy()
    image[160:180, 200:202] = image[169:171, 190:212] = image[130:132, 30:90] = 250
    return image


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A dark lesion in tissue."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[60:110, 70:150] = True
    return np.where(mask, np.uint8(12), smooth_tissue()), mask


@pytest.fixture
def with_everything(pair) -> tuple[np.ndarray, np.ndarray]:
    """A pair to which every disturbance applies."""
    image, mask = pair
    image = burn_in(image)
    image, mask = (np.pad(plane, ((0, 0), (20, 20))) for plane in (image, mask))
    return image, mask


@pytest.mark.parametrize("name", DISTURBANCES)
def test_every_one_changes_the_image_and_leaves_what_it_was_given(name, with_everything):
    image, mask = with_everything
    before = image.copy(), mask.copy()
    changed, moved = DISTURBANCES[name].change(image, mask, generator_for(0, name, "a"))
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])
    assert (changed.dtype, moved.dtype) == (np.uint8, bool)
    assert changed.shape == moved.shape
    assert changed.shape != image.shape or (changed != image).any()


@pytest.mark.parametrize("name", [*DISTURBANCES])
def test_the_mask_moves_with_the_image(name):
    mask = np.zeros(SHAPE, dtype=bool)
    mask[60:110, 70:150] = True
    image = np.where(mask, 240, 20).astype(np.uint8)
    result = DISTURBANCES[name].change(image, mask, generator_for(0, name, "a"))
    if result is None:
        assert name == "borders_out" or name == "strokes_out"
        return
    changed, moved = result
    bright = ndimage.binary_opening(changed > 130, iterations=2)
    assert (bright & moved).sum() / (bright | moved).sum() > 0.9


@pytest.mark.parametrize("name", ["scanner_convex", "scanner"])
def test_a_fan_keeps_the_whole_lesion_and_is_black_outside(name, pair):
    changed, moved = DISTURBANCES[name].change(*pair, generator_for(0, name, "a"))
    assert moved.any() and not (moved[0].any() or moved[-1].any() or moved[:, 0].any() or moved[:, -1].any())
    corners = changed[:4, :4], changed[:4, -4:], changed[-4:, :4], changed[-4:, -4:]
    assert not np.concatenate(corners).any()
    middle = changed.shape[1] // 2
    assert changed[changed.shape[0] // 2, middle - 5 : middle + 5].any()


def test_what_does_not_apply_is_none(pair):
    image, mask = pair

    deep = np.roll(mask, 90, axis=0)
    for name, kept in [
        ("calipers_on_lesion", np.zeros_like(mask)),
        ("borders_out", mask),
        ("strokes_out", mask),
        ("upper_crop", deep),
    ]:
        assert DISTURBANCES[name].change(image, kept, generator_for(0, name, "a")) is None


def test_strokes_are_found_and_painted_out_and_bright_tissue_is_not(pair):
    image, mask = pair
    band = np.zeros(SHAPE)
    band[150:154, 40:220] = 1
    image = np.clip(image + 160 * ndimage.gaussian_filter(band, 2), 0, 255).astype(np.uint8)
    assert not find_strokes(image).any()
    written = burn_in(image)
    text = np.abs(written.astype(int) - image) > 60
    assert find_strokes(written)[text].mean() > 0.9
    painted, _ = DISTURBANCES["strokes_out"].change(written, mask, np.random.default_rng(0))
    assert np.abs(painted.astype(int) - image)[text].mean() < 30
    beside = ~ndimage.binary_dilation(text, iterations=8)
    np.testing.assert_array_equal(painted[beside], written[beside])


def test_calipers_elsewhere_do_not_touch_the_lesion(pair):
    image, mask = pair
    for number in range(10):
        changed, _ = DISTURBANCES["calipers_elsewhere"].change(
            image, mask, generator_for(0, "calipers", str(number))
        )
        assert (changed != image).any()
        assert not ((changed != image) & mask).any()


def test_borders_come_and_go(pair):
    image, mask = pair
    wide = DISTURBANCES["borders_in"].change(image, mask, np.random.default_rng(0))
    assert wide[0].shape == (200, 260 + 2 * 31)
    assert not wide[0][:, :31].any() and not wide[0][:, -31:].any()
    back = DISTURBANCES["borders_out"].change(*wide, np.random.default_rng(0))
    np.testing.assert_array_equal(back[0], image)
    np.testing.assert_array_equal(back[1], mask)


def test_margins_are_never_cut_into_a_lesion(pair):
    image, mask = pair
    black = image.copy()
    black[:80] = 0  # The lesion begins at row 60.
    changed, moved = DISTURBANCES["borders_out"].change(black, mask, np.random.default_rng(0))
    assert changed.shape == (140, 260)
    assert moved.sum() == mask.sum()
