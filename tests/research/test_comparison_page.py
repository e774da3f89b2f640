import json
import math
import re
import shutil
from pathlib import Path

from busi_unet.config import CLASS_NAMES
from busi_unet.evaluation.metrics import MISSED_DICE
from busi_unet.evaluation.summary import read_rows
from research.comparison_page import AIMS, comparison_page

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "research" / "results"


def test_the_page_is_what_its_files_say():
    written = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
    assert comparison_page(ROOT) == written, "run: python research/write_results.py"


def test_without_a_cross_validation_there_is_no_page(tmp_path):
    assert comparison_page(tmp_path) is None


def test_an_aim_is_reached_from_the_right_side():
    reached = {aim.figure: aim for aim in AIMS}
    assert reached["accuracy"].reached_by(0.92) and not reached["accuracy"].reached_by(0.919)
    assert reached["ece"].reached_by(0.04) and not reached["ece"].reached_by(0.041)
    assert not any(aim.reached_by(None) for aim in AIMS)


def test_what_is_missing_is_counted_in_the_rows():
    lesions = [
        row for row in read_rows(RESULTS / "cross_validation_per_image.csv") if row.scores.target_area_px > 0
    ]
    missed = [row for row in lesions if row.scores.dice < MISSED_DICE]
    blank = [row for row in missed if row.scores.predicted_area_px == 0]
    page = comparison_page(ROOT)
    assert f"{len(missed)} of {len(lesions)} count as Dice 0" in page
    assert f"{len(blank)} of them get no mask, {len(missed) - len(blank)} are outlined elsewhere" in page


def test_what_other_recipes_would_add_is_counted_in_their_rows(tmp_path):
    recipes = [
        {row.image_id: row for row in read_rows(RESULTS / f"{name}_per_image.csv")}
        for name in ("cross_validation", "mild", "higher_rate")
    ]
    wrong, best, right_together = 0, [], 0
    on_fold_0, best_on_fold_0 = [], []
    for image_id, row in recipes[0].items():
        answers = [recipe[image_id] for recipe in recipes]
        assert {(answer.label, answer.fold) for answer in answers} == {(row.label, row.fold)}
        wrong += row.label not in {answer.predicted_label for answer in answers}
        if row.fold == 0:
            on_fold_0.append(row.label in {answer.predicted_label for answer in answers})
        if row.scores.dice is not None:
            best.append(max(answer.scores.dice for answer in answers))
            if row.fold == 0:
                best_on_fold_0.append(best[-1])
        sums = [sum(each) for each in zip(*(answer.probabilities for answer in answers), strict=True)]
        right_together += CLASS_NAMES[sums.index(max(sums))] == row.label
    page, images = comparison_page(ROOT), len(recipes[0])
    assert f"{wrong} of the {images} pictures get a wrong class from all 3 recipes" in page
    assert f"{sum(dice < MISSED_DICE for dice in best)} of the {len(best)} lesions are missed by all" in page
    hindsight = f"an accuracy of {1 - wrong / images:.3f} and a Dice of {sum(best) / len(best):.3f}"
    assert hindsight in page
    hindsight = (
        f"an accuracy of {sum(on_fold_0) / len(on_fold_0):.3f} and a Dice of "
        f"{sum(best_on_fold_0) / len(best_on_fold_0):.3f} there"
    )
    assert hindsight in page
    assert f"The mean of their probabilities has an accuracy of {right_together / images:.3f}" in page

    (tmp_path / "research" / "results").mkdir(parents=True)
    for file in RESULTS.glob("cross_validation*"):
        shutil.copy(file, tmp_path / "research" / "results")
    assert "In hindsight" not in comparison_page(tmp_path)


def test_what_copies_give_is_told_where_it_was_measured(tmp_path):
    estimates = json.loads((RESULTS / "random_split.json").read_text(encoding="utf-8"))["estimates"]
    (told,) = (line for line in comparison_page(ROOT).splitlines() if line.startswith("A random split"))
    for name in ("lesion_dice", "accuracy", "auc_malignant"):
        assert f"of {estimates[name]['value']:.3f}" in told

    (tmp_path / "research" / "results").mkdir(parents=True)
    for file in RESULTS.glob("cross_validation*"):
        shutil.copy(file, tmp_path / "research" / "results")
    assert "A random split" not in comparison_page(tmp_path)


def test_sensitivity_is_not_reached_without_specificity():
    rows = [line for line in comparison_page(ROOT).splitlines() if line.startswith("|")]
    told = {
        name: row.rsplit("|", 2)[1].strip()
        for row in rows
        for name in ("sensitivity", "specificity")
        if name in row
    }
    estimates = json.loads((RESULTS / "cross_validation.json").read_text(encoding="utf-8"))["estimates"]
    both = (
        estimates["malignant_sensitivity"]["value"] >= 0.95
        and estimates["malignant_specificity"]["value"] >= 0.9
    )
    assert told == dict.fromkeys(("sensitivity", "specificity"), "yes" if both else "no")


def test_results_without_marks_have_no_clean_core(tmp_path):
    (tmp_path / "research" / "results").mkdir(parents=True)
    for file in RESULTS.glob("cross_validation*"):
        shutil.copy(file, tmp_path / "research" / "results")
    file = tmp_path / "research" / "results" / "cross_validation.json"
    stored = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({**stored, "subsets": {}}), encoding="utf-8")
    page = comparison_page(tmp_path)
    assert "the same, clean core" not in page and "objection (axilla" not in page
    assert re.search(r"Three-class accuracy +\| 0.92 .*\| – +\| (yes|no)", page)


def test_no_recipe_raised_more_than_the_page_says():
    recipes = {}
    for file in RESULTS.glob("recipes*.json"):
        recipes |= {
            (file.stem, name): recipe["differences"]
            for name, recipe in json.loads(file.read_text(encoding="utf-8"))["recipes"].items()
        }
    raised = {
        figure: max(differences[figure]["value"] for differences in recipes.values())
        for figure in ("lesion_dice", "accuracy")
    }
    seed = recipes["recipes_short", "seed_1"]["accuracy"]["value"]
    lowered = -recipes["recipes_distilled", "seed_1"]["lesion_dice"]["value"]
    dice, accuracy = (f"{math.ceil(raised[figure] * 100) / 100:.2f}"[1:] for figure in raised)
    assert (
        f"raised Dice by more than {dice} or the accuracy by more than {accuracy}; another seed alone raised "
        f"the accuracy by {seed:.3f}, and yet another comparison's lowered Dice by {lowered:.3f}.".replace(
            "0.", "."
        )
    ) in re.sub(r"\s+", " ", comparison_page(ROOT))
