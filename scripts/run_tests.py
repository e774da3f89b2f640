"""Installs what the tests need, then runs them: python scripts/run_tests.py [PYTEST ARGUMENTS]

The project and its test tools go into the Python environment that runs this script; the browser tests
also need a Chromium, which is installed where there is none.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Whole files to each process, so that what a file sets up is set up once.
PARALLEL = ("-n", "auto", "--maxprocesses", "4", "--dist", "loadfile")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main(arguments: Sequence[str]) -> int:
    """Installs, runs pytest and returns its exit code; 1 where the installation fails."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__.strip())
        return 0
    if not _succeeds(sys.executable, "-m", "pip", "install", "--quiet", "--editable", f"{ROOT}[test]"):
        print("error: pip could not install the project and its test tools.", file=sys.stderr)
        return 1
    if not any(map(shutil.which, BROWSERS)) and not _install_chromium():
        print("warning: no Chromium; install one, or the browser tests are skipped.", file=sys.stderr)
    # One thread for each of the processes, which share the cores.
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *PARALLEL, *arguments], cwd=ROOT, env=environment
    ).returncode


def _install_chromium() -> bool:
    if shutil.which("apt-get") and hasattr(os, "geteuid") and os.geteuid() == 0:
        update, install = ("apt-get", "update", "-qq"), ("apt-get", "install", "-y", "-qq", "chromium")
        if _succeeds(*update) and _succeeds(*install):
            return True
    return _succeeds(sys.executable, "-m", "playwright", "install", "chromium")


def _succeeds(*command: str) -> bool:
    return subprocess.run(command).returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
