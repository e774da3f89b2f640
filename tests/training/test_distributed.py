"""Two processes that share the batches, on the CPU."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from busi_unet.training import distributed

EPOCHS = 4
PROGRAM = Path(__file__).parents[1] / "fakes" / "training_run.py"


def options_of(data: Path, output: Path, **changes) -> str:
    tiny = {"encoder": "plain", "width": 4, "size": 32, "epochs": EPOCHS, "batch_size": 8, "seed": 1}
    return json.dumps({"data": str(data), "output": str(output), **tiny, **changes})


# `--multi_gpu` is what makes it start several processes; the environment variable puts them on the CPU.
LAUNCHER = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2")
QUIET = (
    "--num_machines",
    "1",
    "--mixed_precision",
    "no",
    "--dynamo_backend",
    "no",
    "--main_process_port",
    "0",
)


def run(processes: int, *arguments: str) -> subprocess.CompletedProcess:
    launcher = [*LAUNCHER, *QUIET] if processes == 2 else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    command = [sys.executable, *launcher, str(PROGRAM), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)


def history(output: Path) -> list[dict[str, float]]:
    with (output / "history.csv").open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def tensors(output: Path) -> bytes:
    return (output / "model" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """21 images to train on, and 7 to validate on: two processes cannot share those evenly."""
    from busi_unet.data.busi import prepare
    from busi_unet.data.phantom import write_phantom_dataset

    root = tmp_path_factory.mktemp("data")
    write_phantom_dataset(root / "phantoms", per_class=12, seed=0, size=(48, 64))
    prepare(root / "phantoms", root / "prepared", progress=False)
    return root / "prepared"


@pytest.fixture(scope="module")
def in_two(data, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("two") / "run"
    result = run(2, options_of(data, output))
    assert result.returncode == 0, result.stderr
    assert "Warning" not in result.stderr
    return output


@pytest.mark.slow
def test_two_processes_train_one_network(in_two):
    rows = history(in_two)
    assert [row["epoch"] for row in rows] == list(range(1, EPOCHS + 1))
    assert rows[-1]["validation_loss"] < rows[0]["validation_loss"]


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_at_one_step_and_they_go_on_from_it(data, in_two, tmp_path):
    output = tmp_path / "run"
    result = run(2, options_of(data, output), "terminate", "3", "1")
    assert result.returncode != 0
    assert "stopped: SIGTERM came" in result.stderr
    progress = torch.load(output / "checkpoint.pt", weights_only=True)["progress"]
    assert (progress["epoch"], progress["step"]) == (1, 1)
    assert progress["tally"][1] == 8
    result = run(2, options_of(data, output, resume=True))
    assert result.returncode == 0, result.stderr
    assert tensors(output) == tensors(in_two)


@pytest.mark.slow
def test_a_loss_that_is_no_number_on_one_process_stops_both_and_names_its_images(data, tmp_path):
    result = run(2, options_of(data, tmp_path / "run"), "nan", "2", "1")
    assert result.returncode != 0
    line = next(line for line in result.stderr.splitlines() if "loss of epoch 1 is nan" in line)
    # Four of the eight images of the step, some of them mixed with another.
    assert line.partition(" for: ")[2].partition(" Look")[0].count(", ") == 3
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_without_a_process_group_nothing_is_shared():
    assert distributed.highest([3, 0], torch.device("cpu")) == [3, 0]
    assert distributed.total([0.5], torch.device("cpu")) == [0.5]
    assert distributed.collect(["a"]) == ["a"]
