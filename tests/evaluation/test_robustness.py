"""Robustness of a made-up predictor that goes by what it should not, with metrics worked out by hand."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from fakes.made_up import CASES, PIXELS, MadeUpPredictor, make_answer, make_split
from fakes.pages import Page

from busi_unet.evaluation.disturbances import DISTURBANCES, Disturbance
from busi_unet.evaluation.robustness import measure_robustness, to_markdown

BURN = Disturbance(
    "burn",
    "shortcut",
    "a corner turns over where there is a lesion",
    lambda image, mask, generator: (_burnt(image), mask) if mask.any() else None,
)
MOVE = Disturbance(
    "move",
    "scanner",
    "one column to the right",
    lambda image, mask, generator: (np.roll(image, 1, axis=1), np.roll(mask, 1, axis=1)),
)


def _burnt(image):
    image = image.copy()
    image[0, 0] ^= 255
    return image


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
        disturbances=[BURN, MOVE],
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
    found = measure_robustness(Shortcut(), make_split(CASES[4:]), disturbances=[BURN], progress=False)
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
            Bright(), make_split(cases), disturbances=[DISTURBANCES["text_in"]], seed=seed, progress=False
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
    assert BURN.meaning in page.words and "0.750 → 0.500" in page.words
    with (folder / "per_image.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["disturbance"] for row in rows] == ["none"] * 6 + ["burn"] * 4 + ["move"] * 6
    assert (rows[6]["p_malignant"], rows[6]["predicted_label"], rows[6]["refused"]) == (
        "0.9",
        "malignant",
        "True",
    )


def test_every_disturbance_can_be_measured():
    class Blank:
        def predict(self, image):
            return make_answer(np.zeros(image.shape, bool), "normal", (1.0, 0.0, 0.0))

    found = measure_robustness(Blank(), make_split(), progress=False)
    assert list(found.effects) == list(DISTURBANCES)
    assert all(effect.malignant_shift.value == 0 for effect in found.effects.values() if effect.images)
