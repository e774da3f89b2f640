import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "average_models.py"


def run(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_what_cannot_be_averaged_is_told_in_one_line(tiny_bundle, prepared, tmp_path):
    done = run(tiny_bundle, tiny_bundle, "--data", prepared, "--output", tmp_path / "mean")
    assert done.returncode == 2
    assert "was made on another split or on other data" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "mean").exists()
