import json
import os
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("datasets")

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "prepare_data.py"
KEYS = {
    "output",
    "report",
    "busi_unet_version",
    "sources",
    "by_source",
    "without_mask",
    "left_out",
    "folds_from",
    "seed",
    "n_folds",
    "test_fold",
    "mask_files",
    "warnings",
    "images",
    "classes",
    "splits",
    "folds",
    "groups",
    "groups_with_copies",
    "images_in_copy_groups",
    "largest_group",
    "random_split_leak",
    "cross_class_groups",
    "runtime_s",
}


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    environment.pop("PYTHONPATH", None)
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_json_from_any_folder(phantom_root, tmp_path):
    source = shutil.copytree(phantom_root, tmp_path / "source")
    (source / "readme.txt").write_text("stray")
    result = run(source, "--output", "out/busi", "--test-fold", 2, "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    printed = json.loads(result.stdout)
    assert set(printed) == KEYS
    assert (printed["images"], printed["test_fold"], printed["folds_from"]) == (24, 2, "computed")
    assert list(printed["splits"]) == ["train", "validation", "test"]
    assert (tmp_path / printed["report"]).is_file()
    assert "reading source" in result.stderr, "progress goes to stderr"
    assert "warning: readme.txt" in result.stderr

    again = run(source, "--output", "out/busi", cwd=tmp_path)
    assert again.returncode == 2
    assert again.stdout == ""
    assert "--overwrite" in again.stderr
    assert "Traceback" not in again.stderr


def test_text(phantom_root, tmp_path):
    result = run(phantom_root, "--output", tmp_path / "busi", "--no-report", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "A random image-level split would leave" in result.stdout
    assert "Cross-class conflicts: " in result.stdout
    table = [line.split() for line in result.stdout.splitlines()[2:7]]
    assert table[0] == ["split", "fold", "images", "groups", "normal", "benign", "malignant"]
    assert [row[0] for row in table[1:]] == ["train", "validation", "test", "all"]
    assert table[4][1] == "24"
    assert not (tmp_path / "busi" / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ((), 2, "usage:"),
        (("nowhere/at/all",), 2, "no folder or zip called nowhere/at/all"),
        (("empty", "--output", "out"), 1, "cannot be recognised"),
        (("empty", "--output", "out", "--test-fold", "7"), 2, "invalid choice"),
        (("notes.txt", "--output", "out"), 1, "is not a zip"),
        (("someone/else", "--output", "out"), 1, "no folder or zip called someone/else either"),
    ],
)
def test_mistakes_are_one_message_and_an_exit_code(arguments, code, text, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("not a data set")
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == code
    assert text in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "out").exists()


def test_pushed_private_and_read_back(hub, phantom_root, tmp_path, capsys):
    main = runpy.run_path(str(SCRIPT))["main"]
    output = tmp_path / "data"
    arguments = [str(phantom_root), "--output", str(output), "--no-report", "--push-to-hub", "me/phantoms"]
    hub.fail("POST", "/commit/", status=403, message="storage is locked")
    assert main(arguments) == 1
    failed = capsys.readouterr()
    assert f"The data set is intact in {output}." in failed.err

    script, *again = shlex.split(failed.err.strip().rpartition("resume with: python ")[2])
    assert script == "scripts/prepare_data.py"
    assert main([*again, "--json"]) == 0
    pushed = json.loads(capsys.readouterr().out)
    assert pushed["published"] == f"{hub.url}/datasets/me/phantoms"
    assert hub.repo("me/phantoms", repo_type="dataset").private

    assert main(["me/phantoms", "--output", str(tmp_path / "back"), "--no-report", "--json"]) == 0
    back = json.loads(capsys.readouterr().out)
    assert back["folds_from"] == "prepared"
    assert [back[key] for key in ("images", "classes", "splits")] == [
        pushed[key] for key in ("images", "classes", "splits")
    ]


def test_a_push_that_cannot_work_is_refused_before_the_work(hub, phantom_root, tmp_path, capsys):
    main = runpy.run_path(str(SCRIPT))["main"]
    hub.login("hf_read")
    output = tmp_path / "data"
    assert main([str(phantom_root), "--output", str(output), "--push-to-hub", "me/phantoms"]) == 1
    assert "The token may only read" in capsys.readouterr().err
    hub.login("hf_write")
    hub.put("me/phantoms", {"README.md": b""}, repo_type="dataset")
    assert main([str(phantom_root), "--output", str(output), "--push-to-hub", "me/phantoms"]) == 2
    assert "exists and is public, not private" in capsys.readouterr().err
    assert not output.exists()
    with pytest.raises(SystemExit):
        main([str(phantom_root), "--public"])
    assert "--public needs --push-to-hub" in capsys.readouterr().err


def test_folds_that_ignore_copies_are_said_to_leak_and_are_not_published(phantom_root, tmp_path):
    result = run(phantom_root, "--output", "leaky", "--ignore-copies", "--no-report", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "figures leak" in result.stdout and "no group is in two" not in result.stdout
    result = run(phantom_root, "--output", "b", "--ignore-copies", "--push-to-hub", "a/b", cwd=tmp_path)
    assert result.returncode == 2
    assert "none to publish" in result.stderr
