"""A small Hugging Face Hub for tests: real HTTP, in memory, with faults on demand.

It speaks as much of the Hub's API as `huggingface_hub` needs to create, fill, list and download repositories.
Storage is git LFS; the client is told to do without Xet. The fixture `hub` of `tests/conftest.py` points the
client of this process and of every subprocess at a fresh server, as the user "me", who may write:

    hub.url                              HF_ENDPOINT is set to it
    hub.login(token)                     use another token: WRITE, READ, OTHER, WRONG; None for none
    hub.files(repo, revision="main", repo_type="model")      path -> bytes
    hub.repo(repo, repo_type="model")    Repository: private, sdk, variables, branches, commits (newest last)
    hub.put(repo, files, repo_type="model", private=False)   fill a repository without the client
    hub.fail(method, path, ...)          let the next requests that match fail; see `Fault`
    hub.requests                         "METHOD /path" of every request so far, failed ones too
    hub.waits                            seconds that the client would have waited between tries
    hub.stop()                           no network from now on
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import close_session, constants

from fakes.hub_api import OTHER, READ, WRITE, WRONG, Commit, Handler, Repository

__all__ = ["OTHER", "READ", "WRITE", "WRONG", "Fault", "HubServer", "serve_hub", "tamper"]


@dataclass
class Fault:
    """What goes wrong with the next `times` requests of a method ("*": any) whose path matches a pattern."""

    method: str = ""
    path: str = ""
    status: int | None = None  # None: a good answer that one of those below spoils
    times: float = 1
    message: str = "made to fail"
    body: bytes | None = None  # in place of the message
    headers: dict[str, str] = field(default_factory=dict)
    drop: str = ""  # close the connection: "start" before doing what was asked, "answer" after it
    spoil: Callable[[bytes], bytes] = bytes  # changes the body; the announced length stays


def tamper(body: bytes) -> bytes:
    """Return the same length with one byte in the middle changed."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 0xFF]) + body[middle + 1 :]


class HubServer:
    """The server and what it stores. See the top of the module."""

    def __init__(self, on_login: Callable[[str | None], None]) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.waits: list[float] = []
        self.login = on_login
        self.lock = threading.RLock()
        self.connections: set[socket.socket] = set()
        handler = type("Handler", (Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Close the server and every open connection; more calls do nothing."""
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def fail(self, method: str, path: str, status: int | None = None, **options: Any) -> None:
        """Add a `Fault`."""
        self.faults.append(Fault(method, path, status, **options))

    def repo(self, repo_id: str, repo_type: str = "model") -> Repository:
        return self.repositories[repo_type, repo_id]

    def files(self, repo_id: str, revision: str = "main", repo_type: str = "model") -> dict[str, bytes]:
        return self.repo(repo_id, repo_type).at(revision).files

    def put(
        self, repo_id: str, files: Mapping[str, bytes], *, repo_type: str = "model", private: bool = False
    ) -> Commit:
        """Make `files` the content of a repository, which is created where missing."""
        repository = self.repositories.setdefault((repo_type, repo_id), Repository(private))
        return repository.commit("main", "put there by a test", dict(files))

    def fault_for(self, method: str, path: str) -> Fault:
        """Note a request, and return what should go wrong with it, nothing by default."""
        with self.lock:
            self.requests.append(f"{method} {path}")
            for fault in self.faults:
                if fault.times > 0 and fault.method in ("*", method) and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return Fault()


@contextmanager
def serve_hub(home: Path, patch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """Run a fresh Hub that the client in this process and in subprocesses talks to.

    Args:
        home: HF_HOME while it runs.
        patch: undone by the caller.
    """

    def login(token: str | None) -> None:
        patch.delenv("HF_TOKEN", raising=False)
        if token is not None:
            patch.setenv("HF_TOKEN", token)

    server = HubServer(login)
    switches = {
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": False,
        "HF_HUB_DISABLE_PROGRESS_BARS": True,
    }
    patch.setenv("HF_ENDPOINT", server.url)
    patch.setenv("HF_HOME", str(home))
    for name, on in switches.items():
        patch.setenv(name, str(int(on)))
    # This process has read its environment already.
    for name, value in {
        "ENDPOINT": server.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": server.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        **switches,
    }.items():
        patch.setattr(constants, name, value)
    patch.setattr(time, "sleep", server.waits.append)
    server.login(WRITE)
    try:
        yield server
    finally:
        close_session()
        server.stop()
