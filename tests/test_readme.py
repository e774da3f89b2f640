"""What the README promises is what the repository holds."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = json.loads((ROOT / "docs" / "results" / "embedded_test.json").read_text(encoding="utf-8"))


def test_the_space_runs_the_pinned_gradio():
    pinned = re.search(
        r"^gradio==(\S+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert f"sdk_version: {pinned[1]}\n" in README


def test_links_and_pictures_exist():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_scripts_it_names_exist():
    scripts = set(re.findall(r"scripts/\w+\.py", README))
    assert len(scripts) >= 5
    assert [script for script in scripts if not (ROOT / script).is_file()] == []


ROWS = {
    "Lesion Dice, mean": "lesion_dice",
    "– benign": "benign_dice",
    "– malignant": "malignant_dice",
    "Lesion IoU, mean": "lesion_iou",
    "HD95 on lesion images, px": "lesion_hd95_px",
    "Lesions missed (Dice < 0.05)": "lesion_missed_share",
    "Normals with any false mask": "normal_false_mask_share",
    "Three-class accuracy": "accuracy",
    "Macro-F1": "macro_f1",
    "AUC, benign against malignant": "auc_malignant",
    "Expected calibration error": "ece",
}


@pytest.mark.parametrize(("row", "name"), ROWS.items())
def test_the_results_table_says_what_was_measured(row, name):
    estimate = RESULTS["estimates"][name]
    digits = 1 if name.endswith("_px") else 3
    value, low, high = (f"{estimate[key]:.{digits}f}" for key in ("value", "ci_low", "ci_high"))
    assert f"| {row} | {value} | {low} to {high} |" in README


def test_the_figures_belong_to_the_embedded_weights():
    from hashlib import sha256

    weights = ROOT / "busi_unet" / "weights" / "model.safetensors"
    assert RESULTS["provenance"]["weights_sha256"] == sha256(weights.read_bytes()).hexdigest()
    assert weights.stat().st_size <= 10_000_000
