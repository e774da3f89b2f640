"""Robustness of a made-up predictor that goes by what it should not, with metrics worked out by hand."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from fakes.made_up import PIXELS, MadeUpPredictor, make_answer, make_split
from scipy import ndimage

from busi_unet.data.phantom import make_phantom
from busi_unet.errors import UsageError
from busi_unet.evaluation.robustness import (
    PERTURBATIONS,
    generator_for,
    measure_robustness,
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
        perturbations={"burn": burn, "move": move},
        output=folder,
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
    change = made[0].outcomes["burn"].metrics[name]
    assert (change.before.value, change.after.value) == pytest.approx((before, after))
    assert change.difference.value == pytest.approx(after - before)
    assert {change.before.n, change.after.n, change.difference.n} == {n}


def test_the_difference_is_paired(made):
    # Three lesions lose all their Dice, one had none: each group's difference is its own Dice.
    difference = made[0].outcomes["burn"].metrics["lesion_dice"].difference
    assert (difference.ci_low, difference.ci_high) == pytest.approx((-1, 0))
    # The mask that moved is the one to compare with: a change that changes nothing differs by nothing.
    for change in made[0].outcomes["move"].metrics.values():
        assert change.difference.value == pytest.approx(0)
        assert change.difference.ci_low is None


def test_probability_and_class_shift(made):
    outcome = made[0].outcomes["burn"]
    # Malignant goes to .9 from .1, .5, .48 and .9.
    assert outcome.malignant_shift.value == pytest.approx((0.8 + 0.4 + 0.42 + 0) / 4)
    assert (outcome.class_changed.value, outcome.class_changed.count) == (1 / 4, 1)


def test_report_folder(made):
    found, folder, _ = made
    text = (folder / "robustness.json").read_text(encoding="utf-8")
    stored = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert stored == found.summary
    assert set(stored["provenance"]) >= {"commit", "versions", "command", "bootstrap"}
    with (folder / "per_image.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["perturbation"] for row in rows] == ["none"] * 6 + ["burn"] * 4 + ["move"] * 6
    assert (rows[6]["p_malignant"], rows[6]["predicted_label"], rows[6]["refused"]) == (
        "0.9",
        "malignant",
        "True",
    )


@pytest.fixture
def with_everything() -> tuple[np.ndarray, np.ndarray]:
    """An image to which every perturbation applies, and its mask: margins, and strokes as of a screen."""
    phantom = make_phantom("benign", seed=0, size=SHAPE)
    image = phantom.image.copy()
    image[160:180, 200:202] = image[169:171, 190:212] = image[130:132, 30:90] = 250
    return np.pad(image, ((0, 0), (20, 20))), np.pad(phantom.mask, ((0, 0), (20, 20)))


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_every_one_changes_the_image_and_leaves_what_it_was_given(name, with_everything):
    image, mask = with_everything
    before = image.copy(), mask.copy()
    changed, moved = PERTURBATIONS[name](image, mask, generator_for(name, "a"))
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(mask, before[1])
    assert (changed.dtype, moved.dtype) == (np.uint8, bool)
    assert changed.shape == moved.shape
    assert changed.shape != image.shape or (changed != image).any()


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_the_mask_moves_with_the_image(name):
    mask = np.zeros(SHAPE, dtype=bool)
    mask[60:110, 70:150] = True
    image = np.where(mask, 240, 20).astype(np.uint8)
    result = PERTURBATIONS[name](image, mask, generator_for(name, "a"))
    if result is None:
        assert name in ("borders_out", "strokes_out")
        return
    changed, moved = result
    bright = ndimage.binary_opening(changed > 130, iterations=2)
    assert (bright & moved).sum() / (bright | moved).sum() > 0.9


def test_images_without_a_reference_are_refused():
    with pytest.raises(UsageError, match="outlined reference"):
        measure_robustness(Shortcut(), make_split(masked=lambda name: False))
