import json
import shlex
import shutil

import pytest

from busi_unet.cli import main


def test_prints_the_splits_and_writes_the_report(phantom_root, tmp_path, capsys):
    source = shutil.copytree(phantom_root, tmp_path / "source")
    (source / "readme.txt").write_text("stray")
    arguments = ["prepare", str(source), "--output", str(tmp_path / "busi")]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    table = [line.strip("| ").split(" | ") for line in printed.out.splitlines() if line.startswith("|")]
    header, _, *rows = [[cell.strip() for cell in line] for line in table]
    assert header == ["split", "images", "groups", "normal", "benign", "malignant"]
    assert [row[0] for row in rows] == ["train", "validation", "test", "all"]
    assert rows[3][1] == "24"
    assert (tmp_path / "busi" / "report.html").is_file()
    assert "warning: readme.txt" in printed.err

    assert main(arguments) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "Name a SOURCE"),
        (["nowhere/at/all"], 2, "nowhere/at/all"),
        (["notes.txt"], 1, "notes.txt"),
        (["data", "--public"], 2, "--push-to-hub"),
        (["data", "--ignore-copies", "--push-to-hub", "me/data"], 2, "not published"),
    ],
)
def test_mistakes_are_one_message_and_an_exit_code(arguments, code, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("not a data set")
    assert main(["prepare", *arguments, "--output", "out"]) == code
    printed = capsys.readouterr()
    assert said in printed.err and printed.out == ""
    assert not (tmp_path / "out").exists()


def test_a_push_that_failed_is_resumed_by_the_command_it_ends_with(hub, phantom_root, tmp_path, capsys):
    output = tmp_path / "data"
    arguments = ["prepare", str(phantom_root), "--output", str(output)]
    hub.fail("POST", "/commit/", status=403, message="storage is locked")
    assert main([*arguments, "--push-to-hub", "me/phantoms"]) == 1
    failed = capsys.readouterr().err
    assert f"The data set is intact in {output}." in failed

    again = shlex.split(failed.strip().rpartition("resume with: busi-unet ")[2])
    assert main([*again, "--json"]) == 0
    pushed = json.loads(capsys.readouterr().out)
    assert pushed["published"] == f"{hub.url}/datasets/me/phantoms"
    assert hub.repo("me/phantoms", repo_type="dataset").private


def test_a_push_that_cannot_work_is_refused_before_the_work(hub, phantom_root, tmp_path, capsys):
    hub.login("hf_read")
    arguments = ["prepare", str(phantom_root), "--output", str(tmp_path / "data")]
    assert main([*arguments, "--push-to-hub", "me/phantoms"]) == 1
    assert "token" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
