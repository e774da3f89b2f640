"""A small Hugging Face Hub in memory, which answers the requests of `huggingface_hub`, with faults on demand.

It knows as much of the Hub's API as the client needs to create, fill, list and download repositories. Storage
is git LFS; the client is told to do without Xet. The fixture `hub` of `tests/conftest.py` gives a fresh one.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx2
import pytest
from huggingface_hub import constants
from huggingface_hub.utils.sha import git_hash

WRITE, READ, OTHER, WRONG = "hf_write", "hf_read", "hf_other", "hf_wrong"
USERS = {WRITE: ("me", "write"), READ: ("me", "read"), OTHER: ("other", "write")}
NOBODY = ("", "")
# Binary formats, which the Hub stores in LFS whatever their size.
LFS_SUFFIXES = (".safetensors", ".bin", ".png", ".arrow", ".parquet")
KINDS = {"": "model", "datasets/": "dataset", "spaces/": "space"}


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
    drop: str = ""  # the connection breaks: "start" before doing what was asked, "answer" after it
    spoil: Callable[[bytes], bytes] = bytes  # changes the body; the announced length stays


def tamper(body: bytes) -> bytes:
    """Return the same length with one byte in the middle changed."""
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 0xFF]) + body[middle + 1 :]


def describe(path: str, content: bytes) -> dict[str, Any]:
    """Return a file as the tree listing shows it."""
    entry = {"type": "file", "path": path, "size": len(content), "oid": git_hash(content)}
    if path.endswith(LFS_SUFFIXES):
        entry["lfs"] = {"oid": sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return entry


def response(
    method: str, status: int, payload: Any, headers: Mapping[str, str], spoil: Callable[[bytes], bytes]
) -> httpx2.Response:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()

    def stream() -> Iterator[bytes]:
        sent = b"" if method == "HEAD" else spoil(body)
        yield sent
        if method != "HEAD" and len(sent) < len(body):
            raise httpx2.RemoteProtocolError("the connection was closed before the end of the body")

    return httpx2.Response(status, headers={**headers, "Content-Length": str(len(body))}, content=stream())


class FakeHub:
    """What is stored, and what is answered.

    Attributes:
        login: called with a token, uses that from now on: WRITE, READ, OTHER, WRONG; None for none.
        requests: "METHOD /path" of every request so far, failed ones too.
        waits: seconds that the client would have waited between tries.
        stopped: there is no network.
    """

    url = "https://hub.test"

    def __init__(self, on_login: Callable[[str | None], None]) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.waits: list[float] = []
        self.login = on_login
        self.lock = threading.RLock()
        self.stopped = False
        self.user = NOBODY

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

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request of the client, whose threads may ask at the same time.

        Raises:
            httpx2.TransportError: there is no network, or the connection breaks as a fault has it.
        """
        method, path = request.method, request.url.raw_path.decode().partition("?")[0]
        with self.lock:
            if self.stopped:
                raise httpx2.ConnectError("no network")
            fault = self._fault_for(method, path)
            if fault.drop == "start":
                raise httpx2.RemoteProtocolError(fault.message)
            if fault.status is not None:
                body = fault.body or {"error": fault.message}
                return response(method, fault.status, body, fault.headers, bytes)
            try:
                self.user = self._user(request.headers.get("Authorization", ""))
                payload, headers = self._route(method, path, body=request.read())
            except Refusal as refusal:
                headers = {"X-Error-Code": refusal.code, "X-Error-Message": refusal.message}
                body = {"error": refusal.message, **refusal.more}
                return response(method, refusal.status, body, headers, bytes)
            if fault.drop == "answer":
                raise httpx2.RemoteProtocolError(fault.message)
            return response(method, 200, payload, {**headers, **fault.headers}, fault.spoil)

    def _fault_for(self, method: str, path: str) -> Fault:
        """Note a request, and return what should go wrong with it, nothing by default."""
        self.requests.append(f"{method} {path}")
        for fault in self.faults:
            if fault.times > 0 and fault.method in ("*", method) and re.search(fault.path, path):
                fault.times -= 1
                return fault
        return Fault()

    # Who asks, and what they may

    def _user(self, authorization: str) -> tuple[str, str]:
        token = authorization.removeprefix("Bearer ")
        if token and token not in USERS:
            raise Refusal(401, "", "Invalid credentials in Authorization header")
        return USERS.get(token, NOBODY)

    def _existing(self, kind: str, repo: str) -> Repository:
        repository = self.repositories.get((kind, repo))
        if repository is None or (repository.private and self.user[0] != repo.partition("/")[0]):
            # The Hub does not tell strangers whether a private repository exists.
            raise Refusal(401 if self.user == NOBODY else 404, "RepoNotFound", "Repository not found")
        return repository

    # Routes

    def _route(self, method: str, path: str, **given: Any) -> tuple[Any, dict[str, str]]:
        for methods, pattern, action in _ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method in methods.split():
                arguments = {name: unquote(value) for name, value in match.groupdict(default="").items()}
                answer = action(self, **given, **arguments)
                return answer if isinstance(answer, tuple) else (answer, {})
        raise Refusal(404, "", f"{method} {path} is not known to the test Hub")

    def _whoami(self, **_: Any) -> Any:
        access = {"type": "access_token", "accessToken": {"displayName": "test", "role": self.user[1]}}
        return {"type": "user", "name": self.user[0], "orgs": [], "auth": access}

    def _create(self, *, body: bytes) -> Any:
        wanted = json.loads(body)
        namespace = wanted.get("organization") or self.user[0]
        kind, repo = wanted.get("type") or "model", f"{namespace}/{wanted['name']}"
        prefix = next(prefix for prefix, name in KINDS.items() if name == kind)
        url = f"{self.url}/{prefix}{repo}"
        if (kind, repo) in self.repositories:
            raise Refusal(409, "", "You already created this repo", url=url)
        repository = Repository(wanted.get("visibility") == "private", wanted.get("sdk"))
        repository.commit("main", "initial commit", {".gitattributes": b"*.safetensors filter=lfs\n"})
        self.repositories[kind, repo] = repository
        return {"url": url, "name": repo}

    def _info(self, *, kind: str, repo: str, revision: str, **_: Any) -> Any:
        repository = self._existing(kind, repo)
        sha = repository.at(revision or "main").sha
        return {"id": repo, "sha": sha, "private": repository.private, "sdk": repository.sdk, "tags": []}

    def _tree(self, *, kind: str, repo: str, revision: str, **_: Any) -> Any:
        files = self._existing(kind, repo).at(revision).files
        return [describe(path, content) for path, content in sorted(files.items())]

    def _branch(self, *, kind: str, repo: str, revision: str, **_: Any) -> Any:
        repository = self._existing(kind, repo)
        if revision in repository.branches:
            raise Refusal(409, "", "Reference already exists")
        repository.branches[revision] = repository.at("main").sha
        return {}

    def _preupload(self, *, kind: str, repo: str, revision: str, body: bytes) -> Any:
        stored = self._existing(kind, repo).at(revision).files
        answers = []
        for path in (file["path"] for file in json.loads(body)["files"]):
            lfs = path.endswith(LFS_SUFFIXES)
            answer = {"path": path, "uploadMode": "lfs" if lfs else "regular", "shouldIgnore": False}
            if path in stored:
                answer["oid"] = sha256(stored[path]).hexdigest() if lfs else git_hash(stored[path])
            answers.append(answer)
        return {"files": answers}

    def _lfs_batch(self, *, repo: str, prefix: str, body: bytes) -> Any:
        self._existing(KINDS[prefix], repo)
        objects = json.loads(body)["objects"]
        for item in objects:
            if item["oid"] not in self.objects:
                item["actions"] = {"upload": {"href": f"{self.url}/lfs/{item['oid']}"}}
        return {"transfer": "basic", "objects": objects}

    def _lfs_upload(self, *, oid: str, body: bytes, **_: Any) -> Any:
        self.objects[oid] = body
        return {}

    def _commit(self, *, kind: str, repo: str, revision: str, body: bytes) -> Any:
        repository = self._existing(kind, repo)
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
                    files[value["path"]] = self.objects[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        sha = repository.commit(revision, message, files).sha
        return {"commitOid": sha, "commitUrl": f"{self.url}/{repo}/commit/{sha}"}

    def _variables(self, *, repo: str, body: bytes) -> Any:
        variables = self._existing("space", repo).variables
        wanted = json.loads(body)
        variables[wanted["key"]] = wanted["value"]
        return {key: {"value": value} for key, value in variables.items()}

    def _resolve(self, *, prefix: str, repo: str, revision: str, file: str, **_: Any) -> Any:
        commit = self._existing(KINDS[prefix], repo).at(revision)
        entry = describe(file, commit.files[file])
        etag = entry.get("lfs", entry)["oid"]
        return commit.files[file], {"X-Repo-Commit": commit.sha, "ETag": f'"{etag}"'}


_REPO = r"/api/(?P<kind>model|dataset|space)s/(?P<repo>[^/]+/[^/]+)"
_PAGE = r"/(?P<prefix>datasets/|spaces/|)(?P<repo>[^/]+/[^/]+)"
_ROUTES: list[tuple[str, str, Callable[..., Any]]] = [
    ("GET", r"/api/whoami-v2", FakeHub._whoami),
    ("POST", r"/api/repos/create", FakeHub._create),
    ("POST", r"/api/validate-yaml", lambda *_, **__: {"errors": [], "warnings": []}),
    ("GET", _REPO + r"(?:/revision/(?P<revision>[^/]+))?", FakeHub._info),
    ("GET", _REPO + r"/tree/(?P<revision>[^/]+)", FakeHub._tree),
    ("POST", _REPO + r"/branch/(?P<revision>[^/]+)", FakeHub._branch),
    ("POST", _REPO + r"/preupload/(?P<revision>[^/]+)", FakeHub._preupload),
    ("POST", _REPO + r"/commit/(?P<revision>[^/]+)", FakeHub._commit),
    ("POST", r"/api/spaces/(?P<repo>[^/]+/[^/]+)/variables", FakeHub._variables),
    ("POST", _PAGE + r"\.git/info/lfs/objects/batch", FakeHub._lfs_batch),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", FakeHub._lfs_upload),
    ("GET HEAD", _PAGE + r"/resolve/(?P<revision>[^/]+)/(?P<file>.+)", FakeHub._resolve),
]


def fake_hub(home: Path, patch: pytest.MonkeyPatch) -> FakeHub:
    """Return a fresh Hub that answers the client in this process, as the user "me".

    Args:
        home: holds the client's cache.
        patch: undone by the caller.
    """

    def login(token: str | None) -> None:
        patch.delenv("HF_TOKEN", raising=False)
        if token is not None:
            patch.setenv("HF_TOKEN", token)

    hub = FakeHub(login)
    # The client has read its environment already.
    for name, value in {
        "ENDPOINT": hub.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HOME": str(home),
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_TOKEN_PATH": str(home / "token"),
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": False,
        "HF_HUB_DISABLE_PROGRESS_BARS": True,
    }.items():
        patch.setattr(constants, name, value)
    patch.setattr(httpx2.HTTPTransport, "handle_request", lambda _, request: hub.answer(request))
    patch.setattr(time, "sleep", hub.waits.append)
    login(WRITE)
    return hub
