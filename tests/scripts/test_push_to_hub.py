import json
import runpy
import shlex
from pathlib import Path

import pytest

main = runpy.run_path(str(Path(__file__).resolve().parents[2] / "scripts" / "push_to_hub.py"))["main"]


def test_a_dry_run_lists_what_would_be_sent_without_network(tiny_bundle, tmp_path, capsys):
    kept = tmp_path / "kept"
    assert main([str(tiny_bundle), "me/busi", "--dry-run", "--output", str(kept), "--json"]) == 0
    files = {file["path"]: file["bytes"] for file in json.loads(capsys.readouterr().out)["files"]}
    assert files["model.safetensors"] == (tiny_bundle / "model.safetensors").stat().st_size
    assert {"README.md", "config.json", "examples/benign.png"} <= files.keys()
    assert all((kept / path).stat().st_size == size for path, size in files.items())


def test_a_push_and_the_command_that_resumes_a_failed_one(hub, tiny_bundle, capsys):
    hub.login(None)
    assert main([str(tiny_bundle), "me/busi", "--private"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"The weights are intact in {tiny_bundle}." in printed.err

    hub.login("hf_write")
    script, *arguments = shlex.split(printed.err.strip().rpartition("resume with: python ")[2])
    assert script == "scripts/push_to_hub.py"
    assert main(arguments) == 0
    assert capsys.readouterr().out.strip() == f"{hub.url}/me/busi"
    assert hub.repo("me/busi").private
    assert hub.files("me/busi")["model.safetensors"] == (tiny_bundle / "model.safetensors").read_bytes()


def test_a_folder_without_a_model(tmp_path, capsys):
    assert main([str(tmp_path), "me/busi"]) == 2
    assert "neither the folder of a finished run nor a model folder" in capsys.readouterr().err


def test_an_output_is_kept_of_a_dry_run_only(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main([str(tmp_path), "me/busi", "--output", str(tmp_path)])
    assert caught.value.code == 2
    assert "--output needs --dry-run" in capsys.readouterr().err
