import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "cross_validate.py"
TINY = ["--encoder", "plain", "--width", "4", "--size", "32", "--epochs", "1", "--batch-size", "4"]


@pytest.mark.slow
def test_one_fold_at_a_time(prepared, tmp_path):
    command = [sys.executable, str(SCRIPT), *TINY, "--data", str(prepared), "--output", "out", "--json"]
    result = subprocess.run([*command, "--folds", "4"], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert [part["fold"] for part in summary["provenance"]["parts"]] == [4]
    assert "out/results-4" in result.stderr
    assert "--folds 4" in summary["provenance"]["command"]
    assert (tmp_path / "out" / "results-4" / "metrics.json").is_file()


def test_the_options_of_training_but_fold_and_resume():
    result = subprocess.run([sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True)
    assert "--learning-rate" in result.stdout
    assert "runs/cross_validation" in result.stdout and "runs/busi" not in result.stdout
    assert "--fold " not in result.stdout and "--resume" not in result.stdout
