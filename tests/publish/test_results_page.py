from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from busi_unet.errors import UsageError
from busi_unet.learning.summary import ImageResult, read_rows
from busi_unet.publish.results_page import (
    CROSS_VALIDATION,
    EMBEDDED,
    NOTEBOOK,
    RANDOM_SPLIT,
    README_MARKS,
    keep_report,
    readme_with_results,
    results_page,
    write_results,
)

ROOT = Path(__file__).resolve().parents[2]
SUMMARY = json.loads((ROOT / "docs" / "results" / "embedded_test.json").read_text(encoding="utf-8"))


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
    (folder / "per_image.csv").write_text("image_id\n", encoding="utf-8")
    for plot in ("roc", "gallery_worst"):
        (folder / f"{plot}.png").write_bytes(b"a picture")
    return folder


def write_rows(path: Path, rows: list[ImageResult]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0].to_row()))
        writer.writeheader()
        writer.writerows(row.to_row() for row in rows)


def test_the_repository_is_up_to_date() -> None:
    command = "run: python scripts/write_results.py"
    assert results_page(ROOT) == (ROOT / "docs" / "results.md").read_text(encoding="utf-8"), command
    assert readme_with_results(ROOT) == (ROOT / "README.md").read_text(encoding="utf-8"), command


def test_both_pages_show_the_figures_of_the_file(clone: Path, tmp_path: Path) -> None:
    keep_report(report(tmp_path / "report"), clone, EMBEDDED)
    write_results(clone)

    dice = SUMMARY["estimates"]["lesion_dice"]
    value, interval = f"{dice['value']:.3f}", f"{dice['ci_low']:.3f} to {dice['ci_high']:.3f}"
    page = (clone / "docs" / "results.md").read_text(encoding="utf-8")
    assert f"| Lesion Dice, mean | {value} | {interval} |" in page
    assert SUMMARY["provenance"]["command"] in page
    assert CROSS_VALIDATION.heading not in page
    readme = (clone / "README.md").read_text(encoding="utf-8")
    assert f"| Lesion Dice, mean | **{value}** ({interval}) |" in readme
    assert readme.startswith("# Title\n") and readme.endswith("\n\nEnd.\n")
    assert "\nold\n" not in readme


def test_no_pixels_of_the_data_are_kept(clone: Path, tmp_path: Path) -> None:
    keep_report(report(tmp_path / "report"), clone, EMBEDDED)
    kept = sorted(path.relative_to(clone / "docs").as_posix() for path in clone.rglob("docs/**/*.*"))
    assert kept == [
        "images/results/embedded_test_roc.png",
        "results/embedded_test.json",
        "results/embedded_test_per_image.csv",
    ]


def test_subsets_and_what_is_undefined(clone: Path, tmp_path: Path) -> None:
    none = {"value": None, "ci_low": None, "ci_high": None, "n": 0, "count": None, "undefined_resamples": 0}
    estimates = {**SUMMARY["estimates"], "auc_malignant": none}
    subsets = {"objection: none": SUMMARY["estimates"], "objection: any": estimates}
    keep_report(report(tmp_path / "report", estimates=estimates, subsets=subsets), clone, CROSS_VALIDATION)
    page = results_page(clone)
    assert "| figure | objection: none | objection: any |" in page
    assert "| AUC, benign against malignant | undefined | – |" in page


def test_folds_are_told_apart_where_there_are_several(clone: Path, tmp_path: Path) -> None:
    folder = report(tmp_path / "report")
    (folder / "per_image.csv").write_text(
        "image_id,fold,label,predicted_label,dice,false_mask\n"
        "a,0,benign,benign,0.5,\nb,0,normal,benign,,True\nc,1,benign,benign,0.75,\nd,1,benign,normal,0,\n",
        encoding="utf-8",
    )
    keep_report(folder, clone, CROSS_VALIDATION)
    page = results_page(clone)
    assert "| 0 | 0.500 (of 1) | 0.500 (1 of 2) | 1 of 1 |" in page
    assert "| 1 | 0.375 (of 2) | 0.500 (1 of 2) | 0 of 0 |" in page


def test_mistakes_are_named(clone: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"metrics\.json cannot be read"):
        keep_report(tmp_path, clone, EMBEDDED)
    (clone / "README.md").write_text("no marks", encoding="utf-8")
    with pytest.raises(UsageError, match="lacks the marks"):
        readme_with_results(clone)


def test_another_judgement_of_the_same_images_is_shown_beside_the_cross_validation(clone: Path) -> None:
    kept, results = ROOT / "docs" / "results", clone / "docs" / "results"
    results.mkdir()
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
    page = results_page(clone)
    section = page[page.index(f"## {NOTEBOOK.heading}") :]
    (line,) = (line for line in section.splitlines() if line.startswith("| Three-class accuracy"))
    assert f"| -{sum(wrong) / len(rows):.3f} (" in line
    assert "blank mask scores 0.906" in section
    assert f"The {len(rows)} images that were judged this way, of {len(rows)}," in section
    write_rows(table, rows[:100])
    part = results_page(clone)
    assert f"The 100 images that were judged this way, of {len(rows)}," in part
    assert "| Lesion Dice, mean | " in part[part.index(NOTEBOOK.heading) :]
    assert RANDOM_SPLIT.heading not in page
    (results / f"{CROSS_VALIDATION.name}.json").unlink()
    assert NOTEBOOK.heading not in results_page(clone)
