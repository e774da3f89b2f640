"""Runs that are killed and resumed, and runs that several processes share, through the command itself."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from busi_unet.cli import main
from busi_unet.config import Thresholds
from busi_unet.data.phantom import make_phantom
from busi_unet.inference.run import JOURNAL_NAME, JSON_LINES_NAME, Run
from busi_unet.models.folder import load_config, save_config

IMAGES = 16


@pytest.fixture
def images(tmp_path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    image = Image.fromarray(make_phantom("benign", seed=0, size=(48, 64)).image)
    for number in range(IMAGES):
        image.rotate(number).save(folder / f"{number:02}.png")
    (folder / "05.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def arguments(images, tiny_model) -> list[str]:
    return ["predict", str(images), "--model", str(tiny_model), "--format", "png,coco,csv", "--output"]


def start(arguments: list[str], output: Path, **variables: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "busi_unet", *arguments, str(output)]
    return subprocess.Popen(command, env={**os.environ, **variables}, stdout=subprocess.DEVNULL)


def noted(output: Path) -> list[dict]:
    path = output / JOURNAL_NAME
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line)["row"] for line in lines[1:] if line.endswith(b"\n")]


def contents(output: Path) -> dict[str, bytes]:
    """Return the results; journals and records of two runs differ by their order."""
    paths = [path for path in output.iterdir() if not path.name.startswith(("resume", "written"))]
    return {path.name: path.read_bytes() for path in paths}


def test_a_run_that_was_killed_goes_on_where_it_was(arguments, tmp_path, capsys):
    whole, output = tmp_path / "whole", tmp_path / "out"
    assert main([*arguments, str(whole)]) == 1
    with start(arguments, output) as process:
        while len(noted(output)) < 3 and process.poll() is None:
            time.sleep(0.001)
        process.kill()
    done = [row["image"] for row in noted(output) if not row["error"]]
    # As a power cut leaves it.
    with (output / JOURNAL_NAME).open("ab") as file:
        file.write(b'{"place": 1')
    capsys.readouterr()
    assert main([*arguments, str(output), "--resume", "--json"]) == 1
    again = [json.loads(line)["image"] for line in capsys.readouterr().out.splitlines()]
    assert 2 <= len(done) < IMAGES and len(done) + len(again) == len({*done, *again}) == IMAGES
    assert contents(output) == contents(whole)
    assert main([*arguments, str(output), "--resume"]) == 1
    assert contents(output) == contents(whole)


def test_a_reader_that_has_had_enough_keeps_table_and_report(arguments, tmp_path):
    command = [sys.executable, "-m", "busi_unet", *arguments, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert b"error" not in process.stderr.read() and process.wait() == 1
    done = len((tmp_path / "out" / JSON_LINES_NAME).read_bytes().splitlines())
    assert 1 <= done == len((tmp_path / "out" / "predictions.csv").read_bytes().splitlines()) - 1


def test_images_that_failed_are_done_again(arguments, images, tmp_path, capsys):
    whole, output = tmp_path / "whole", tmp_path / "out"
    assert main([*arguments, str(output)]) == 1
    told = capsys.readouterr().out.splitlines()[5]
    assert main([*arguments, str(output), "--resume"]) == 1
    assert capsys.readouterr().out == f"{told}\n"
    (images / "05.png").write_bytes((images / "04.png").read_bytes())
    assert main([*arguments, str(output), "--resume"]) == 0
    assert main([*arguments, str(whole)]) == 0
    assert contents(output) == contents(whole)


def test_two_processes_give_what_one_gives(arguments, tmp_path, monkeypatch, capsys):
    whole, output = tmp_path / "whole", tmp_path / "out"
    assert main([*arguments, str(whole)]) == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    with start(arguments, output, RANK="1") as process:
        monkeypatch.setenv("RANK", "0")
        capsys.readouterr()
        assert main([*arguments, str(output)]) == 1
    # Of the other process: a launcher stops all where one fails.
    assert process.returncode == 0
    assert f"1 of {IMAGES} images could not be used" in capsys.readouterr().err
    assert contents(output) == contents(whole)
    # The rows of an earlier run must not pass for those of this one.
    assert main([*arguments, str(output)]) == 2
    monkeypatch.setenv("RANK", "2")
    assert main([*arguments, str(output), "--resume"]) == 2
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.delenv("RANK")
    assert main([*arguments, str(output), "--resume"]) == 1
    assert capsys.readouterr().out.count("\n") == 1
    assert contents(output) == contents(whole)


def test_the_first_process_waits_for_one_that_finds_its_rows_done(arguments, images, tmp_path, monkeypatch):
    arguments += [str(tmp_path / "out")]
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    (images / "12.png").write_bytes(b"no image")
    assert main(arguments) == 0
    (images / "12.png").write_bytes((images / "11.png").read_bytes())
    looks = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        assert len(looks) == 1
        with monkeypatch.context() as other:
            other.setenv("RANK", "1")
            assert main([*arguments, "--resume"]) == 0

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setenv("RANK", "0")
    assert main([*arguments, "--resume"]) == 1
    assert looks
    assert len((tmp_path / "out" / JSON_LINES_NAME).read_bytes().splitlines()) == IMAGES


def test_an_image_that_is_repaired_too_late_holds_up_no_process(arguments, images, tmp_path, monkeypatch):
    arguments += [str(tmp_path / "out")]
    monkeypatch.setenv("WORLD_SIZE", "2")
    (images / "12.png").write_bytes(b"no image")
    monkeypatch.setenv("RANK", "1")
    assert main(arguments) == 0
    end = Run.end

    def repair(run: Run, *, finished: bool) -> None:
        (images / "12.png").write_bytes((images / "11.png").read_bytes())
        end(run, finished=finished)

    monkeypatch.setattr(Run, "end", repair)
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits"))
    monkeypatch.setenv("RANK", "0")
    assert main(arguments) == 1
    assert len((tmp_path / "out" / JSON_LINES_NAME).read_bytes().splitlines()) == IMAGES


def test_a_run_that_was_stopped_before_its_first_image_can_be_resumed(arguments, tmp_path, monkeypatch):
    arguments += [str(tmp_path / "out"), "--resume"]

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Run, "save", stop)
        assert main(arguments) == 130
    assert main(arguments) == 1
    assert len(noted(tmp_path / "out")) == IMAGES


def test_another_run_is_not_gone_on_with(arguments, images, tiny_model, tmp_path, capsys):
    output = tmp_path / "out"
    main([*arguments, str(output)])
    before = {path.name: path.read_bytes() for path in output.iterdir()}

    def error(*more: str) -> str:
        capsys.readouterr()
        assert main([*arguments, str(output), "--resume", *more]) == 2
        assert {path.name: path.read_bytes() for path in output.iterdir()} == before
        return capsys.readouterr().err.splitlines()[-1]

    assert "another --anyway and another --format" in error("--anyway", "--format", "png")
    image = (images / "03.png").read_bytes()
    (images / "03.png").write_bytes(image + b" ")
    assert "03.png was changed since" in error()
    (images / "03.png").unlink()
    assert "image 4 was" in error()
    (images / "03.png").write_bytes(image)
    config = load_config(tiny_model)
    save_config(tiny_model, dataclasses.replace(config, thresholds=Thresholds(lesion=0.5)))
    assert "another model" in error()
    before[JOURNAL_NAME] = b"[]\n"
    (output / JOURNAL_NAME).write_bytes(before[JOURNAL_NAME])
    assert "is damaged" in error()
    assert main([*arguments, str(output)]) == 2
    assert JOURNAL_NAME in capsys.readouterr().err
