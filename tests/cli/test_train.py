import shlex
import shutil

import pytest

from busi_unet.cli import main
from busi_unet.training import loop


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
    arguments = ["--data", str(prepared), "--output", str(run), "--push-to-hub", repo_id, "--private"]
    assert main(["train", *arguments]) == code
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not run.exists()


@pytest.fixture
def trains(tiny_model, monkeypatch):
    """A training gives the tiny model at once."""
    monkeypatch.setattr(loop, "train", lambda options: shutil.copytree(tiny_model, options.output / "model"))


@pytest.mark.usefixtures("trains")
def test_a_failed_push_leaves_the_weights_and_can_be_resumed(hub, prepared, tmp_path, capsys):
    run = tmp_path / "run"
    hub.fail("POST", "/commit/", status=403, message="storage is locked")
    arguments = ["--data", str(prepared), "--output", str(run)]
    assert main(["train", *arguments, "--push-to-hub", "me/busi", "--private", "--revision", "v2"]) == 1
    printed = capsys.readouterr()
    assert printed.out.strip() == f"Model: {run / 'model'}"

    assert main(shlex.split(printed.err.strip().rpartition("resume with: busi-unet ")[2])) == 0
    pushed = hub.files("me/busi", revision="v2")
    assert pushed["model.safetensors"] == (run / "model" / "model.safetensors").read_bytes()
    assert hub.repo("me/busi").private


def test_of_several_processes_only_the_first_publishes(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(loop, "train", lambda options: None)
    assert main(["train", "--output", str(tmp_path / "run"), "--push-to-hub", "me/busi"]) == 0
    assert capsys.readouterr().out == "" and hub.requests == []
