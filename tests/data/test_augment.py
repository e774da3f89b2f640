import dataclasses

import numpy as np
import pytest

from busi_unet.config import Preprocess
from busi_unet.data.augment import (
    Augmentation,
    draw_calipers,
    draw_text,
    find_strokes,
    normal_tissue,
    paint_out,
)
from busi_unet.inference.preprocess import Preprocessor

FULL = Augmentation()
OFF = Augmentation(**{field.name: 0 for field in dataclasses.fields(Augmentation)})
PREPROCESSOR = Preprocessor(Preprocess(size=64))


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A bright lesion on a grey ground, so that image and mask can be compared after any change."""
    mask = np.zeros((80, 96), dtype=bool)
    mask[25:50, 20:44] = True
    return np.where(mask, 230, 60).astype(np.uint8), mask


def changed(augmentation: Augmentation, pair, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return augmentation(*pair, PREPROCESSOR, np.random.default_rng(seed))


def test_everything_off_is_what_serving_does(pair):
    image, mask = changed(OFF, pair)
    served = PREPROCESSOR.resize_image(pair[0])
    assert (np.abs(image.astype(int) - served) > 40).mean() < 0.02
    assert (mask != PREPROCESSOR.resize_mask(pair[1])).mean() < 0.01


@pytest.mark.parametrize("seed", range(12))
def test_the_mask_moves_with_the_image(pair, seed):
    geometry = dataclasses.replace(OFF, flip=0.5, rotation=15, zoom=0.25, shift=0.1, crop=0.5)
    image, mask = changed(geometry, pair, seed)
    bright = image > 145
    assert (bright & mask).sum() / (bright | mask).sum() > 0.93


def test_a_lesion_never_leaves_the_image():
    mask = np.zeros((64, 64), dtype=bool)
    mask[0:6, 0:6] = True
    far = dataclasses.replace(OFF, shift=0.5, zoom=1.0)
    pair = mask.astype(np.uint8) * 255, mask
    assert all(changed(far, pair, seed)[1].any() for seed in range(30))


def test_appearance_leaves_the_mask_and_the_black_surround(pair):
    pair[0][:, 76:] = 0
    appearance = dataclasses.replace(FULL, flip=0, rotation=0, zoom=0, shift=0, crop=0, text=0, calipers=0)
    for seed in range(5):
        shown, kept = changed(appearance, pair, seed)
        np.testing.assert_array_equal(kept, changed(OFF, pair)[1])
        assert not shown[:, 53:].any()
        assert shown.dtype == np.uint8


def test_burnt_in_annotations_change_pixels_and_never_the_mask(pair):
    marked = dataclasses.replace(OFF, text=1.0, calipers=1.0)
    plain = changed(OFF, pair)
    for seed in range(5):
        drawn, kept = changed(marked, pair, seed)
        np.testing.assert_array_equal(kept, plain[1])
        assert 0 < (drawn != plain[0]).mean() < 0.5


def test_normal_tissue_holds_no_lesion(pair):
    for seed in range(20):
        normal, empty = normal_tissue(*pair, np.random.default_rng(seed))
        assert normal.shape == empty.shape
        assert not empty.any()
        assert normal.max() < 145


def test_what_was_drawn_is_found_and_painted_out():
    y, x = np.mgrid[0:240, 0:320]
    # Soft, without a sharp stroke in it.
    tissue = (60 + 20 * np.sin(x / 19) * np.cos(y / 23)).astype(np.uint8)
    lesion = ((x - 200) / 50) ** 2 + ((y - 90) / 30) ** 2 < 1
    assert not find_strokes(tissue).any()
    np.testing.assert_array_equal(paint_out(tissue), tissue)
    for seed in range(5):
        generator = np.random.default_rng(seed)
        drawn = draw_text(draw_calipers(tissue, lesion, generator), generator)
        apart = np.abs(drawn.astype(int) - tissue) > 60
        assert (find_strokes(drawn) & apart).sum() > 0.75 * apart.sum()
        left = np.abs(paint_out(drawn).astype(int) - tissue) > 60
        assert left.sum() < 0.25 * apart.sum()
