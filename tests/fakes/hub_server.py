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

import base64
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import close_session, constants

WRITE, READ, OTHER, WRONG = "hf_write", "hf_read", "hf_other", "hf_wrong"
USERS = {WRITE: ("me", "write"), READ: ("me", "read"), OTHER: ("other", "write")}
# Binary formats, which the Hub stores in LFS whatever their size.
LFS_SUFFIXES = (".safetensors", ".bin", ".png", ".arrow", ".parquet")
KINDS = {"": "model", "datasets/": "dataset", "spaces/": "space"}


@dataclass
class Fault:
    """What fails, for how many of the requests that match.

    Attributes:
        method: of the request; "*" for any.
        path: regular expression, searched in the path.
        status: of the answer; None for a good answer that one of the following spoils.
        times: this many requests.
        message: of the answer.
        body: the answer itself in place of the message.
        headers: more headers of the answer, such as Retry-After.
        drop: close the connection: "start" before doing what was asked, "answer" after it.
        spoil: changes the body of the answer; the announced length stays.
    """

    method: str = ""
    path: str = ""
    status: int | None = None
    times: float = 1
    message: str = "made to fail"
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: str = ""
    spoil: Callable[[bytes], bytes] = bytes


def tamper(body: bytes) -> bytes:
    """Return the same length with one byte in the middle changed."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 0xFF]) + body[middle + 1 :]


@dataclass
class Commit:
    """One commit: its id, its message and all files at that point."""

    sha: str
    message: str
    files: dict[str, bytes]


@dataclass
class Repository:
    """One repository; `branches` maps a name to a commit id."""

    private: bool
    sdk: str | None = None
    commits: list[Commit] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)

    def at(self, revision: str) -> Commit:
        sha = self.branches.get(revision, revision)
        for commit in self.commits:
            if commit.sha == sha:
                return commit
        raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def commit(self, branch: str, message: str, files: dict[str, bytes]) -> Commit:
        sha = sha1(repr((len(self.commits), branch, message, sorted(files.items()))).encode()).hexdigest()
        self.commits.append(Commit(sha, message, files))
        self.branches[branch] = sha
        return self.commits[-1]


class Refusal(Exception):
    """An answer that is not 2xx."""

    def __init__(self, status: int, code: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.more = status, code, message, more


def git_hash(content: bytes) -> str:
    return sha1(b"blob %d\0" % len(content) + content).hexdigest()


def describe(path: str, content: bytes) -> dict[str, Any]:
    """Return a file as the tree listing shows it."""
    entry = {"type": "file", "path": path, "size": len(content), "oid": git_hash(content)}
    if path.endswith(LFS_SUFFIXES):
        entry["lfs"] = {"oid": sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return entry


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
        handler = type("Handler", (_Handler,), {"hub": self})
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
    for name, value in {
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }.items():
        patch.setenv(name, value)
    # This process has read its environment already.
    for name, value in {
        "ENDPOINT": server.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": server.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": False,
        "HF_HUB_DISABLE_PROGRESS_BARS": True,
    }.items():
        patch.setattr(constants, name, value)
    patch.setattr(time, "sleep", server.waits.append)
    server.login(WRITE)
    try:
        yield server
    finally:
        close_session()
        server.stop()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def setup(self) -> None:
        super().setup()
        self.hub.connections.add(self.connection)

    def finish(self) -> None:
        self.hub.connections.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, *arguments: Any) -> None:
        """Keep the output of the tests clean."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        fault = self.hub.fault_for(self.command, path)
        if fault.drop == "start":
            return self._hang_up()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault.status is not None:
            return self._answer(fault.status, fault.body or {"error": fault.message}, fault.headers)
        try:
            with self.hub.lock:
                payload, headers = self._route(path, body)
        except Refusal as refusal:
            headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
            return self._answer(refusal.status, {"error": refusal.message, **refusal.more}, headers)
        if fault.drop == "answer":
            return self._hang_up()
        self._answer(200, payload, {**headers, **fault.headers}, fault.spoil)

    do_HEAD = do_POST = do_PUT = do_GET

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(
        self,
        status: int,
        payload: Any,
        headers: Mapping[str, str],
        spoil: Callable[[bytes], bytes] = bytes,
    ) -> None:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        sent = spoil(body)
        self.wfile.write(sent)
        if len(sent) < len(body):
            self.wfile.flush()
            self._hang_up()

    # Who asks, and what they may

    def _user(self) -> tuple[str, str] | None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token and token not in USERS:
            raise Refusal(401, "", "Invalid credentials in Authorization header")
        return USERS.get(token)

    def _readable(self, kind: str, repo: str) -> Repository:
        user = self._user()
        repository = self.hub.repositories.get((kind, repo))
        if repository is None or (repository.private and (user or [""])[0] != repo.partition("/")[0]):
            # The Hub does not tell strangers whether a private repository exists.
            raise Refusal(404 if user else 401, "RepoNotFound", "Repository not found")
        return repository

    def _may_write(self, namespace: str) -> None:
        if self._user() != (namespace, "write"):
            raise Refusal(403, "", f"You don't have the rights to write under the namespace {namespace!r}")

    def _writable(self, kind: str, repo: str) -> Repository:
        self._may_write(repo.partition("/")[0])
        return self._readable(kind, repo)

    # Routes

    def _route(self, path: str, body: bytes) -> tuple[Any, dict[str, str]]:
        for method, pattern, action in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and self.command in method.split():
                arguments = {name: unquote(value) for name, value in match.groupdict(default="").items()}
                answer = action(self, body=body, **arguments)
                return answer if isinstance(answer, tuple) else (answer, {})
        raise Refusal(404, "", f"{self.command} {path} is not known to the test Hub")

    def _whoami(self, **_: Any) -> Any:
        user = self._user()
        if user is None:
            raise Refusal(401, "", "Invalid username or password.")
        access = {"type": "access_token", "accessToken": {"displayName": "test", "role": user[1]}}
        return {"type": "user", "name": user[0], "orgs": [], "auth": access}

    def _create(self, *, body: bytes, **_: Any) -> Any:
        wanted = json.loads(body)
        namespace = wanted.get("organization") or (self._user() or [""])[0]
        self._may_write(namespace)
        kind, repo = wanted.get("type") or "model", f"{namespace}/{wanted['name']}"
        prefix = next(prefix for prefix, name in KINDS.items() if name == kind)
        url = f"{self.hub.url}/{prefix}{repo}"
        if (kind, repo) in self.hub.repositories:
            raise Refusal(409, "", "You already created this repo", url=url)
        repository = Repository(wanted.get("visibility") == "private", wanted.get("sdk"))
        repository.commit("main", "initial commit", {".gitattributes": b"*.safetensors filter=lfs\n"})
        self.hub.repositories[kind, repo] = repository
        return {"url": url, "name": repo}

    def _validate_yaml(self, **_: Any) -> Any:
        return {"errors": [], "warnings": []}

    def _info(self, *, kind: str, repo: str, revision: str, **_: Any) -> Any:
        repository = self._readable(kind, repo)
        sha = repository.at(revision or "main").sha
        return {"id": repo, "sha": sha, "private": repository.private, "sdk": repository.sdk, "tags": []}

    def _tree(self, *, kind: str, repo: str, revision: str, **_: Any) -> Any:
        files = self._readable(kind, repo).at(revision).files
        return [describe(path, content) for path, content in sorted(files.items())]

    def _branch(self, *, kind: str, repo: str, revision: str, **_: Any) -> Any:
        repository = self._writable(kind, repo)
        if revision in repository.branches:
            raise Refusal(409, "", "Reference already exists")
        repository.branches[revision] = repository.at("main").sha
        return {}

    def _preupload(self, *, kind: str, repo: str, revision: str, body: bytes, **_: Any) -> Any:
        stored = self._writable(kind, repo).at(revision).files
        answers = []
        for path in (file["path"] for file in json.loads(body)["files"]):
            lfs = path.endswith(LFS_SUFFIXES)
            answer = {"path": path, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False}
            if path in stored:
                answer["oid"] = sha256(stored[path]).hexdigest() if lfs else git_hash(stored[path])
            answers.append(answer)
        return {"files": answers}

    def _lfs_batch(self, *, repo: str, prefix: str, body: bytes) -> Any:
        self._writable(KINDS[prefix], repo)
        objects = json.loads(body)["objects"]
        for item in objects:
            if item["oid"] not in self.hub.objects:
                item["actions"] = {"upload": {"href": f"{self.hub.url}/lfs/{item['oid']}"}}
        return {"transfer": "basic", "objects": objects}

    def _lfs_upload(self, *, oid: str, body: bytes) -> Any:
        if sha256(body).hexdigest() != oid:
            raise Refusal(400, "", "The bytes do not have the announced hash")
        self.hub.objects[oid] = body
        return {}

    def _commit(self, *, kind: str, repo: str, revision: str, body: bytes) -> Any:
        repository = self._writable(kind, repo)
        files = dict(repository.at(revision).files)
        message = ""
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            match line["key"]:
                case "header":
                    message = value["summary"]
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.hub.objects[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        sha = repository.commit(revision, message, files).sha
        return {"commitOid": sha, "commitUrl": f"{self.hub.url}/{repo}/commit/{sha}"}

    def _variables(self, *, repo: str, body: bytes) -> Any:
        variables = self._writable("space", repo).variables
        wanted = json.loads(body)
        variables[wanted["key"]] = wanted["value"]
        return {key: {"value": value} for key, value in variables.items()}

    def _resolve(self, *, prefix: str, repo: str, revision: str, file: str, **_: Any) -> Any:
        commit = self._readable(KINDS[prefix], repo).at(revision)
        if file not in commit.files:
            raise Refusal(404, "EntryNotFound", "Entry not found")
        entry = describe(file, commit.files[file])
        etag = entry.get("lfs", entry)["oid"]
        return commit.files[file], {"X-Repo-Commit": commit.sha, "ETag": f'"{etag}"'}


_REPO = r"/api/(?P<kind>model|dataset|space)s/(?P<repo>[^/]+/[^/]+)"
_PAGE = r"/(?P<prefix>datasets/|spaces/|)(?P<repo>[^/]+/[^/]+)"
_ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", r"/api/whoami-v2", _Handler._whoami),
    ("POST", r"/api/repos/create", _Handler._create),
    ("POST", r"/api/validate-yaml", _Handler._validate_yaml),
    ("GET", _REPO + r"(?:/revision/(?P<revision>[^/]+))?", _Handler._info),
    ("GET", _REPO + r"/tree/(?P<revision>[^/]+)", _Handler._tree),
    ("POST", _REPO + r"/branch/(?P<revision>[^/]+)", _Handler._branch),
    ("POST", _REPO + r"/preupload/(?P<revision>[^/]+)", _Handler._preupload),
    ("POST", _REPO + r"/commit/(?P<revision>[^/]+)", _Handler._commit),
    ("POST", r"/api/spaces/(?P<repo>[^/]+/[^/]+)/variables", _Handler._variables),
    ("POST", _PAGE + r"\.git/info/lfs/objects/batch", _Handler._lfs_batch),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", _Handler._lfs_upload),
    ("GET HEAD", _PAGE + r"/resolve/(?P<revision>[^/]+)/(?P<file>.+)", _Handler._resolve),
]
