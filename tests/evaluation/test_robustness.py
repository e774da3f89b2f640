"""An audit of a made-up predictor that goes by what it should not, with figures worked out by hand."""

from __future__ import annotations

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
from fakes.made_up import CASES, PIXELS, MadeUpPredictor, make_split
from PIL import Image as PILImage

from busi_unet.config import CLASS_NAMES
from busi_unet.data.disturbances import DISTURBANCES, Disturbance
from busi_unet.errors import DataLayoutError
from busi_unet.evaluation.robustness import audit
from busi_unet.evaluation.robustness_effects import Effect
from busi_unet.evaluation.robustness_report import tables, to_markdown

# A corner burnt in where there is a lesion, and the picture moved one column to the right.
BURN = Disturbance(
    "burn",
    "shortcut",
    "a corner turns over",
    lambda image, mask, generator: (_burnt(image), mask),
    applies=lambda image, mask: mask.any(),
    mark="burnt_in",
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
    """Knows the pictures of `made_up`; what is burnt in it calls malignant, outlines nothing, and refuses."""

    def __init__(self, cases=CASES):
        self.known, self.asked = MadeUpPredictor(cases), []
        self.names = {pixels.tobytes(): name for name, pixels in PIXELS.items()}

    def predict(self, image):
        self.asked.append(image.tobytes())
        if image.tobytes() in self.known.answers:
            return self.known.predict(image)
        back = np.roll(image, -1, axis=1)
        if back.tobytes() in self.known.answers:
            answer = self.known.predict(back)
            return SimpleNamespace(**{**vars(answer), "mask": np.roll(answer.mask, 1, axis=1)})
        return SimpleNamespace(
            mask=np.zeros(image.shape, bool),
            label="malignant",
            probabilities={"normal": 0.0, "benign": 0.1, "malignant": 0.9},
            refused=True,
            prediction_set=None,
            boundary_band=None,
            flagged=True,
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder, predictor = tmp_path_factory.mktemp("audit") / "new", Shortcut()
    outcome = audit(
        [(predictor, make_split())],
        disturbances=[BURN, MOVE],
        output=folder,
        progress=False,
        seed=3,
        provenance={"command": "made up"},
    )
    return outcome, folder, predictor


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
def test_figures_before_and_after(made, name, before, after, n):
    change = made[0].effects["burn"].figures[name]
    assert (change.before.value, change.after.value) == pytest.approx((before, after))
    assert change.difference.value == pytest.approx(after - before)
    assert {change.before.n, change.after.n, change.difference.n} == {n}


def test_the_difference_is_paired(made):
    # Three lesions lose all their Dice, one had none: each group's difference is its own Dice.
    difference = made[0].effects["burn"].figures["lesion_dice"].difference
    assert (difference.ci_low, difference.ci_high) == pytest.approx((-1, 0))
    # A change that changes nothing differs by nothing, however much the images vary.
    for change in made[0].effects["move"].figures.values():
        assert change.difference.value == pytest.approx(0)
        assert change.difference.ci_low is None


def test_probabilities_shift(made):
    shifts = made[0].effects["burn"].shifts
    # Malignant goes to .9 from .1, .5, .48 and .9; benign to .1 from .8, .3, .32 and .1.
    assert shifts["p_malignant"].value == pytest.approx((0.8 + 0.4 + 0.42 + 0) / 4)
    assert shifts["p_benign_abs"].value == pytest.approx((0.7 + 0.2 + 0.22 + 0) / 4)
    assert shifts["p_malignant_on_benign"].value == pytest.approx(0.6)
    assert shifts["p_lesion_on_malignant"].value == pytest.approx(0.1)
    assert (shifts["p_lesion_on_normal"].value, shifts["p_lesion_on_normal"].n) == (None, 0)
    assert shifts["class_changed"].value == pytest.approx(1 / 4)


def test_what_cannot_be_computed_is_none(made):
    change = made[0].effects["burn"].figures["normal_false_mask_share"]
    assert (change.before.value, change.after.value, change.difference.value) == (None, None, None)


def test_the_mask_that_moved_is_the_one_to_compare_with(made):
    moved = [record for record in made[0].records if record.disturbance == "move"]
    assert [record.after.scores.dice for record in moved] == [record.before.scores.dice for record in moved]


def test_a_disturbance_that_applies_to_nothing_has_no_figures():
    outcome = audit([(Shortcut(), make_split(CASES[4:]))], disturbances=[BURN], progress=False)
    assert outcome.effects["burn"] == Effect({"normal": 0, "benign": 0, "malignant": 0}, {}, {})
    assert "–" in to_markdown(outcome)


def test_marks_decide_and_split(made):
    outcome = audit(
        [(Shortcut(), make_split())],
        disturbances=[BURN, MOVE],
        marks={"burnt_in": {"benign (2)", "normal (1)"}},
        progress=False,
    )
    burnt = [record.before.image_id for record in outcome.records if record.disturbance == "burn"]
    assert burnt == ["benign (2)", "normal (1)"]
    assert sum(outcome.subsets["burnt_in: none"]["move"].images.values()) == 4
    assert sum(outcome.subsets["burnt_in: any"]["burn"].images.values()) == 2


def test_each_predictor_judges_its_own_split():
    first, second = Shortcut(CASES[:3]), Shortcut(CASES[3:])
    outcome = audit(
        [(first, make_split(CASES[:3])), (second, make_split(CASES[3:]))],
        disturbances=[MOVE],
        progress=False,
    )
    assert [record.before.image_id for record in outcome.records] == [case[0] for case in CASES]
    assert (outcome.groups, outcome.images) == (5, {"normal": 2, "benign": 2, "malignant": 2})
    together = audit([(Shortcut(), make_split())], disturbances=[MOVE], progress=False)
    assert outcome.effects == together.effects


def test_the_seed_and_the_image_decide_not_the_order():
    def after(cases, seed=0):
        outcome = audit(
            [(Bright(), make_split(cases))], disturbances=[DISTURBANCES["text_in"]], seed=seed, progress=False
        )
        return {record.before.image_id: record.after.probabilities for record in outcome.records}

    class Bright:
        def predict(self, image):
            share = float((image > 200).mean())
            return SimpleNamespace(
                mask=image > 255,
                label="normal",
                probabilities=dict(zip(CLASS_NAMES, (1 - share, share, 0.0), strict=True)),
                refused=False,
                prediction_set=None,
                boundary_band=None,
                flagged=False,
            )

    assert after(CASES) == after(CASES[::-1])
    assert after(CASES) != after(CASES, seed=1)


def test_report_folder(made):
    outcome, folder, _ = made
    assert {path.name for path in folder.iterdir()} == {
        "audit.json",
        "audit.md",
        "per_image.csv",
        "shifts.png",
        "figures.png",
    }
    text = (folder / "audit.json").read_text(encoding="utf-8")
    stored = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert stored == outcome.summary
    assert {name: Effect.from_dict(effect) for name, effect in stored["effects"].items()} == outcome.effects
    assert (stored["provenance"]["command"], stored["provenance"]["seed"]) == ("made up", 3)
    assert set(stored["provenance"]) >= {"commit", "versions", "data_sha256", "bootstrap"}
    for name in ("shifts", "figures"):
        assert np.ptp(np.asarray(PILImage.open(folder / f"{name}.png"))) > 100

    with (folder / "per_image.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 10
    assert rows[0]["disturbance"] == "burn"
    assert (rows[0]["p_malignant_before"], rows[0]["p_malignant_after"]) == ("0.1", "0.9")
    assert (rows[0]["predicted_label_before"], rows[0]["predicted_label_after"]) == ("benign", "malignant")
    assert (rows[0]["dice_before"], rows[0]["dice_after"]) == ("1.0", "0.0")
    assert (rows[0]["refused_before"], rows[0]["refused_after"]) == ("False", "True")


def test_tables_put_audits_next_to_each_other(made):
    effects = made[0].effects
    text = "\n".join(tables({"now": effects, "then": {"move": effects["move"]}}))
    (accuracy,) = (line for line in text.splitlines() if line.startswith("| Three-class accuracy"))
    assert "now: before → after" in accuracy and "then: difference" in accuracy
    burn = [cell.strip() for cell in text.splitlines()[text.splitlines().index(accuracy) + 2].split("|")]
    assert burn[1:3] == ["burn", "0.750 → 0.500"]
    assert burn[3].startswith("-0.250 [")
    assert burn[4:6] == ["–", "–"]


def test_progress_goes_to_stderr(capsys):
    audit([(Shortcut(), make_split())], disturbances=[MOVE])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "6/6" in captured.err


def test_an_empty_split_is_refused():
    with pytest.raises(DataLayoutError, match="no images"):
        audit([(Shortcut(), make_split().select([]))], progress=False)


def test_every_disturbance_can_be_audited():
    class Blank:
        def predict(self, image):
            return SimpleNamespace(
                mask=np.zeros(image.shape, bool),
                label="normal",
                probabilities={"normal": 1.0, "benign": 0.0, "malignant": 0.0},
                refused=False,
                prediction_set=None,
                boundary_band=None,
                flagged=False,
            )

    outcome = audit([(Blank(), make_split())], progress=False, resamples=50)
    assert list(outcome.effects) == list(DISTURBANCES)
    for effect in outcome.effects.values():
        assert all(shift.value in (0, None) for shift in effect.shifts.values())
