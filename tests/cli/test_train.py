import shlex

import pytest

from busi_unet.cli import main

TINY = ["--encoder", "plain", "--width", "4", "--size", "64", "--epochs", "1", "--batch-size", "4"]


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
