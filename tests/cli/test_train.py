import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from busi_unet.cli import main
from busi_unet.models.folder import load_model

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--encoder", "plain", "--width", "4", "--size", "64", "--epochs", "1", "--batch-size", "4"]


@pytest.mark.slow
def test_accelerate_launches_the_module(prepared, tmp_path):
    run = tmp_path / "run"
    launcher = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "1", "-m", "busi_unet"]
    arguments = ["train", *TINY, "--data", str(prepared), "--output", str(run)]
    result = subprocess.run(
        [sys.executable, *launcher, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == f"Model: {run / 'model'}"
    load_model(run / "model")


@pytest.mark.slow
def test_two_processes_train_one_model_and_push_it_once(hub, prepared, tmp_path):
    run = tmp_path / "run"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "scripts/train.py"]
    arguments = [*TINY, "--data", str(prepared), "--output", str(run), "--push-to-hub", "me/busi"]
    result = subprocess.run(
        [sys.executable, *launcher, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [f"Model: {run / 'model'}", f"Published: {hub.url}/me/busi"]
    assert sum("/commit/" in request for request in hub.requests) == 1
    assert load_model(run / "model")[1].training["hardware"]["processes"] == 2


def test_data_that_are_not_prepared_are_told_in_one_message(tmp_path, capsys):
    assert main(["train", "--data", str(tmp_path), "--output", str(tmp_path / "run")]) == 1
    printed = capsys.readouterr().err
    assert "is not a prepared data set" in printed
    assert "busi-unet prepare" in printed


@pytest.mark.parametrize(
    ("token", "repo_id", "code"),
    [
        ("hf_read", "me/busi", 1),
        ("hf_write", "me/public", 2),
    ],
)
def test_what_would_stop_the_push_stops_the_training_before_it_starts(
    hub, prepared, tmp_path, capsys, token, repo_id, code
):
    hub.put("me/public", {})
    hub.login(token)
    run = tmp_path / "run"
    arguments = [*TINY, "--data", str(prepared), "--output", str(run), "--push-to-hub", repo_id, "--private"]
    assert main(["train", *arguments]) == code
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not run.exists()


@pytest.mark.parametrize("flags", [["--private"], ["--revision", "v2"]])
def test_push_flags_alone_are_wrong_usage(flags, capsys):
    assert main(["train", *flags]) == 2
    assert "--push-to-hub" in capsys.readouterr().err


@pytest.mark.slow
def test_a_failed_push_leaves_the_weights_and_can_be_resumed(hub, prepared, tmp_path, capsys):
    run = tmp_path / "run"
    hub.fail("POST", "/commit/", status=403, message="storage is locked")
    arguments = [*TINY, "--data", str(prepared), "--output", str(run)]
    assert main(["train", *arguments, "--push-to-hub", "me/busi", "--private", "--revision", "v2"]) == 1
    printed = capsys.readouterr()
    assert printed.out.strip() == f"Model: {run / 'model'}"

    assert main(shlex.split(printed.err.strip().rpartition("resume with: busi-unet ")[2])) == 0
    pushed = hub.files("me/busi", revision="v2")
    assert pushed["model.safetensors"] == (run / "model" / "model.safetensors").read_bytes()
    assert hub.repo("me/busi").private
