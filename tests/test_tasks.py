"""The task runner, on a machine where every command is only written down."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import tasks

INSTALL = f"python -m pip install --quiet --constraint {tasks.LOCK} --editable {tasks.ROOT}[dev]"
TEST = f"python -m pytest {' '.join(tasks.PARALLEL)}"


@pytest.fixture
def machine(monkeypatch):
    """A machine of root with nothing in its PATH, on which every command succeeds."""
    state = SimpleNamespace(path=set(), failing=set(), commands=[])

    def run(command, **options):
        words = ["python" if command[0] == sys.executable else Path(command[0]).name, *command[1:]]
        state.commands.append(" ".join(words))
        return SimpleNamespace(returncode=3 * any(part in state.commands[-1] for part in state.failing))

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(shutil, "which", lambda name: name if name in state.path else None)
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    return state


def test_a_browser_in_the_path_is_enough(machine):
    machine.path = {"google-chrome", "apt-get"}
    tasks.main(["test", "-k", "overlay"])
    assert machine.commands == [INSTALL, f"{TEST} -k overlay"]


def test_chromium_comes_from_apt_for_root(machine):
    machine.path = {"apt-get"}
    tasks.main(["test"])
    assert machine.commands[1:] == ["apt-get update -qq", "apt-get install -y -qq chromium", TEST]


def test_else_from_playwright(machine):
    machine.path, machine.failing = {"apt-get"}, {"apt-get install"}
    tasks.main(["test"])
    assert machine.commands[-2:] == ["python -m playwright install chromium", TEST]


def test_without_any_browser_the_tests_still_run(machine, capsys):
    machine.failing = {"playwright install"}
    tasks.main(["test"])
    assert "browser tests are skipped" in capsys.readouterr().err
    assert machine.commands[-1] == TEST


@pytest.mark.parametrize(
    ("task", "failing"), [("test", "-m pip"), ("test", "-m pytest"), ("check", "ruff check")]
)
def test_a_failing_command_ends_the_task_with_its_exit_code(machine, task, failing):
    machine.path, machine.failing = {"chromium"}, {failing}
    with pytest.raises(SystemExit) as stopped:
        tasks.main([task])
    assert stopped.value.code == 3
    assert failing in machine.commands[-1]


@pytest.mark.parametrize("argv", [["no-such-task"], ["check", "all"]])
def test_wrong_usage(machine, argv):
    with pytest.raises(SystemExit) as stopped:
        tasks.main(argv)
    assert stopped.value.code == 2
    assert machine.commands == []
