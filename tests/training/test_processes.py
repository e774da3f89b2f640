"""Two processes that share the batches, on the CPU."""

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).parents[1] / "fakes" / "training_run.py"


class Finished(NamedTuple):
    """How two processes ended: whether both went well, and what they said on stderr."""

    well: bool
    stderr: str


def run(data: Path, output: Path, *accident: str, **changes) -> Finished:
    options = {"encoder": "plain", "width": 4, "size": 32, "epochs": 3, "batch_size": 8, **changes}
    told = json.dumps({"data": str(data), "output": str(output), **options})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # What a launcher tells each process; tests/test_configs.py uses a real one.
    shared = {
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
    }
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(
            [sys.executable, str(PROGRAM), told, *accident],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=600)[1] for process in processes]
    return Finished(all(process.returncode == 0 for process in processes), "".join(said))


def weights_file(output: Path) -> bytes:
    return (output / "model" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def unbroken(prepared, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("two") / "run"
    result = run(prepared, output)
    assert result.well, result.stderr
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
    assert not result.well
    assert "stopped: SIGTERM came" in result.stderr
    progress = torch.load(output / "checkpoint.pt", weights_only=True)["progress"]
    steps = progress["step"] + progress["epoch"]
    assert steps >= 1
    result = run(prepared, output, resume=True)
    assert result.well, result.stderr
    assert weights_file(output) == weights_file(unbroken)


def test_a_loss_that_is_not_finite_on_one_process_stops_both_and_names_its_images(prepared, tmp_path):
    result = run(prepared, tmp_path / "run", "nan", "1", "1")
    assert not result.well
    line = next(line for line in result.stderr.splitlines() if "loss of epoch 1 is nan" in line)
    # Four of the eight images of the step.
    assert line.partition(" for: ")[2].partition(" Check")[0].count(", ") == 3
    assert not (tmp_path / "run" / "checkpoint.pt").exists()
