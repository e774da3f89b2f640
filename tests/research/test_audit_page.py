from __future__ import annotations

import json
from pathlib import Path

import pytest

from busi_unet.errors import UsageError
from research.audit_page import AUDITS, audit_page, keep_audit

ROOT = Path(__file__).resolve().parents[2]


def estimate(value: float | None, n: int = 12) -> dict:
    ends = (None, None) if value is None else (value - 0.01, value + 0.01)
    return {
        "value": value,
        "ci_low": ends[0],
        "ci_high": ends[1],
        "n": n,
        "count": None,
        "undefined_resamples": 0,
    }


def report(folder: Path, accuracy: float, names: tuple[str, ...] = ("text_in", "scanner")) -> Path:
    """A report folder of an audit with one figure and one shift."""
    change = {"before": estimate(0.8), "after": estimate(accuracy), "difference": estimate(accuracy - 0.8)}
    undefined = {part: estimate(None, 0) for part in change}
    effect = {
        "images": {"normal": 2, "benign": 4, "malignant": 6},
        "figures": {"accuracy": change, "lesion_dice": undefined},
        "shifts": {"p_malignant": estimate(0.0625)},
    }
    summary = {
        "disturbances": [{"name": name, "kind": "shortcut", "meaning": f"what {name} is"} for name in names],
        "effects": {name: effect for name in sorted(names)},
        "images": {"normal": 3, "benign": 5, "malignant": 7},
        "groups": 13,
        "provenance": {"command": f"scripts/robustness.py {folder.name}", "seed": 4, "commit": "abc123"},
    }
    folder.mkdir()
    (folder / "audit.json").write_text(json.dumps(summary), encoding="utf-8")
    (folder / "per_image.csv").write_text("disturbance\n", encoding="utf-8")
    for name in ("shifts", "something_else"):
        (folder / f"{name}.png").write_bytes(b"a picture")
    return folder


def row_of(page: str, title: str, name: str) -> list[str]:
    """The cells of a disturbance in the table under a title."""
    lines = page.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(f"| {title} "))
    line = next(line for line in lines[start:] if line.startswith(f"| {name} "))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_the_repository_is_up_to_date() -> None:
    written = ROOT / "docs" / "audit.md"
    page = audit_page(ROOT)
    assert (page is None) == (not written.is_file()), "run: python research/write_results.py"
    if page is not None:
        assert page == written.read_text(encoding="utf-8"), "run: python research/write_results.py"


def test_there_is_no_page_without_an_audit(tmp_path: Path) -> None:
    assert audit_page(tmp_path) is None


def test_the_page_shows_the_figures_of_the_file(tmp_path: Path) -> None:
    keep_audit(report(tmp_path / "new", 0.7), tmp_path, AUDITS["audit"])
    page = audit_page(tmp_path)
    assert row_of(page, "Three-class accuracy", "text_in") == ["0.800 → 0.700", "-0.100 [-0.110, -0.090]"]
    assert row_of(page, "Lesion Dice, mean", "text_in") == ["–", "–"]
    assert "+0.062 [+0.052, +0.072]" in row_of(page, "Mean change of the probability", "scanner")
    assert row_of(page, "disturbance", "scanner") == ["shortcut", "what scanner is", "12"]
    assert "scripts/robustness.py new" in page
    assert "Seed 4; audited at commit abc123." in page
    assert "15 images (3 normal, 5 benign, 7 malignant) in 13 groups" in page
    # As the audit lists them, not by the alphabet of the file.
    assert page.index("| text_in") < page.index("| scanner")


def test_two_audits_lie_side_by_side(tmp_path: Path) -> None:
    keep_audit(report(tmp_path / "old", 0.6, ("text_in",)), tmp_path, AUDITS["audit_mild"])
    keep_audit(report(tmp_path / "new", 0.7), tmp_path, AUDITS["audit"])
    page = audit_page(tmp_path)
    assert "| published: before → after" in page and "| mild: before → after" in page
    accuracy = row_of(page, "Three-class accuracy", "text_in")
    assert (accuracy[0], accuracy[2]) == ("0.800 → 0.700", "0.800 → 0.600")
    assert row_of(page, "Three-class accuracy", "scanner")[2:] == ["–", "–"]
    assert "scripts/robustness.py new" in page and "scripts/robustness.py old" in page


def test_what_is_kept(tmp_path: Path) -> None:
    keep_audit(report(tmp_path / "new", 0.7), tmp_path, AUDITS["audit"])
    kept = sorted(
        path.relative_to(tmp_path).as_posix()
        for folder in ("docs", "research")
        for path in tmp_path.glob(f"{folder}/**/*.*")
    )
    assert kept == [
        "docs/images/results/audit_shifts.png",
        "research/results/audit.json",
        "research/results/audit_per_image.csv",
    ]
    assert "images/results/audit_shifts.png" in audit_page(tmp_path)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"audit\.json cannot be read"):
        keep_audit(tmp_path, tmp_path, AUDITS["audit"])
    (tmp_path / "audit.json").write_text('{"effects": {"a": {"images": 3}}}', encoding="utf-8")
    with pytest.raises(UsageError, match="is not an audit"):
        keep_audit(tmp_path, tmp_path, AUDITS["audit"])
    assert not (tmp_path / "docs").exists() and not (tmp_path / "research").exists()
