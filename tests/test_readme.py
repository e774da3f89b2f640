"""What the README promises is what the repository holds."""

import json
import re
from pathlib import Path

from busi_unet.models.pretrained import bundle_hash

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = json.loads((ROOT / "research" / "results" / "embedded_test.json").read_text(encoding="utf-8"))


def test_links_and_pictures_exist():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_scripts_it_names_exist():
    scripts = set(re.findall(r"scripts/\w+\.py", README))
    assert len(scripts) >= 5
    assert [script for script in scripts if not (ROOT / script).is_file()] == []


def test_the_figures_belong_to_the_embedded_weights():
    weights = ROOT / "busi_unet" / "weights"
    assert RESULTS["provenance"]["bundle_sha256"] == bundle_hash(weights)
    assert sum(file.stat().st_size for file in weights.iterdir()) <= 10_000_000
