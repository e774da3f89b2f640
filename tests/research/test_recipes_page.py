import json
from pathlib import Path

import pytest

from busi_unet.errors import UsageError
from research.recipes_page import COMPARISONS, keep_recipes, recipes_page

ROOT = Path(__file__).resolve().parents[2]
WHOLE, SHORT = COMPARISONS["recipes"], COMPARISONS["recipes_short"]


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> dict:
    return {
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "n": 9,
        "count": None,
        "undefined_resamples": 0,
    }


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = {
        "command": "research/compare_recipes.py runs/recipes --baseline mild",
        "baseline": "mild",
        "baseline_options": {"epochs": 12, "freeze_depthwise": True},
        "folds": ["fold-1", "fold-2"],
        "images": 312,
        "commits": ["abc", "def"],
        "bootstrap": {"seed": 0, "resamples": 2000},
        "recipes": {
            "a_strong": {
                "changed": {"augment": "strong", "freeze_depthwise": True, "teachers": ["a", "b"]},
                "estimates": {"lesion_dice": estimate(0.8125, 0.77, 0.84), "accuracy": estimate(None)},
                "differences": {"lesion_dice": estimate(0.0125, -0.01, 0.04), "accuracy": estimate(None)},
                "parameters": 4_012_000,
                "time": 1.5,
                "minutes": 31,
            },
            "mild": {
                "changed": {},
                "estimates": {"lesion_dice": estimate(0.8, 0.76, 0.84), "accuracy": estimate(0.9, 0.8, 0.95)},
                "differences": {"lesion_dice": estimate(0.0), "accuracy": estimate(0.0)},
                "parameters": 4_012_000,
                "time": 1.0,
                "minutes": 25,
            },
        },
        "uses": {
            "with_mirror_image": {
                "estimates": {"lesion_dice": estimate(0.81, 0.7, 0.9), "accuracy": estimate(0.9, 0.8, 0.95)},
                "differences": {
                    "lesion_dice": estimate(0.01, -0.01, 0.02),
                    "accuracy": estimate(0.0, 0.0, 0.0),
                },
                "time": 2.0,
            },
        },
    }
    path = tmp_path / "recipes.json"
    path.write_text(json.dumps(found), encoding="utf-8")
    return path


def test_the_repository_is_up_to_date() -> None:
    page = ROOT / "docs" / "recipes.md"
    written = page.read_text(encoding="utf-8") if page.is_file() else None
    assert recipes_page(ROOT) == written, "run: python research/write_results.py"


def test_the_baseline_comes_first_and_the_others_beside_their_difference(file: Path, tmp_path: Path) -> None:
    assert recipes_page(tmp_path / "clone") is None
    keep_recipes(file, tmp_path / "clone", WHOLE)
    lines = [
        " ".join(line.replace("|", " | ").split())
        for line in recipes_page(tmp_path / "clone").splitlines()
        if line.startswith("|")
    ]
    rows = [line for line in lines if line.startswith(("| mild", "| a_strong", "| with"))]
    assert rows == [
        "| mild | baseline | 0.800 | 0.900 |",
        "| a_strong | `--augment strong` `--freeze-depthwise` `--teachers a b` | 0.812 | undefined |",
        "| a_strong | +0.013 (-0.010 to 0.040) | undefined (–) |",
        "| mild | 4.01 M | 1.00 × | 25 |",
        "| a_strong | 4.01 M | 1.50 × | 31 |",
        "| with mirror image | 2.00 × | 0.810 | 0.900 |",
        "| with mirror image | +0.010 (-0.010 to 0.020) | +0.000 (0.000 to 0.000) |",
    ]


def test_each_comparison_has_a_section_with_its_own_baseline(file: Path, tmp_path: Path) -> None:
    root = tmp_path / "clone"
    keep_recipes(file, root, WHOLE)
    found = json.loads(file.read_text(encoding="utf-8"))
    found |= {"command": "research/compare_recipes.py runs/short --baseline mild", "baseline_options": {}}
    file.write_text(json.dumps(found), encoding="utf-8")
    keep_recipes(file, root, SHORT)
    page = recipes_page(root)
    whole, _, short = page.partition(f"## {SHORT.heading}\n")
    assert f"## {WHOLE.heading}\n" in whole
    assert "beside the defaults: `--epochs 12` `--freeze-depthwise`." in whole
    assert "--output runs/recipes/RECIPE/fold-K" in whole
    assert "beside the defaults: none." in short
    assert "--output runs/short/RECIPE/fold-K" in short
    assert short.count("### The same networks, used otherwise") == 1
    assert "judged at commit abc, def." in short
    assert (
        "Nothing is trained here: the mean of its outputs for the picture and for the mirror image." in short
    )


def test_a_file_that_lacks_a_part_is_not_kept(file: Path, tmp_path: Path) -> None:
    found = json.loads(file.read_text(encoding="utf-8"))
    del found["recipes"]["a_strong"]["minutes"]
    file.write_text(json.dumps(found), encoding="utf-8")
    with pytest.raises(UsageError, match="compares no recipes"):
        keep_recipes(file, tmp_path / "clone", WHOLE)
    assert not (tmp_path / "clone").exists()


@pytest.mark.parametrize("text", ["", "{}", '{"recipes": {}, "baseline": "a"}', "[]"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="compares no recipes"):
        keep_recipes(path, tmp_path / "clone", WHOLE)
    with pytest.raises(UsageError, match="cannot be read"):
        keep_recipes(tmp_path / "none.json", tmp_path / "clone", WHOLE)
    assert not (tmp_path / "clone").exists()
