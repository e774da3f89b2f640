"""Two processes that share the batches, on the CPU."""

import csv
import socket
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from fakes.training_run import start

from busi_unet.training.options import TrainOptions

pytestmark = pytest.mark.slow


class Finished(NamedTuple):
    """How two processes ended: whether both went well, and what they said."""

    well: bool
    said: str


def run(data: Path, output: Path, accident: tuple[str, int] | None = None, **changes) -> Finished:
    """Train with two processes; the accident is one of the second."""
    small = {"encoder": "plain", "width": 4, "size": 32, "epochs": 3, "batch_size": 8}
    options = TrainOptions(data=data, output=output, **small | changes)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # What a launcher tells each process.
    shared = {"ACCELERATE_USE_CPU": "true", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    said = [output.with_suffix(f".{rank}") for rank in range(2)]
    processes = [
        start(options, said[rank], accident if rank else None, **shared, RANK=str(rank), LOCAL_RANK=str(rank))
        for rank in range(2)
    ]
    for process in processes:
        process.join(600)
    return Finished(
        all(process.exitcode == 0 for process in processes), "".join(path.read_text() for path in said)
    )


def weights_file(output: Path) -> bytes:
    return (output / "model" / "model.safetensors").read_bytes()


def test_two_processes_train_one_network_and_stop_at_one_step_to_continue_from_it(prepared, tmp_path):
    unbroken, output = tmp_path / "unbroken", tmp_path / "run"
    result = run(prepared, unbroken)
    assert result.well, result.said
    assert {"Model: None", f"Model: {unbroken / 'model'}"} <= set(result.said.splitlines())
    with (unbroken / "history.csv").open(newline="", encoding="utf-8") as file:
        losses = [float(row["train_loss"]) for row in csv.DictReader(file)]
    assert len(losses) == 3
    assert all(0 < loss < 5 for loss in losses)

    result = run(prepared, output, ("terminate", 2))
    assert not result.well
    assert "stopped: SIGTERM received" in result.said
    progress = torch.load(output / "checkpoint.pt", weights_only=True)["progress"]
    assert progress["step"] + progress["epoch"] >= 1
    result = run(prepared, output, resume=True)
    assert result.well, result.said
    assert weights_file(output) == weights_file(unbroken)


def test_a_loss_that_is_not_finite_on_one_process_stops_both_and_names_its_images(prepared, tmp_path):
    result = run(prepared, tmp_path / "run", ("nan", 1))
    assert not result.well
    line = next(line for line in result.said.splitlines() if "loss of epoch 1 is nan" in line)
    # Four of the eight images of the step.
    assert line.partition(" for: ")[2].partition(" Check")[0].count(", ") == 3
    assert not (tmp_path / "run" / "checkpoint.pt").exists()
