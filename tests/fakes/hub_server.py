"""A small Hugging Face Hub for tests: real HTTP, one process, everything in memory.

It speaks as much of the Hub's HTTP API as `huggingface_hub` needs to create, fill, list and fetch
repositories of models, data sets and Spaces, and fails on demand. Storage is git LFS; Xet is not offered, and
the client is told so.

Use it through the fixture `hub` of `tests/conftest.py`, which points the client of this process and of every
subprocess at a fresh server and sets the token of the user "me", who may write:

    def test_publishing(hub, tiny_model):
        push_folder(tiny_model, "me/busi", message="First")
        assert hub.files("me/busi").keys() >= {"config.json", "model.safetensors"}

    hub.url                              "http://127.0.0.1:PORT"; HF_ENDPOINT is set to it
    hub.login(token)                     acts with another token: WRITE, READ, OTHER, WRONG; None for none
    hub.files(repo, revision="main", repo_type="model")      path -> bytes
    hub.repo(repo, repo_type="model")    Repository: private, sdk, variables, branches, commits (newest last)
    hub.put(repo, files, repo_type="model", private=False)   fills a repository without the client
    hub.fail(method, path, ...)          the next requests that match go wrong; see `Fault`
    hub.requests                         "METHOD /path" of every request so far, failed ones too
    hub.waits                            seconds that the client would have waited between tries
    hub.stop()                           the network is gone
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
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from huggingface_hub import close_session, constants

WRITE, READ, OTHER, WRONG = "hf_write", "hf_read", "hf_other", "hf_wrong"
USERS = {WRITE: ("me", "write"), READ: ("me", "read"), OTHER: ("other", "write")}
# What the Hub stores in LFS whatever the size: binary formats, of which these occur here.
LFS_SUFFIXES = (".safetensors", ".bin", ".pt", ".pkl", ".png", ".jpg", ".arrow", ".parquet")


@dataclass
class Fault:
    """What goes wrong, for how many of the requests that match.

    Attributes:
        method: of the request, such as "GET"; "*" for any.
        path: regular expression, searched in the path without the query.
        status: answer with this status; None for a good answer that one of the following spoils.
        times: this many requests, then all is well.
        message: the sentence of the answer.
        body: the answer itself instead of that sentence.
        headers: more headers of the answer, such as Retry-After.
        drop: close the connection: "start" before reading the body, "middle" half way through the body of
            the request, "answer" after doing what was asked, without a word.
        spoil: changes the body of the answer; its announced length stays that of the true body.
    """

    method: str
    path: str
    status: int | None = None
    times: float = 1
    message: str = "made to fail"
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    drop: str = ""
    spoil: Callable[[bytes], bytes] | None = None


def truncate(body: bytes) -> bytes:
    """Half of the body: the connection closes early."""
    return body[: len(body) // 2]


def tamper(body: bytes) -> bytes:
    """The same length, one byte in the middle changed."""
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
        parent = self.branches.get(branch, "")
        tree = [(path, git_hash(content)) for path, content in sorted(files.items())]
        sha = sha1(repr((len(self.commits), parent, message, tree)).encode()).hexdigest()
        self.commits.append(Commit(sha, message, files))
        self.branches[branch] = sha
        return self.commits[-1]


class Refusal(Exception):
    """An answer that is not 2xx."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def git_hash(content: bytes) -> str:
    return sha1(b"blob %d\0" % len(content) + content).hexdigest()


def is_lfs(path: str, content_size: int = 0) -> bool:
    return path.endswith(LFS_SUFFIXES) or content_size > 10_000_000


def describe(path: str, content: bytes) -> dict[str, Any]:
    """A file as the tree listing shows it."""
    entry = {"type": "file", "path": path, "size": len(content), "oid": git_hash(content)}
    if is_lfs(path, len(content)):
        oid = sha256(content).hexdigest()
        pointer = (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n".encode()
        )
        entry["oid"] = git_hash(pointer)
        entry["lfs"] = {"oid": oid, "size": len(content), "pointerSize": len(pointer)}
    return entry


class HubServer:
    """The server and what it stores. See the top of the module."""

    def __init__(self, on_login: Callable[[str | None], None] = lambda token: None) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.waits: list[float] = []
        self.login = on_login
        self.lock = threading.RLock()
        self._connections: set[socket.socket] = set()
        hub = self

        class Handler(_Handler):
            server_state = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Closes the server and every open connection; more calls do nothing."""
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def fail(self, method: str, path: str, status: int | None = None, **options: Any) -> None:
        """Adds a `Fault`."""
        self.faults.append(Fault(method, path, status, **options))

    def repo(self, repo_id: str, repo_type: str = "model") -> Repository:
        return self.repositories[repo_type, repo_id]

    def files(self, repo_id: str, revision: str = "main", repo_type: str = "model") -> dict[str, bytes]:
        return self.repo(repo_id, repo_type).at(revision).files

    def put(
        self,
        repo_id: str,
        files: Mapping[str, bytes],
        *,
        repo_type: str = "model",
        private: bool = False,
        branch: str = "main",
    ) -> Commit:
        """Makes `files` the content of a repository, which is created where missing."""
        repository = self.repositories.setdefault((repo_type, repo_id), Repository(private))
        return repository.commit(branch, "put there by a test", dict(files))

    def fault_for(self, method: str, path: str) -> Fault | None:
        with self.lock:
            self.requests.append(f"{method} {path}")
            for fault in self.faults:
                if fault.times > 0 and fault.method in ("*", method) and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None


@contextmanager
def serve_hub(home: Path, patch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A fresh Hub that the client in this process and in subprocesses talks to; the fixture `hub`.

    Args:
        home: HF_HOME while it runs.
        patch: undone by the caller.
    """

    def login(token: str | None) -> None:
        if token is None:
            patch.delenv("HF_TOKEN", raising=False)
        else:
            patch.setenv("HF_TOKEN", token)

    server = HubServer(login)
    for name, value in {
        "HF_ENDPOINT": server.url,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        # hf_xet repeats a request for minutes.
        "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "1",
        "HF_XET_CLIENT_RETRY_BASE_DELAY": "10ms",
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
    server_state: HubServer

    def setup(self) -> None:
        super().setup()
        self.server_state._connections.add(self.connection)

    def finish(self) -> None:
        self.server_state._connections.discard(self.connection)
        with suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, *arguments: Any) -> None:
        """Keeps the output of the tests clean."""

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    # One request

    def _serve(self) -> None:
        hub = self.server_state
        parts = urlsplit(self.path)
        fault = hub.fault_for(self.command, parts.path) or Fault("", "")
        length = int(self.headers.get("Content-Length") or 0)
        if fault.drop == "start":
            return self._hang_up()
        if fault.drop == "middle":
            self.rfile.read(length // 2)
            return self._hang_up()
        body = self._read_body(length)
        if fault.status is not None:
            return self._answer(fault.status, fault.body or {"error": fault.message}, fault.headers)
        try:
            with hub.lock:
                status, payload, headers = self._route(parts.path, parse_qs(parts.query), body)
        except Refusal as refusal:
            headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
            return self._answer(refusal.status, {"error": refusal.message}, headers)
        if fault.drop == "answer":
            return self._hang_up()
        self._answer(status, payload, {**headers, **fault.headers}, fault.spoil)

    def _read_body(self, length: int) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(length)
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(
        self,
        status: int,
        payload: Any,
        headers: Mapping[str, str],
        spoil: Callable[[bytes], bytes] | None = None,
    ) -> None:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.send_response(status)
        if not isinstance(payload, bytes):
            self.send_header("Content-Type", "application/json")
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        sent = spoil(body) if spoil else body
        self.wfile.write(sent)
        if len(sent) < len(body):
            self.wfile.flush()
            self._hang_up()

    # Who asks, and what they may

    def _user(self) -> tuple[str, str] | None:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not token:
            return None
        if token not in USERS:
            raise Refusal(401, "", "Invalid credentials in Authorization header")
        return USERS[token]

    def _readable(self, repo_type: str, repo_id: str) -> Repository:
        user = self._user()
        repository = self.server_state.repositories.get((repo_type, repo_id))
        owner = repo_id.partition("/")[0]
        if repository is None or (repository.private and (user is None or user[0] != owner)):
            # The Hub does not tell strangers whether a private repository exists.
            if user is None:
                raise Refusal(401, "RepoNotFound", "Invalid username or password.")
            raise Refusal(404, "RepoNotFound", "Repository not found")
        return repository

    def _may_write(self, namespace: str) -> None:
        user = self._user()
        if user is None:
            raise Refusal(401, "", "Invalid username or password.")
        if user != (namespace, "write"):
            raise Refusal(403, "", f"You don't have the rights to write under the namespace {namespace!r}")

    def _writable(self, repo_type: str, repo_id: str) -> Repository:
        repository = self._readable(repo_type, repo_id)
        self._may_write(repo_id.partition("/")[0])
        return repository

    # Routes

    def _route(self, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, Any, dict[str, str]]:
        for method, pattern, action in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and self.command in method.split():
                arguments = {name: unquote(value) for name, value in match.groupdict(default="").items()}
                answer = action(self, query=query, body=body, **arguments)
                return answer if isinstance(answer, tuple) else (200, answer, {})
        raise Refusal(404, "", f"{self.command} {path} is not known to the test Hub")

    def _whoami(self, **_: Any) -> Any:
        user = self._user()
        if user is None:
            raise Refusal(401, "", "Invalid username or password.")
        name, role = user
        access = {"type": "access_token", "accessToken": {"displayName": "test", "role": role}}
        return {"type": "user", "id": name, "name": name, "fullname": name, "orgs": [], "auth": access}

    def _create(self, *, body: bytes, **_: Any) -> Any:
        wanted = json.loads(body)
        user = self._user()
        namespace = wanted.get("organization") or (user[0] if user else "")
        self._may_write(namespace)
        repo_type, repo_id = wanted.get("type") or "model", f"{namespace}/{wanted['name']}"
        url = f"{self.server_state.url}/{_prefix(repo_type)}{repo_id}"
        if (repo_type, repo_id) in self.server_state.repositories:
            return 409, {"error": "You already created this repo", "url": url}, {}
        repository = Repository(wanted.get("visibility") == "private", wanted.get("sdk"))
        repository.commit("main", "initial commit", {".gitattributes": b"*.safetensors filter=lfs\n"})
        self.server_state.repositories[repo_type, repo_id] = repository
        return {"url": url, "name": repo_id}

    def _validate_yaml(self, *, body: bytes, **_: Any) -> Any:
        content = json.loads(body)["content"]
        if content.startswith("---\n") and "\n---" not in content[4:]:
            return 400, {"errors": [{"message": "the front matter does not end"}], "warnings": []}, {}
        return {"errors": [], "warnings": []}

    def _info(self, *, kind: str, repo: str, revision: str, query: dict[str, list[str]], **_: Any) -> Any:
        repository = self._readable(kind, repo)
        commit = repository.at(revision or "main")
        siblings: list[dict[str, Any]] = [{"rfilename": path} for path in commit.files]
        if "blobs" in query:
            for sibling in siblings:
                entry = describe(sibling["rfilename"], commit.files[sibling["rfilename"]])
                sibling.update(size=entry["size"], blobId=entry["oid"])
                if "lfs" in entry:
                    lfs = entry["lfs"]
                    sibling["lfs"] = {
                        "sha256": lfs["oid"],
                        "size": lfs["size"],
                        "pointerSize": lfs["pointerSize"],
                    }
        info = {
            "id": repo,
            "sha": commit.sha,
            "private": repository.private,
            "siblings": siblings,
            "tags": [],
        }
        if kind == "model":
            info["modelId"] = repo
        if kind == "space":
            info["sdk"] = repository.sdk
        return info

    def _tree(self, *, kind: str, repo: str, revision: str, **_: Any) -> Any:
        files = self._readable(kind, repo).at(revision).files
        return [describe(path, content) for path, content in sorted(files.items())]

    def _paths_info(self, *, kind: str, repo: str, revision: str, body: bytes, **_: Any) -> Any:
        files = self._readable(kind, repo).at(revision).files
        paths = parse_qs(body.decode())["paths"]
        return [describe(path, files[path]) for path in paths if path in files]

    def _refs(self, *, kind: str, repo: str, **_: Any) -> Any:
        branches = self._readable(kind, repo).branches.items()
        listed = [{"name": name, "ref": f"refs/heads/{name}", "targetCommit": sha} for name, sha in branches]
        return {"branches": listed, "tags": [], "converts": []}

    def _branch(self, *, kind: str, repo: str, revision: str, body: bytes, **_: Any) -> Any:
        repository = self._writable(kind, repo)
        if revision in repository.branches:
            raise Refusal(409, "", "Reference already exists")
        start = json.loads(body or b"{}").get("startingPoint") or "main"
        repository.branches[revision] = repository.at(start).sha
        return {}

    def _preupload(self, *, kind: str, repo: str, revision: str, body: bytes, **_: Any) -> Any:
        files = self._writable(kind, repo).at(revision).files
        answers = []
        for file in json.loads(body)["files"]:
            path = file["path"]
            lfs = is_lfs(path, file["size"])
            answer = {"path": path, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False}
            if path in files:
                stored = files[path]
                answer["oid"] = sha256(stored).hexdigest() if lfs else git_hash(stored)
            answers.append(answer)
        return {"files": answers}

    def _lfs_batch(self, *, repo: str, kind: str, body: bytes, **_: Any) -> Any:
        self._writable({"datasets/": "dataset", "spaces/": "space"}.get(kind, "model"), repo)
        objects = []
        for item in json.loads(body)["objects"]:
            if item["oid"] not in self.server_state.objects:
                authorization = {"Authorization": self.headers["Authorization"]}
                item["actions"] = {
                    "upload": {"href": f"{self.server_state.url}/lfs/{item['oid']}"},
                    "verify": {"href": f"{self.server_state.url}/lfs/verify", "header": authorization},
                }
            objects.append(item)
        return {"transfer": "basic", "objects": objects}

    def _lfs_upload(self, *, oid: str, body: bytes, **_: Any) -> Any:
        if sha256(body).hexdigest() != oid:
            raise Refusal(400, "", "The bytes do not have the announced hash")
        self.server_state.objects[oid] = body
        return {}

    def _lfs_verify(self, *, body: bytes, **_: Any) -> Any:
        wanted = json.loads(body)
        if len(self.server_state.objects.get(wanted["oid"], b"")) != wanted["size"]:
            raise Refusal(404, "", "No such object")
        return {}

    def _commit(self, *, kind: str, repo: str, revision: str, body: bytes, **_: Any) -> Any:
        repository = self._writable(kind, repo)
        if revision not in repository.branches:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        lines = [json.loads(line) for line in body.splitlines() if line.strip()]
        files = dict(repository.at(revision).files)
        message = ""
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "header":
                    message = value["summary"]
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    if value["oid"] not in self.server_state.objects:
                        raise Refusal(400, "", f"{value['path']} was never uploaded")
                    files[value["path"]] = self.server_state.objects[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
                case "deletedFolder":
                    folder = value["path"].rstrip("/") + "/"
                    files = {path: content for path, content in files.items() if not path.startswith(folder)}
        commit = repository.commit(revision, message, files)
        url = f"{self.server_state.url}/{_prefix(kind)}{repo}/commit/{commit.sha}"
        return {"success": True, "commitOid": commit.sha, "commitUrl": url, "hookOutput": ""}

    def _variables(self, *, repo: str, body: bytes, **_: Any) -> Any:
        repository = self._writable("space", repo)
        if self.command == "POST":
            wanted = json.loads(body)
            repository.variables[wanted["key"]] = wanted["value"]
        return {key: {"value": value, "description": ""} for key, value in repository.variables.items()}

    def _resolve(self, *, kind: str, repo: str, revision: str, file: str, **_: Any) -> Any:
        kind = {"datasets/": "dataset", "spaces/": "space"}.get(kind, "model")
        commit = self._readable(kind, repo).at(revision)
        headers = {"X-Repo-Commit": commit.sha, "Accept-Ranges": "bytes"}
        if file not in commit.files:
            raise Refusal(404, "EntryNotFound", "Entry not found")
        content = commit.files[file]
        entry = describe(file, content)
        headers["ETag"] = f'"{entry["oid"]}"'
        if "lfs" in entry:
            headers["ETag"] = headers["X-Linked-Etag"] = f'"{entry["lfs"]["oid"]}"'
            headers["X-Linked-Size"] = str(len(content))
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted:
            return 200, content, headers
        first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return 206, content[first : last + 1], headers


def _prefix(repo_type: str) -> str:
    return {"dataset": "datasets/", "space": "spaces/"}.get(repo_type, "")


_REPO = r"/api/(?P<kind>model|dataset|space)s/(?P<repo>[^/]+/[^/]+)"
_PAGE = r"/(?P<kind>datasets/|spaces/|)(?P<repo>[^/]+/[^/]+)"
_ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", r"/api/whoami-v2", _Handler._whoami),
    ("POST", r"/api/repos/create", _Handler._create),
    ("POST", r"/api/validate-yaml", _Handler._validate_yaml),
    ("GET", _REPO + r"(?:/revision/(?P<revision>[^/]+))?", _Handler._info),
    ("GET", _REPO + r"/tree/(?P<revision>[^/]+)", _Handler._tree),
    ("POST", _REPO + r"/paths-info/(?P<revision>[^/]+)", _Handler._paths_info),
    ("GET", _REPO + r"/refs", _Handler._refs),
    ("POST", _REPO + r"/branch/(?P<revision>[^/]+)", _Handler._branch),
    ("POST", _REPO + r"/preupload/(?P<revision>[^/]+)", _Handler._preupload),
    ("POST", _REPO + r"/commit/(?P<revision>[^/]+)", _Handler._commit),
    ("GET POST", r"/api/spaces/(?P<repo>[^/]+/[^/]+)/variables", _Handler._variables),
    ("POST", _PAGE + r"\.git/info/lfs/objects/batch", _Handler._lfs_batch),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", _Handler._lfs_upload),
    ("POST", r"/lfs/verify", _Handler._lfs_verify),
    ("GET HEAD", _PAGE + r"/resolve/(?P<revision>[^/]+)/(?P<file>.+)", _Handler._resolve),
]
