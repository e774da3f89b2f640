import json
import runpy
import shlex
import shutil
from pathlib import Path

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


def test_another_model_is_never_replaced_by_a_dry_run(tiny_bundle, tmp_path, capsys):
    other = shutil.copytree(tiny_bundle, tmp_path / "other" / "model")
    before = {path.name: path.read_bytes() for path in other.iterdir()}
    assert main([str(tiny_bundle), "me/busi", "--dry-run", "--output", str(other)]) == 2
    assert "which no dry run wrote" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in other.iterdir()} == before


def test_a_name_of_somebody_else_is_wrong_usage_that_nothing_resumes(hub, tiny_bundle, capsys):
    assert main([str(tiny_bundle), "someone/busi"]) == 2
    printed = capsys.readouterr().err
    assert "cannot publish under the name someone" in printed
    assert "resume" not in printed
