from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from busi_unet.errors import UsageError
from busi_unet.evaluation.report import write_csv
from busi_unet.evaluation.summary import ImageResult, compare, read_rows
from research.results_page import (
    COMPARED,
    CROSS_VALIDATION,
    EMBEDDED,
    HIGHER_RATE,
    NOTEBOOK,
    RANDOM_SPLIT,
    README_MARKS,
    keep_report,
    leaked_by,
    readme_with_results,
    results_page,
    write_results,
)

ROOT = Path(__file__).resolve().parents[2]
SUMMARY = json.loads((ROOT / "research" / "results" / "embedded_test.json").read_text(encoding="utf-8"))
ROWS = read_rows(ROOT / "research" / "results" / "embedded_test_per_image.csv")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    root = tmp_path / "clone"
    (root / "docs").mkdir(parents=True)
    (root / "README.md").write_text(
        "# Title\n\n" + "\nold\n".join(README_MARKS) + "\n\nEnd.\n", encoding="utf-8"
    )
    return root


def report(folder: Path, **changes: object) -> Path:
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps({**SUMMARY, **changes}), encoding="utf-8")
    write_rows(folder / "per_image.csv", ROWS)
    for plot in ("roc", "gallery_worst"):
        (folder / f"{plot}.png").write_bytes(b"a picture")
    return folder


def write_rows(path: Path, rows: list[ImageResult]) -> None:
    write_csv(path, [row.to_row() for row in rows])


def unpadded(page: str) -> str:
    """A page whose tables have one blank between a cell and its border."""
    return re.sub(r" +", " ", page)


def test_the_repository_is_up_to_date() -> None:
    command = "run: python research/write_results.py"
    assert results_page(ROOT) == (ROOT / "docs" / "results.md").read_text(encoding="utf-8"), command
    assert readme_with_results(ROOT) == (ROOT / "README.md").read_text(encoding="utf-8"), command


def test_both_pages_show_the_figures_of_the_file(clone: Path, tmp_path: Path) -> None:
    keep_report(report(tmp_path / "report"), clone, EMBEDDED)
    write_results(clone)

    dice = SUMMARY["estimates"]["lesion_dice"]
    value, interval = f"{dice['value']:.3f}", f"{dice['ci_low']:.3f} to {dice['ci_high']:.3f}"
    page = unpadded((clone / "docs" / "results.md").read_text(encoding="utf-8"))
    assert f"| Lesion Dice, mean | {value} | {interval} |" in page
    assert SUMMARY["provenance"]["command"] in page
    assert CROSS_VALIDATION.heading not in page
    readme = unpadded((clone / "README.md").read_text(encoding="utf-8"))
    assert f"| Lesion Dice, mean | **{value}** ({interval}) |" in readme
    assert readme.startswith("# Title\n") and readme.endswith("\n\nEnd.\n")
    assert "\nold\n" not in readme


def test_no_pixels_of_the_data_are_kept(clone: Path, tmp_path: Path) -> None:
    keep_report(report(tmp_path / "report"), clone, EMBEDDED)
    kept = sorted(
        path.relative_to(clone).as_posix()
        for folder in ("docs", "research")
        for path in clone.glob(f"{folder}/**/*.*")
    )
    assert kept == [
        "docs/images/results/embedded_test_roc.png",
        "research/results/embedded_test.json",
        "research/results/embedded_test_per_image.csv",
    ]


def test_what_is_only_compared_keeps_no_plots(clone: Path, tmp_path: Path) -> None:
    keep_report(report(tmp_path / "report"), clone, NOTEBOOK)
    assert not list((clone / "docs" / "images" / "results").glob("*.png"))


def test_subsets_and_what_is_undefined(clone: Path, tmp_path: Path) -> None:
    none = {"value": None, "ci_low": None, "ci_high": None, "n": 0, "count": None, "undefined_resamples": 0}
    estimates = {**SUMMARY["estimates"], "auc_malignant": none}
    subsets = {"objection: none": SUMMARY["estimates"], "objection: any": estimates}
    keep_report(report(tmp_path / "report", estimates=estimates, subsets=subsets), clone, EMBEDDED)
    page = unpadded(results_page(clone))
    assert "| figure | objection: none | objection: any |" in page
    assert "| AUC, benign against malignant | undefined | – |" in page


def test_folds_are_told_apart_where_there_are_several(clone: Path, tmp_path: Path) -> None:
    page = unpadded(results_page(ROOT))
    rows = read_rows(ROOT / "research" / "results" / "cross_validation_per_image.csv")
    for fold in range(5):
        own = [row for row in rows if row.fold == fold]
        dice = [row.scores.dice for row in own if row.scores.dice is not None]
        right = sum(row.label == row.predicted_label for row in own)
        false = sum(row.scores.false_mask for row in own)
        assert (
            f"| {fold} | {sum(dice) / len(dice):.3f} (of {len(dice)}) | {right / len(own):.3f} ({right} of "
            f"{len(own)}) | {false} of {len(own) - len(dice)} |"
        ) in page
    keep_report(report(tmp_path / "report"), clone, EMBEDDED)
    assert "Fold by fold" not in results_page(clone)


def test_a_part_of_a_cross_validation_is_not_shown_as_the_whole(clone, tmp_path):
    with pytest.raises(UsageError, match=r"Five-fold cross-validation\. It holds a part of the folds"):
        keep_report(report(tmp_path / "report"), clone, CROSS_VALIDATION)


def test_the_other_recipe_cannot_be_told_from_the_published_one():
    published, other = (
        read_rows(ROOT / "research" / "results" / f"{source.name}_per_image.csv")
        for source in (CROSS_VALIDATION, HIGHER_RATE)
    )
    assert "no figure below can be told from the published" in re.sub(r"\s+", " ", results_page(ROOT))
    for name, difference in compare(published, other, names=COMPARED).items():
        assert difference.ci_low <= 0 <= difference.ci_high, name


def test_a_copy_leaks_from_the_other_folds_alone() -> None:
    def row(name: str, group: str, fold: int) -> ImageResult:
        return replace(ROWS[0], image_id=name, group=group, fold=fold)

    everything = [
        *(row(name, "apart", 0) for name in ("a", "b")),
        *(row(name, "together", 1) for name in ("c", "d")),
        *(row(name, "half judged", 2) for name in ("e", "f")),
        row("g", "single", 3),
    ]
    judged = [
        row(name, name, fold) for name, fold in (("a", 0), ("b", 1), ("c", 0), ("d", 0), ("e", 0), ("g", 1))
    ]
    assert leaked_by(everything, judged) == {"a", "b", "e"}


def test_another_level_of_suspicion_is_refused(clone: Path, tmp_path: Path) -> None:
    folder = report(tmp_path / "report")
    write_rows(folder / "per_image.csv", [replace(row, suspicious=True) for row in ROWS])
    with pytest.raises(UsageError, match="was not judged at 10%"):
        keep_report(folder, clone, EMBEDDED)


def test_mistakes_are_named(clone: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"metrics\.json cannot be read"):
        keep_report(tmp_path, clone, EMBEDDED)
    folder = report(tmp_path / "report")
    write_rows(folder / "per_image.csv", ROWS[1:])
    with pytest.raises(UsageError, match="are of two evaluations"):
        keep_report(folder, clone, EMBEDDED)
    (folder / "per_image.csv").unlink()
    with pytest.raises(UsageError, match=r"per_image\.csv cannot be read"):
        keep_report(folder, clone, EMBEDDED)
    assert not (clone / "research" / "results").exists()
    (clone / "README.md").write_text("no marks", encoding="utf-8")
    with pytest.raises(UsageError, match="lacks the marks"):
        readme_with_results(clone)


def test_a_split_that_ignores_copies_is_shown_as_nothing_else(clone: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot be shown as: What a random split .* keep copies together"):
        keep_report(report(tmp_path / "honest"), clone, RANDOM_SPLIT)
    leaky = report(tmp_path / "leaky", groups=len(ROWS))
    write_rows(
        leaky / "per_image.csv",
        [replace(row, group=row.image_id, fold=index % 5) for index, row in enumerate(ROWS)],
    )
    with pytest.raises(UsageError, match=r"cannot be shown as: Five-fold cross-validation.* ignore copies"):
        keep_report(leaky, clone, CROSS_VALIDATION)
    keep_report(leaky, clone, RANDOM_SPLIT)
    assert (clone / "research" / "results" / "random_split.json").is_file()


def test_another_judgement_of_the_same_images_is_shown_beside_the_cross_validation(clone: Path) -> None:
    kept, results = ROOT / "research" / "results", clone / "research" / "results"
    results.mkdir(parents=True)
    for name in (CROSS_VALIDATION.name, NOTEBOOK.name):
        for ending in (".json", "_per_image.csv"):
            shutil.copy(kept / f"{CROSS_VALIDATION.name}{ending}", results / f"{name}{ending}")
    table = results / "notebook_per_image.csv"
    rows = read_rows(table)
    wrong = [row.label == row.predicted_label == "normal" for row in rows]
    write_rows(
        table,
        [replace(row, predicted_label="benign") if w else row for row, w in zip(rows, wrong, strict=True)],
    )
    page = unpadded(results_page(clone))
    section = page[page.index(f"## {NOTEBOOK.heading}") :]
    (line,) = (line for line in section.splitlines() if line.startswith("| Three-class accuracy"))
    assert f"| -{sum(wrong) / len(rows):.3f} (" in line
    assert "blank mask scores 0.906" in section
    assert f"The {len(rows)} images that were judged here, of {len(rows)} there" in section
    # Both commands, its own and that of what it is compared with.
    assert section.count("scripts/cross_validate.py") == 2
    write_rows(table, rows[:100])
    part = unpadded(results_page(clone))
    assert f"The 100 images that were judged here, of {len(rows)} there" in part
    assert "| Lesion Dice, mean | " in part[part.index(NOTEBOOK.heading) :]
    assert RANDOM_SPLIT.heading not in page
    (results / f"{CROSS_VALIDATION.name}.json").unlink()
    assert NOTEBOOK.heading not in results_page(clone)


def test_the_random_split_is_compared_with_its_own_recipe() -> None:
    kept = ROOT / "research" / "results"
    commands = [
        json.loads((kept / f"{source.name}.json").read_text(encoding="utf-8"))["provenance"]["command"]
        for source in (HIGHER_RATE, RANDOM_SPLIT)
    ]
    # Where data and folds lie, and which marks to split by, is all that may differ.
    places = re.compile(r" --(output|data|by|folds)( [^-]\S*)+")
    assert places.sub("", commands[0]) == places.sub("", commands[1])
    section = results_page(ROOT).partition(f"## {RANDOM_SPLIT.heading}")[2]
    assert commands[0] in section and commands[1] in section
