import os
import subprocess
import sys
from pathlib import Path

import pytest

from busi_unet.bundle import load_bundle

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
TINY = ["--encoder", "plain", "--width", "4", "--size", "64", "--epochs", "1", "--batch-size", "4"]


def train_tiny(data: Path, run: Path, *launcher: str, **environment: str) -> str:
    """Trains from the command line; returns stderr."""
    command = [sys.executable, *launcher, str(SCRIPTS / "train.py"), *TINY]
    result = subprocess.run(
        [*command, "--data", str(data), "--output", str(run)],
        capture_output=True,
        text=True,
        cwd=run.parent,
        env={**os.environ, **environment},
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == f"Model: {run / 'model'}"
    return result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "launcher",
    [["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1"], []],
    ids=["accelerate", "python"],
)
def test_training_from_the_command_line(prepared, tmp_path, launcher):
    assert "train: 100%" in train_tiny(prepared, tmp_path / "run", *launcher)
    load_bundle(tmp_path / "run" / "model")


@pytest.mark.slow
def test_two_processes_train_one_network(prepared, tmp_path):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    train_tiny(prepared, tmp_path / "run", *launcher, **environment)
    assert load_bundle(tmp_path / "run" / "model")[1].training["hardware"]["processes"] == 2


def test_a_users_mistake_is_one_line(tmp_path):
    command = [
        sys.executable,
        str(SCRIPTS / "train.py"),
        "--data",
        str(tmp_path),
        "--output",
        str(tmp_path / "run"),
    ]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "is not a prepared data set" in result.stderr
    assert "prepare_data.py" in result.stderr
