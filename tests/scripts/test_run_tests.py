from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts" / "run_tests.py"))
PYTEST = f"python -m pytest {' '.join(SCRIPT['PARALLEL'])}"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A machine with nothing in its PATH, on which every command succeeds and is written down."""
    state = SimpleNamespace(path=set(), failing=set(), commands=[])

    def run(command: list[str], **options: Any) -> SimpleNamespace:
        words = [Path(command[0]).name if command[0] != sys.executable else "python", *map(str, command[1:])]
        line = " ".join(words)
        state.commands.append(line)
        return SimpleNamespace(returncode=int(any(part in line for part in state.failing)))

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(shutil, "which", lambda name: name if name in state.path else None)
    monkeypatch.setattr(os, "geteuid", lambda: 0, raising=False)
    return state


def test_a_browser_in_the_path_is_enough(machine: SimpleNamespace) -> None:
    machine.path = {"google-chrome", "apt-get"}

    assert SCRIPT["main"](["-k", "overlay"]) == 0
    install, test = machine.commands
    assert install.endswith(f"--editable {ROOT}[test]")
    assert test == f"{PYTEST} -k overlay"


def test_help_installs_nothing(machine: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    assert SCRIPT["main"](["--help"]) == 0
    assert machine.commands == []
    assert "python scripts/run_tests.py" in capsys.readouterr().out


def test_chromium_comes_from_apt_for_root(machine: SimpleNamespace) -> None:
    machine.path = {"apt-get"}

    assert SCRIPT["main"]([]) == 0
    assert machine.commands[1:] == [
        "apt-get update -qq",
        "apt-get install -y -qq chromium",
        PYTEST,
    ]


@pytest.mark.parametrize("root", [True, False])
def test_else_from_playwright(machine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, root: bool) -> None:
    machine.path = {"apt-get"}
    machine.failing = {"apt-get install"}
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000, raising=False)

    assert SCRIPT["main"]([]) == 0
    assert machine.commands[-2:] == ["python -m playwright install chromium", PYTEST]
    assert ("apt-get update -qq" in machine.commands) is root


def test_without_any_browser_the_tests_still_run(
    machine: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.failing = {"playwright install"}

    assert SCRIPT["main"]([]) == 0
    assert "browser tests are skipped" in capsys.readouterr().err


def test_failing_tests_and_a_failing_installation_are_told(
    machine: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.path = {"chromium"}
    machine.failing = {"-m pytest"}
    assert SCRIPT["main"]([]) == 1

    machine.failing = {"-m pip"}
    assert SCRIPT["main"]([]) == 1
    assert "pip could not install" in capsys.readouterr().err
    assert machine.commands[-1].startswith("python -m pip install")
