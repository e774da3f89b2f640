import dataclasses
import itertools

import numpy as np
import pytest

from busi_unet.data.augment import AUGMENTATIONS, Augmentation, happens

OFF = Augmentation()
STRONG = AUGMENTATIONS["strong"]


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A bright lesion on a grey ground, so that picture and mask can be compared after any change."""
    mask = np.zeros((64, 64), dtype=bool)
    mask[20:40, 12:34] = True
    image = np.where(mask, 230, 60).astype(np.uint8)
    return image, mask


def test_everything_off_changes_nothing(pair):
    image, mask = OFF(*pair, np.random.default_rng(0))
    np.testing.assert_array_equal(image, pair[0])
    np.testing.assert_array_equal(mask, pair[1])


def test_the_seed_decides(pair):
    first, again, other = (STRONG(*pair, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()


def test_mild_changes_grey_values_less_than_strong(pair):
    still = {"flip": 0.0, "rotation": 0.0, "zoom": 0.0, "aspect": 0.0, "shift": 0.0}

    def change(name: str) -> float:
        augment = dataclasses.replace(AUGMENTATIONS[name], **still)
        generators = map(np.random.default_rng, range(20))
        changed = [augment(*pair, generator)[0].astype(float) for generator in generators]
        return float(np.mean([np.abs(image - pair[0]).mean() for image in changed]))

    assert 0 < change("mild") < 0.8 * change("strong")


@pytest.mark.parametrize("seed", range(12))
def test_the_mask_moves_with_the_picture(pair, seed):
    geometry = dataclasses.replace(OFF, flip=0.5, rotation=15, zoom=0.25, aspect=0.15, shift=0.1)
    image, mask = geometry(*pair, np.random.default_rng(seed))
    bright = image > 145
    assert (bright & mask).sum() / (bright | mask).sum() > 0.95


def test_a_certain_flip_mirrors_left_and_right(pair):
    image, mask = dataclasses.replace(OFF, flip=1.0)(*pair, np.random.default_rng(0))
    np.testing.assert_array_equal(image, pair[0][:, ::-1])
    np.testing.assert_array_equal(mask, pair[1][:, ::-1])


def test_a_lesion_never_leaves_the_picture():
    mask = np.zeros((64, 64), dtype=bool)
    mask[0:3, 0:3] = True
    image = mask.astype(np.uint8) * 255
    far = dataclasses.replace(OFF, shift=0.5, zoom=1.0)
    assert all(far(image, mask, np.random.default_rng(seed))[1].any() for seed in range(30))


def test_appearance_leaves_the_mask_and_the_black_surround(pair):
    image, mask = pair
    image[:, 50:] = 0
    appearance = dataclasses.replace(STRONG, flip=0, rotation=0, zoom=0, aspect=0, shift=0)
    for seed in range(5):
        changed, kept = appearance(image, mask, np.random.default_rng(seed))
        np.testing.assert_array_equal(kept, mask)
        assert not changed[:, 50:].any()
        assert (changed != image).mean() > 0.3
        assert changed.dtype == np.uint8


def test_burnt_in_marks_change_pixels_and_never_the_mask(pair):
    image, mask = pair
    marked = dataclasses.replace(OFF, text=1.0, calipers=1.0)
    for seed in range(5):
        drawn, kept = marked(image, mask, np.random.default_rng(seed))
        np.testing.assert_array_equal(kept, mask)
        assert 0 < (drawn != image).mean() < 0.5


def test_a_sector_never_hides_a_part_of_the_lesion(pair):
    image, mask = pair
    sector = dataclasses.replace(OFF, sector=1.0)
    cut = [sector(image, mask, np.random.default_rng(seed))[0] for seed in range(40)]
    assert any((drawn == 0).any() for drawn in cut)
    assert all((drawn[mask] == 230).all() for drawn in cut)


def test_each_set_adds_to_the_one_before():
    sets = [dataclasses.asdict(AUGMENTATIONS[name]) for name in ("mild", "annotated", "strong")]
    for weaker, stronger in itertools.pairwise(sets):
        assert weaker != stronger
        assert all(stronger[name] >= value for name, value in weaker.items())
    assert not any(sets[0][name] for name in ("text", "calipers", "paint_out"))


def test_what_is_off_draws_nothing():
    """So that runs of a set can be repeated after other sets have got something new."""
    generator, untouched = (np.random.default_rng(4) for _ in range(2))
    assert not happens(0.0, generator)
    assert generator.random() == untouched.random()
    assert happens(1.0, generator)
