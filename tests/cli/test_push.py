import json
import shlex

from busi_unet.cli import main


def test_a_dry_run_lists_what_would_be_sent_without_network(tiny_model, tmp_path, capsys):
    kept = tmp_path / "kept"
    kept.mkdir()
    arguments = ["push", str(tiny_model), "me/busi", "--output", str(kept), "--json"]
    assert main([*arguments, "--dry-run"]) == 0
    files = {file["path"]: file["bytes"] for file in json.loads(capsys.readouterr().out)["files"]}
    assert files["model.safetensors"] == (tiny_model / "model.safetensors").stat().st_size
    assert {"README.md", "config.json"} <= files.keys()
    assert all((kept / path).stat().st_size == size for path, size in files.items())

    assert main(arguments) == 2
    assert "--output needs --dry-run" in capsys.readouterr().err


def test_a_push_that_failed_is_resumed_by_the_command_it_ends_with(hub, tiny_model, tmp_path, capsys):
    hub.login(None)
    model = tiny_model.rename(tmp_path / "my model")
    assert main(["push", str(model), "me/busi", "--private", "--revision", "v2"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"The weights are intact in {model}." in printed.err

    hub.login("hf_write")
    assert main(shlex.split(printed.err.strip().rpartition("resume with: busi-unet ")[2])) == 0
    assert capsys.readouterr().out.strip() == f"{hub.url}/me/busi"
    assert hub.repo("me/busi").private
    files = hub.files("me/busi", revision="v2")
    assert files["model.safetensors"] == (model / "model.safetensors").read_bytes()
