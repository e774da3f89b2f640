"""Figures in the prose of docs/model.md, docs/trust.md and README.md are those of their files."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from busi_unet.config import Thresholds
from busi_unet.data.fold_table import read_busi_folds
from busi_unet.data.folds import assign_folds, random_split_leak
from busi_unet.evaluation.summary import Estimate, ImageResult, compare, read_rows, summarise
from busi_unet.inference.predictor import EMBEDDED
from busi_unet.models.pretrained import load_config
from busi_unet.training.calibrate import COVERAGE
from research.results_page import leaked_by

ROOT = Path(__file__).resolve().parents[2]


def prose(path: str) -> str:
    """A page with each run of blanks as one, so that sentences may be wrapped anywhere."""
    return re.sub(r"\s+", " ", (ROOT / path).read_text(encoding="utf-8"))


def results(name: str) -> dict:
    return json.loads((ROOT / "research" / "results" / f"{name}.json").read_text(encoding="utf-8"))


def short(value: float, digits: int = 3) -> str:
    """.734 for 0.734, as prose has it."""
    return f"{value:.{digits}f}".removeprefix("0")


def signed_short(estimate: Estimate) -> str:
    """+.034 (.007 to .060), as prose has it."""
    low, high = (f"{end:.3f}".replace("0.", ".", 1) for end in (estimate.ci_low, estimate.ci_high))
    return f"{estimate.value:+.3f} ({low} to {high})".replace("0.", ".", 1)


@pytest.fixture(scope="module")
def model_page() -> str:
    return prose("docs/model.md")


def test_the_steps_are_told_as_they_are_recorded(model_page):
    refits = load_config(EMBEDDED).training["average_of"]
    select = refits[0]["refit_of"]
    assert all(refit["refit_of"] == select for refit in refits)
    steps = (select, *refits)
    images = [sum(step["data"]["images"][split] for split in step["data"]["trained_on"]) for step in steps]
    peaks = [step["options"]["learning_rate"] for step in steps]
    for row in (
        ("images", *images),
        (
            "epochs",
            f"{select['epochs']}, best {select['best_epoch']}",
            *(refit["epochs"] for refit in refits),
        ),
        ("seed", *(step["options"]["seed"] for step in steps)),
        ("peak learning rate", *peaks),
        ("validation Dice, network resolution, best epoch", f"{select['validation']['dice']:.3f}", "–", "–"),
        ("validation accuracy, best epoch", f"{select['validation']['accuracy']:.3f}", "–", "–"),
    ):
        assert f"| {' | '.join(map(str, row))} |" in model_page
    minutes = " | ".join(str(round(step["seconds"] / 60)) for step in steps)
    assert re.search(rf"\| minutes on [^|]+ \| {re.escape(minutes)} \|", model_page)


def accuracy_and_dice(rows: Sequence[ImageResult]) -> tuple[float, float]:
    scores = [row.scores.dice for row in rows if row.scores.dice is not None]
    return sum(row.label == row.predicted_label for row in rows) / len(rows), sum(scores) / len(scores)


def test_the_folds_are_compared_as_they_came_out(model_page):
    by_fold = defaultdict(list)
    for row in read_rows(ROOT / "research" / "results" / "cross_validation_per_image.csv"):
        by_fold[row.fold].append(row)
    figures = {fold: accuracy_and_dice(rows) for fold, rows in by_fold.items()}
    accuracy, dice = ({fold: pair[place] for fold, pair in figures.items()} for place in (0, 1))
    lowest_dice, highest_dice = (short(end(dice.values()), 2) for end in (min, max))
    lowest, highest = (short(end(accuracy.values()), 2) for end in (min, max))
    assert (
        f"a Dice of {lowest_dice} to {highest_dice} and an accuracy of {lowest} to {highest}; "
        f"fold {min(accuracy, key=accuracy.get)} has the lowest accuracy, "
        f"fold {min(dice, key=dice.get)} the lowest Dice"
    ) in model_page


def test_on_fold_0_accuracy_and_dice_of_the_networks_cannot_be_told_apart():
    pages = [
        [row for row in read_rows(ROOT / "research" / "results" / f"{name}_per_image.csv") if row.fold == 0]
        for name in ("cross_validation", "mild", "embedded_test")
    ]
    for first, second in combinations(pages, 2):
        for name, difference in compare(first, second, names=("accuracy", "lesion_dice")).items():
            assert difference.ci_low < 0 < difference.ci_high, name


def test_what_the_deal_of_the_folds_does_to_one_of_them(model_page):
    rows = read_rows(ROOT / "research" / "results" / "cross_validation_per_image.csv")
    figures = []
    for seed in range(1, 101):
        by_fold = defaultdict(list)
        dealt = assign_folds([row.label for row in rows], [row.group for row in rows], seed=seed)
        for row, fold in zip(rows, dealt, strict=True):
            by_fold[fold].append(row)
        figures += [accuracy_and_dice(part) for part in by_fold.values()]
    (low, low_dice), (five, five_dice), (rest, rest_dice), (high, high_dice) = (
        [short(value, 2) for value in np.quantile(figures, share, axis=0)] for share in (0, 0.05, 0.95, 1)
    )
    assert (
        f"one fold has an accuracy from {low} to {high} ({five} to {rest} nine times in ten) and a Dice from "
        f"{low_dice} to {high_dice} ({five_dice} to {rest_dice})"
    ) in model_page


def test_what_all_folds_lost_and_gained_without_marks(model_page):
    before, after = (
        read_rows(ROOT / "research" / "results" / f"{name}_per_image.csv")
        for name in ("mild", "cross_validation")
    )
    names = ("accuracy", "malignant_specificity", "lesion_dice")
    found = compare(before, after, names=names)
    accuracy, specificity, dice = (signed_short(found[name]) for name in names)
    assert f"accuracy {accuracy}, specificity {specificity}, Dice {dice}." in model_page


def test_what_objections_explain_is_what_was_measured(model_page):
    embedded, everything = (results(name)["subsets"] for name in ("embedded_test", "cross_validation"))

    def pair(subset: dict) -> list[str]:
        return [short(subset[name]["value"]) for name in ("accuracy", "auc_malignant")]

    clean, crossed, marked = (
        pair(subset)
        for subset in (
            embedded["objection: none"],
            everything["objection: none"],
            embedded["objection: any"],
        )
    )
    assert (
        f"reach an accuracy of {clean[0]} and an AUC of {clean[1]}, where the cross-validation has "
        f"{crossed[0]} and {crossed[1]}; on the {embedded['objection: any']['accuracy']['n']} others "
        f"{marked[0]} and {marked[1]}."
    ) in model_page


def test_what_the_guard_refuses_of_fold_0_and_what_is_promised():
    page, embedded = prose("docs/trust.md"), results("embedded_test")
    images = sum(embedded["images"].values())
    assert f"on the embedded weights | {embedded['refused']} of {images} |" in page
    assert f"is among them for {COVERAGE * 100:.0f} % of new pictures" in page


def test_what_the_level_of_suspicion_does():
    page = prose("docs/trust.md")
    level, crossed, grouped = (
        Thresholds.malignant,
        *(results(name)["estimates"] for name in ("cross_validation", "mild")),
    )
    assert f"a probability of malignant of {level * 100:.0f} % or more" in page
    suspected, spared = ("malignant_sensitivity", "malignant_specificity")
    assert f"the same probabilities give {short(crossed[spared]['value'])}" in page
    assert f"malignant pictures suspected ({short(crossed[suspected]['value'])})" in page
    assert f"those of mild augmentation {short(grouped[spared]['value'])} instead of" in page
    assert f"again with as many ({short(grouped[suspected]['value'])})" in page
    rows = read_rows(ROOT / "research" / "results" / "cross_validation_per_image.csv")
    names = (suspected, spared)
    alone = summarise([row for row in rows if row.fold], names=names, resamples=1)
    told = [short(alone[name].value) for name in names]
    assert f"{told[0]} of the malignant pictures instead of .976, for a specificity of {told[1]}" in page
    folds = [
        summarise([row for row in rows if row.fold == fold], names=names, resamples=1)[spared].value
        for fold in range(5)
    ]
    assert f"from {short(min(folds))} to {short(max(folds))} by fold" in page
    near = [row.label == "malignant" for row in rows if 0.05 <= row.probabilities[-1] <= 0.15]
    assert f"with .05 to .15, {100 * np.mean(near):.1f} % are malignant" in page


def test_the_readme_counts_what_there_is():
    page, rows = prose("README.md"), read_busi_folds()
    groups = [len({row.group for row in rows if row.fold == fold}) for fold in range(5)]
    assert f"{min(groups)} to {max(groups)} groups a fold" in page
    leak = f"{random_split_leak([row.group for row in rows]) * 100:.0f} %"
    assert set(re.findall(r"(\d+ %) of the test (?:pictures|images)", page)) == {leak}
    data = load_config(EMBEDDED).training["data"]
    trained = sum(data["images"][split] for split in data["trained_on"])
    assert f"It has seen {trained} pictures" in page
    crossing = {row.group for row in rows if row.cross_class}
    assert len(crossing) == 8 and "Eight groups of BUSI hold copies of one picture" in page


def test_the_readme_tells_what_copies_give_away_as_measured():
    page = prose("README.md")
    grouped, random = (
        read_rows(ROOT / "research" / "results" / f"{name}_per_image.csv")
        for name in ("higher_rate", "random_split")
    )
    judged = {row.image_id: row for row in random}
    leaked = leaked_by(grouped, random)
    names = ("lesion_dice", "accuracy")
    found = []
    for is_leaked in (True, False):
        own = [row for row in grouped if row.image_id in judged and (row.image_id in leaked) == is_leaked]
        found.append(compare(own, [judged[row.image_id] for row in own], names=names))
    dice, accuracy = (short(found[0][name].value) for name in names)
    assert f"on the pictures with such a copy, by {dice} in Dice and {accuracy} in accuracy;" in page
    assert all(found[0][name].ci_low > 0 for name in names)
    assert all(found[1][name].ci_low < 0 for name in names), "on the others no gain can be told"


def test_the_picture_that_is_there_seven_times_costs_what_the_readme_says():
    rows = read_rows(ROOT / "research" / "results" / "embedded_test_per_image.csv")
    ((group, count),) = Counter(row.group for row in rows).most_common(1)
    copies = [row for row in rows if row.group == group]
    page = prose("README.md")
    numbers = sorted(int(re.search(r"\d+", row.image_id)[0]) for row in copies)
    assert count == 7 and f"(benign {', '.join(map(str, numbers))})" in page
    assert all(row.scores.dice == 0 for row in copies)
    rest = summarise([row for row in rows if row.group != group], names=["lesion_dice"], resamples=1)
    assert f"on the rest of the fold their Dice is {short(rest['lesion_dice'].value)}." in page


def test_what_the_choice_of_the_epoch_gave_is_in_the_rows(model_page):
    last, best = (
        read_rows(ROOT / "research" / "results" / f"{name}_per_image.csv")
        for name in ("higher_rate", "best_epoch")
    )
    found = compare(last, best)
    assert f"an accuracy of {signed_short(found['accuracy'])} beside the last one" in model_page
    coverage = [
        short(summarise(rows, names=("set_coverage",), resamples=1)["set_coverage"].value)
        for rows in (best, last)
    ]
    assert "hold the class for {} instead of {}.".format(*coverage) in model_page
    missed, false = (
        f"{found[name].value:+.3f}".replace("0.", ".")
        for name in ("lesion_missed_share", "normal_false_mask_share")
    )
    assert f"misses fewer lesions ({missed}) and draws more on normals ({false})" in model_page


def test_what_annotated_augmentation_trains_away_is_what_the_audit_found(model_page):
    annotated, mild = (results(name)["effects"] for name in ("audit", "audit_mild"))

    def shift(effects: dict, disturbance: str, name: str) -> float:
        return effects[disturbance]["shifts"][name]["value"]

    changed = [100 * shift(effects, "text_in", "class_changed") for effects in (annotated, mild)]
    moved = [shift(effects, "strokes_out", "p_malignant") for effects in (annotated, mild)]
    accuracy = [
        effects["scanner_convex"]["figures"]["accuracy"]["after"]["value"] for effects in (annotated, mild)
    ]
    assert (
        "changes the class of {:.1f} % of the pictures of fold 1 instead of {:.1f} %".format(*changed)
        in model_page
    )
    assert "probability of malignant by {} instead of {}".format(*map(short, moved)) in model_page
    assert "convex probe an accuracy of {} instead of {}".format(*map(short, accuracy)) in model_page


def test_what_annotated_augmentation_costs_is_what_the_recipes_show(model_page):
    found = results("recipes")["recipes"]["annotated"]["differences"]
    false, specificity = (found[name] for name in ("normal_false_mask_share", "malignant_specificity"))
    assert f"false masks on normals {signed_short(Estimate(**false))}" in model_page
    assert f"specificity {signed_short(Estimate(**specificity))}" in model_page
