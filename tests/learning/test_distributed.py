"""One process against two that share its batches, everything else at its default."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from busi_unet.learning import distributed

EPOCHS = 4
PROGRAM = Path(__file__).with_name("training_run.py")


def options_of(data: Path, output: Path, **changes) -> str:
    # With this seed and augmentation rounding hardly grows; with others up to a hundredfold per epoch.
    tiny = {"encoder": "plain", "width": 4, "size": 32, "epochs": EPOCHS, "batch_size": 8, "seed": 1}
    tiny |= {"augment": "mild"}
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


def assert_same_curves(one: Path, two: Path, tolerance: float) -> None:
    left, right = history(one), history(two)
    assert len(left) == len(right) == EPOCHS
    for before, after in zip(left, right, strict=True):
        del before["seconds"], after["seconds"]
        assert after == pytest.approx(before, abs=tolerance)
    assert left[0]["validation_loss"] != left[-1]["validation_loss"]


@pytest.mark.slow
def test_two_processes_follow_the_curve_of_one(data, in_two, tmp_path):
    result = run(1, options_of(data, tmp_path / "one"))
    assert result.returncode == 0, result.stderr
    assert_same_curves(tmp_path / "one", in_two, 1e-4)


@pytest.mark.slow
def test_without_rounding_the_curves_are_the_same_with_accumulation_too(data, tmp_path):
    """In float32 a small mistake could hide in the rounding."""
    for processes in (1, 2):
        result = run(processes, options_of(data, tmp_path / str(processes), accumulate=2), "double")
        assert result.returncode == 0, result.stderr
    assert_same_curves(tmp_path / "1", tmp_path / "2", 1e-10)


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
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.5))
    distributed.share_batches(model, torch.device("cpu"))
    assert [type(module) for module in model] == [nn.BatchNorm2d, nn.Dropout]
    assert distributed.highest([3, 0], torch.device("cpu")) == [3, 0]
    assert distributed.total([0.5], torch.device("cpu")) == [0.5]
    assert distributed.collect(["a"]) == ["a"]


def test_what_is_frozen_stays_so_where_batches_are_shared(monkeypatch):
    model = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2))
    model[0].requires_grad_(False)
    monkeypatch.setattr(distributed, "process_count", lambda: 2)
    distributed.share_batches(model, torch.device("cpu"))
    assert all(isinstance(module, distributed.SharedBatchNorm2d) for module in model)
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, False, True, True]


@pytest.fixture
def group_of_one(tmp_path):
    """A process group of this process alone, so that what is shared must equal what is not."""
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_shared_batch_norm_is_batch_norm(group_of_one):
    torch.manual_seed(0)
    plain, shared = nn.BatchNorm2d(3, eps=1e-3), distributed.SharedBatchNorm2d(3, eps=1e-3)
    nn.init.uniform_(plain.weight)
    shared.load_state_dict(plain.state_dict())
    left = (5 + torch.randn(4, 3, 6, 5)).requires_grad_()
    right = left.detach().clone().requires_grad_()
    weight = torch.randn_like(left)
    for layer, x in ((plain, left), (shared, right)):
        (layer(x) * weight).sum().backward()
    torch.testing.assert_close(left.grad, right.grad)
    torch.testing.assert_close(plain.weight.grad, shared.weight.grad)
    torch.testing.assert_close(plain.bias.grad, shared.bias.grad)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(shared.state_dict()[name], value)
    torch.testing.assert_close(plain.eval()(left), shared.eval()(left))


def test_shared_dropout_draws_the_noise_of_dropout(group_of_one):
    x = torch.randn(4, 100)
    torch.manual_seed(1)
    expected = nn.Dropout(0.3)(x)
    torch.manual_seed(1)
    torch.testing.assert_close(distributed.SharedDropout(0.3)(x), expected)
    assert torch.equal(distributed.SharedDropout(0.3).eval()(x), x)
