"""What developers run: python tasks.py setup | check | test [PYTEST ARGUMENTS] | app | lock [UV ARGUMENTS]

setup   install this checkout, its development tools and a Chromium into the running Python environment
check   lint and check the format with ruff
test    setup, then run every test
app     serve the web app from this checkout
lock    write requirements.txt, the exact versions of the Space and of the tests; needs uv
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
LOCK = ROOT / "requirements.txt"
# Whole files to each process, so that what a file sets up is set up once.
# In the order of the folders: sorted by their number of tests, the longest file would come last, alone.
PARALLEL = ("-n", "auto", "--maxprocesses", "4", "--dist", "loadfile", "--no-loadscope-reorder")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# torch names its own versions of these, and its CPU builds need none of them.
CUDA = re.compile(r"^(cuda|nvidia|triton)\b.*\n|^.*sys_platform == 'emscripten'.*\n", re.MULTILINE)


def setup() -> None:
    """Install what the tasks need."""
    python("-m", "pip", "install", "--quiet", "--constraint", str(LOCK), "--editable", f"{ROOT}[dev]")
    if not any(map(shutil.which, BROWSERS)) and not _install_chromium():
        print("warning: no Chromium; install one, or the browser tests are skipped.", file=sys.stderr)


def check() -> None:
    """Run what needs no test data."""
    python("-m", "ruff", "check", ".")
    python("-m", "ruff", "format", "--check", ".")


def test(*arguments: str) -> None:
    """Run the tests, one thread in each process, as the processes share the cores."""
    setup()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    python("-m", "pytest", *PARALLEL, *arguments)


def app() -> None:
    """Serve the web app."""
    python("app.py")


def lock(*arguments: str) -> None:
    """Write requirements.txt; versions that are in it stay unless --upgrade or --upgrade-package is given."""
    options = ("--universal", "--python-version=3.11", "--extra=app", "--extra=torch")
    options += ("--no-annotate", "--no-header")
    run("uv", "pip", "compile", "--quiet", *options, *arguments, "pyproject.toml", "-o", str(LOCK))
    LOCK.write_text(
        "# Written by `python tasks.py lock` from the ranges in pyproject.toml.\n"
        + CUDA.sub("", LOCK.read_text(encoding="utf-8")),
        encoding="utf-8",
        newline="\n",
    )


def python(*arguments: str) -> None:
    """Run Python in the repository."""
    run(sys.executable, *arguments)


def run(*command: str) -> None:
    """Run a command in the repository; a failing one ends the task with its exit code."""
    if code := subprocess.run(command, cwd=ROOT).returncode:
        raise SystemExit(code)


def _install_chromium() -> bool:
    attempts = [[[sys.executable, "-m", "playwright", "install", "chromium"]]]
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        attempts.insert(0, [["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", "chromium"]])
    return any(all(subprocess.run(step).returncode == 0 for step in steps) for steps in attempts)


TASKS = {task.__name__: task for task in (setup, check, test, app, lock)}


def main(argv: Sequence[str]) -> None:
    """Run the task that the first argument names."""
    name, *arguments = argv or ["--help"]
    if name in ("-h", "--help"):
        print(__doc__.strip())
    elif name not in TASKS or (arguments and name not in ("test", "lock")):
        print(__doc__.strip(), file=sys.stderr)
        raise SystemExit(2)
    else:
        TASKS[name](*arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
