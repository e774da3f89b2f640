"""What the README promises is what the repository holds."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_links_and_images_exist():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_the_scripts_it_names_exist():
    scripts = set(re.findall(r"scripts/\w+\.py", README))
    assert len(scripts) >= 5
    assert [script for script in scripts if not (ROOT / script).is_file()] == []
