import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "research" / "benchmark_app.py"


def run(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True)


@pytest.mark.slow
def test_every_figure_is_measured(tiny_bundle):
    result = run("--rounds", 1, "--predictions", 2, "--model", tiny_bundle, "--json")
    assert result.returncode == 0, result.stderr
    figures = json.loads(result.stdout)
    assert figures["predict_over_echo"] == pytest.approx(figures["predict_ms"] / figures["echo_ms"])
    assert 0 < figures["page_seconds"] < figures["first_prediction_seconds"]
    if sys.platform == "linux":
        assert figures["memory_mb"] > 50


def test_wrong_usage():
    result = run("--rounds", 5, "--predictions", 2)
    assert (result.returncode, "Traceback" in result.stderr) == (2, False)
    assert "--predictions" in result.stderr
