import os
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from busi_unet.models.pretrained import load_bundle

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


main = runpy.run_path(str(SCRIPTS / "train.py"))["main"]
push = runpy.run_path(str(SCRIPTS / "push_to_hub.py"))["main"]


@pytest.mark.parametrize(
    ("token", "repo_id", "message", "code"),
    [
        (None, "me/busi", "There is no token to push the model me/busi with", 1),
        ("hf_wrong", "me/busi", "The Hub does not accept the token", 1),
        ("hf_read", "me/busi", "The token may only read", 1),
        ("hf_write", "other/busi", "cannot publish under the name other", 2),
        ("hf_write", "busi", "is not a Hub id", 2),
        ("hf_write", "me/public", "exists and is public, not private", 2),
    ],
)
def test_what_would_stop_the_push_stops_the_training_before_it_starts(
    hub, prepared, tmp_path, capsys, token, repo_id, message, code
):
    hub.put("me/public", {})
    hub.login(token)
    run = tmp_path / "run"
    arguments = [*TINY, "--data", str(prepared), "--output", str(run), "--push-to-hub", repo_id, "--private"]
    assert main(arguments) == code
    assert message in capsys.readouterr().err
    assert not run.exists()


@pytest.mark.parametrize("flag", [["--private"], ["--revision", "v2"]])
def test_push_flags_alone_are_wrong_usage(flag, capsys):
    with pytest.raises(SystemExit) as caught:
        main(flag)
    assert caught.value.code == 2
    assert "need --push-to-hub" in capsys.readouterr().err


@pytest.mark.slow
def test_a_failed_push_leaves_the_weights_and_can_be_resumed(hub, prepared, tmp_path, capsys):
    run = tmp_path / "run"
    hub.fail("POST", "/commit/", status=403, message="storage is locked")
    arguments = [*TINY, "--data", str(prepared), "--output", str(run)]
    assert main([*arguments, "--push-to-hub", "me/busi", "--private", "--revision", "v2"]) == 1
    printed = capsys.readouterr()
    assert printed.out.strip() == f"Model: {run / 'model'}"
    load_bundle(run / "model")
    assert f"The weights are intact in {run / 'model'}." in printed.err
    assert "model.safetensors" not in hub.files("me/busi")

    script, *again = shlex.split(printed.err.strip().rpartition("resume with: python ")[2])
    assert script == "scripts/push_to_hub.py"
    assert push(again) == 0
    pushed = hub.files("me/busi", revision="v2")
    assert pushed["model.safetensors"] == (run / "model" / "model.safetensors").read_bytes()
    assert pushed.keys() >= {"README.md", "manifest.json", "history.csv", "curves.png"}
    assert hub.repo("me/busi").private


@pytest.mark.slow
def test_only_the_main_process_pushes(hub, prepared, tmp_path):
    run = tmp_path / "run"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    arguments = [*TINY, "--data", str(prepared), "--output", str(run), "--push-to-hub", "me/busi"]
    result = subprocess.run(
        [sys.executable, *launcher, str(SCRIPTS / "train.py"), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [f"Model: {run / 'model'}", f"Published: {hub.url}/me/busi"]
    assert sum("/commit/" in request for request in hub.requests) == 1
