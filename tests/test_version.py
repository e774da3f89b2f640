import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from busi_unet import version

SOURCE = Path(version.__file__)


def commit_seen_from(package: Path) -> str:
    code = f"import runpy; print(runpy.run_path({str(package / 'version.py')!r})['commit']())"
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def package(tmp_path):
    (tmp_path / "busi_unet").mkdir()
    shutil.copy(SOURCE, tmp_path / "busi_unet")
    return tmp_path / "busi_unet"


def test_a_clone_names_its_commit_and_whether_code_was_changed(package):
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        command = ["git", "-C", str(package.parent), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    assert commit_seen_from(package) == "None", "the package is in a repository, but not of it"
    git("add", ".")
    git("commit", "-qm", "first")
    assert commit_seen_from(package) == git("rev-parse", "--short=12", "HEAD")
    with (package / "version.py").open("a", encoding="utf-8") as file:
        file.write("\n")
    assert re.fullmatch(r"[0-9a-f]{12}-dirty", commit_seen_from(package))
