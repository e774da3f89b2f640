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
APT = ["apt-get update -qq", "apt-get install -y -qq chromium"]
PLAYWRIGHT = "python -m playwright install chromium"
TEST = f"python -m pytest {' '.join(tasks.PARALLEL)}"


@pytest.fixture
def machine(monkeypatch):
    """A machine of root with nothing in its PATH, on which every command succeeds."""
    state = SimpleNamespace(path=set(), failing="nothing", commands=[])

    def run(command, **options):
        words = ["python" if command[0] == sys.executable else Path(command[0]).name, *command[1:]]
        state.commands.append(" ".join(words))
        return SimpleNamespace(returncode=3 * (state.failing in state.commands[-1]))

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(shutil, "which", lambda name: name if name in state.path else None)
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    return state


@pytest.mark.parametrize(
    ("path", "failing", "installs"),
    [
        ({"google-chrome", "apt-get"}, "nothing", []),
        ({"apt-get"}, "nothing", APT),
        ({"apt-get"}, "apt-get install", [*APT, PLAYWRIGHT]),
        (set(), "playwright install", [PLAYWRIGHT]),
    ],
)
def test_the_tests_run_with_a_browser_if_one_can_be_installed(machine, path, failing, installs):
    machine.path, machine.failing = path, failing
    tasks.main(["test", "-k", "overlay"])
    assert machine.commands == [INSTALL, *installs, f"{TEST} -k overlay"]


@pytest.mark.parametrize(
    ("task", "failing"), [("test", "-m pip"), ("test", "-m pytest"), ("check", "ruff check")]
)
def test_a_failing_command_ends_the_task_with_its_exit_code(machine, task, failing):
    machine.path, machine.failing = {"chromium"}, failing
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
