"""Robustness of a made-up predictor that goes by what it should not, with metrics worked out by hand."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from fakes.made_up import CASES, PIXELS, MadeUpPredictor, make_answer, make_split
from fakes.pages import Page
from scipy import ndimage

from busi_unet.data.augment import find_strokes
from busi_unet.evaluation.robustness import (
    DISTURBANCES,
    generator_for,
    measure_robustness,
    scanner_convex,
    text_in,
    to_markdown,
)

SHAPE = (200, 260)


def burn(image, mask, generator):
    """A corner turns over where there is a lesion."""
    image = image.copy()
    image[0, 0] ^= 255
    return (image, mask) if mask.any() else None


def move(image, mask, generator):
    """One column to the right."""
    return np.roll(image, 1, axis=1), np.roll(mask, 1, axis=1)


class Shortcut:
    """Knows the images of `made_up`; what is burnt in it calls malignant, outlines nothing, and refuses."""

    def __init__(self):
        self.known, self.asked = MadeUpPredictor(), []

    def predict(self, image):
        self.asked.append(image.tobytes())
        if image.tobytes() in self.known.answers:
            return self.known.predict(image)
        back = np.roll(image, -1, axis=1)
        if back.tobytes() in self.known.answers:
            found = self.known.predict(back)
            return SimpleNamespace(**{**vars(found), "mask": np.roll(found.mask, 1, axis=1)})
        return make_answer(np.zeros(image.shape, bool), "malignant", (0.0, 0.1, 0.9), refused=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder, predictor = tmp_path_factory.mktemp("robustness") / "new", Shortcut()
    found = measure_robustness(
        predictor,
        make_split(),
        disturbances={"burn": burn, "move": move},
        output=folder,
        progress=False,
        seed=3,
        provenance={"command": "made up"},
    )
    return found, folder, predictor


def test_each_original_is_predicted_once(made):
    asked = made[2].asked
    assert [asked.count(pixels.tobytes()) for pixels in PIXELS.values()] == [1] * 6
    assert len(asked) == 6 + 4 + 6


@pytest.mark.parametrize(
    ("name", "before", "after", "n"),
    [
        ("accuracy", 3 / 4, 2 / 4, 4),
        ("lesion_dice", (1 + 2 / 3 + 0 + 1) / 4, 0, 4),
        ("lesion_missed_share", 1 / 4, 1, 4),
        ("malignant_sensitivity", 1, 1, 2),
        ("auc_malignant", 3 / 4, 1 / 2, 4),
        ("refused_share", 0, 1, 4),
    ],
)
def test_metrics_before_and_after(made, name, before, after, n):
    change = made[0].effects["burn"].metrics[name]
    assert (change.before.value, change.after.value) == pytest.approx((before, after))
    assert change.difference.value == pytest.approx(after - before)
    assert {change.before.n, change.after.n, change.difference.n} == {n}


def test_the_difference_is_paired(made):
    # Three lesions lose all their Dice, one had none: each group's difference is its own Dice.
    difference = made[0].effects["burn"].metrics["lesion_dice"].difference
    assert (difference.ci_low, difference.ci_high) == pytest.approx((-1, 0))
    # The mask that moved is the one to compare with: a change that changes nothing differs by nothing.
    for change in made[0].effects["move"].metrics.values():
        assert change.difference.value == pytest.approx(0)
        assert change.difference.ci_low is None


def test_probability_and_class_shift(made):
    effect = made[0].effects["burn"]
    # Malignant goes to .9 from .1, .5, .48 and .9.
    assert effect.malignant_shift.value == pytest.approx((0.8 + 0.4 + 0.42 + 0) / 4)
    assert (effect.class_changed.value, effect.class_changed.count) == (1 / 4, 1)


def test_a_disturbance_that_applies_to_nothing_has_no_metrics():
    found = measure_robustness(Shortcut(), make_split(CASES[4:]), disturbances={"burn": burn}, progress=False)
    effect = found.effects["burn"]
    assert (effect.images, effect.metrics, effect.class_changed.value) == (0, {}, None)
    assert "–" in to_markdown(found)


def test_seed_and_image_decide_not_the_order():
    class Bright:
        def predict(self, image):
            share = float((image > 200).mean())
            return make_answer(image > 255, "normal", (1 - share, share, 0.0))

    def after(cases, seed=0):
        found = measure_robustness(
            Bright(), make_split(cases), disturbances={"text_in": text_in}, seed=seed, progress=False
        )
        return {row.image_id: row.probabilities for row in found.rows["text_in"]}

    assert after(CASES) == after(CASES[::-1])
    assert after(CASES) != after(CASES, seed=1)


def test_report_folder(made):
    found, folder, _ = made
    text = (folder / "robustness.json").read_text(encoding="utf-8")
    stored = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert stored == found.summary
    assert set(stored["provenance"]) >= {"commit", "versions", "command", "seed", "bootstrap"}
    page = Page((folder / "robustness.html").read_text(encoding="utf-8"))
    assert burn.__doc__ in page.words and "0.750 → 0.500" in page.words
    with (folder / "per_image.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["disturbance"] for row in rows] == ["none"] * 6 + ["burn"] * 4 + ["move"] * 6
    assert (rows[6]["p_malignant"], rows[6]["predicted_label"], rows[6]["refused"]) == (
        "0.9",
        "malignant",
        "True",
    )


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
    changed, moved = DISTURBANCES[name](image, mask, generator_for(0, name, "a"))
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
    result = DISTURBANCES[name](image, mask, generator_for(0, name, "a"))
    if result is None:
        assert name == "borders_out" or name == "strokes_out"
        return
    changed, moved = result
    bright = ndimage.binary_opening(changed > 130, iterations=2)
    assert (bright & moved).sum() / (bright | moved).sum() > 0.9


def test_a_fan_keeps_the_whole_lesion_and_is_black_outside(pair):
    changed, moved = scanner_convex(*pair, np.random.default_rng(0))
    assert moved.any() and not (moved[0].any() or moved[-1].any() or moved[:, 0].any() or moved[:, -1].any())
    corners = changed[:4, :4], changed[:4, -4:], changed[-4:, :4], changed[-4:, -4:]
    assert not np.concatenate(corners).any()
    middle = changed.shape[1] // 2
    assert changed[changed.shape[0] // 2, middle - 5 : middle + 5].any()


def test_what_does_not_apply_is_none(pair):
    image, mask = pair
    for name, kept in [
        ("calipers_on_lesion", np.zeros_like(mask)),
        ("borders_out", mask),
        ("strokes_out", mask),
    ]:
        assert DISTURBANCES[name](image, kept, generator_for(0, name, "a")) is None


def test_strokes_are_found_and_painted_out_and_bright_tissue_is_not(pair):
    image, mask = pair
    band = np.zeros(SHAPE)
    band[150:154, 40:220] = 1
    image = np.clip(image + 160 * ndimage.gaussian_filter(band, 2), 0, 255).astype(np.uint8)
    assert not find_strokes(image).any()
    written = burn_in(image)
    text = np.abs(written.astype(int) - image) > 60
    assert find_strokes(written)[text].mean() > 0.9
    painted, _ = DISTURBANCES["strokes_out"](written, mask, np.random.default_rng(0))
    assert np.abs(painted.astype(int) - image)[text].mean() < 30
    beside = ~ndimage.binary_dilation(text, iterations=8)
    np.testing.assert_array_equal(painted[beside], written[beside])


def test_calipers_elsewhere_do_not_touch_the_lesion(pair):
    image, mask = pair
    for number in range(10):
        changed, _ = DISTURBANCES["calipers_elsewhere"](
            image, mask, generator_for(0, "calipers", str(number))
        )
        assert (changed != image).any()
        assert not ((changed != image) & mask).any()


def test_borders_come_and_go(pair):
    image, mask = pair
    wide = DISTURBANCES["borders_in"](image, mask, np.random.default_rng(0))
    assert wide[0].shape == (200, 260 + 2 * 31)
    assert not wide[0][:, :31].any() and not wide[0][:, -31:].any()
    back = DISTURBANCES["borders_out"](*wide, np.random.default_rng(0))
    np.testing.assert_array_equal(back[0], image)
    np.testing.assert_array_equal(back[1], mask)


def test_margins_are_never_cut_into_a_lesion(pair):
    image, mask = pair
    black = image.copy()
    black[:80] = 0  # The lesion begins at row 60.
    changed, moved = DISTURBANCES["borders_out"](black, mask, np.random.default_rng(0))
    assert changed.shape == (140, 260)
    assert moved.sum() == mask.sum()
