"""Two processes that share the batches, on the CPU."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).parents[1] / "fakes" / "training_run.py"
# `--multi_gpu` is what makes it start several processes; the environment variable puts them on the CPU.
LAUNCHER = "-m accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no"
LAUNCHER += " --dynamo_backend no --main_process_port 0"


def run(data: Path, output: Path, *accident: str, **changes) -> subprocess.CompletedProcess:
    options = {"encoder": "plain", "width": 4, "size": 32, "epochs": 3, "batch_size": 8, **changes}
    told = json.dumps({"data": str(data), "output": str(output), **options})
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    command = [sys.executable, *LAUNCHER.split(), str(PROGRAM), told, *accident]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)


def weights_file(output: Path) -> bytes:
    return (output / "model" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def unbroken(prepared, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("two") / "run"
    result = run(prepared, output)
    assert result.returncode == 0, result.stderr
    return output


def test_two_processes_train_one_network(unbroken):
    with (unbroken / "history.csv").open(newline="", encoding="utf-8") as file:
        losses = [float(row["train_loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 3
    assert all(0 < loss < 5 for loss in losses)


def test_a_signal_to_one_process_stops_both_at_one_step_and_they_continue_from_it(
    prepared, unbroken, tmp_path
):
    output = tmp_path / "run"
    result = run(prepared, output, "terminate", "2", "1")
    assert result.returncode != 0
    assert "stopped: SIGTERM came" in result.stderr
    progress = torch.load(output / "checkpoint.pt", weights_only=True)["progress"]
    steps = progress["step"] + progress["epoch"]
    assert steps >= 1
    result = run(prepared, output, resume=True)
    assert result.returncode == 0, result.stderr
    assert weights_file(output) == weights_file(unbroken)


def test_a_loss_that_is_not_finite_on_one_process_stops_both_and_names_its_images(prepared, tmp_path):
    result = run(prepared, tmp_path / "run", "nan", "1", "1")
    assert result.returncode != 0
    line = next(line for line in result.stderr.splitlines() if "loss of epoch 1 is nan" in line)
    # Four of the eight images of the step.
    assert line.partition(" for: ")[2].partition(" Check")[0].count(", ") == 3
    assert not (tmp_path / "run" / "checkpoint.pt").exists()
