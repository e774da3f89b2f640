"""Fetching from a Hub that nobody here wrote: olah serves local git repositories over the Hub's protocol."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.fault_table import make_model_folder
from fakes.programs import HASH_OF_OUTPUTS, run_python

OLAH = shutil.which("olah-cli", path=str(Path(sys.executable).parent))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(OLAH is None, reason="olah is not installed; run: pip install -e '.[test]'"),
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]


def commit(folder: Path) -> None:
    """Makes the folder a git repository of one commit."""
    author = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-b", "main"], ["add", "."], [*author, "commit", "-m", "First"]):
        subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The git repository of the model me/busi."""
    folder = make_model_folder(tmp_path / "mirrors" / "models" / "me" / "busi")
    commit(folder)
    return folder


@pytest.fixture
def endpoint(repository: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a running olah that serves it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = tmp_path / "olah.toml"
    mirrors = (tmp_path / "mirrors").as_posix()
    config.write_text(
        f'[basic]\nhost = "127.0.0.1"\nport = {port}\nmirrors-path = ["{mirrors}"]\n'
        "[accessibility]\noffline = true\n",
        encoding="utf-8",
    )
    log = tmp_path / "olah.txt"
    with log.open("wb") as output:
        server = subprocess.Popen([OLAH, "-c", config], cwd=tmp_path, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 120
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None and time.monotonic() < deadline, log.read_text(encoding="utf-8")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def test_a_model_from_olah_gives_the_same_outputs_bit_for_bit(
    endpoint: str, repository: Path, tmp_path: Path
):
    environment = {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")}
    here = run_python(HASH_OF_OUTPUTS.format(source=str(repository)))

    assert run_python(HASH_OF_OUTPUTS.format(source="me/busi"), **environment) == here
    # Without the server, from the cache.
    environment["HF_HUB_OFFLINE"] = "1"
    assert run_python(HASH_OF_OUTPUTS.format(source="me/busi"), **environment) == here


def test_a_model_that_olah_does_not_have(endpoint: str, tmp_path: Path):
    said = run_python(
        """
        from busi_unet.hub import fetch_model
        from busi_unet.errors import HubAccessError
        try: fetch_model("me/nothing")
        except HubAccessError as error: print(error)
        """,
        HF_ENDPOINT=endpoint,
        HF_HUB_OFFLINE="0",
        HF_HOME=str(tmp_path / "home"),
    )
    assert "me/nothing" in said
