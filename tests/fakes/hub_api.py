"""The HTTP API of the small Hub of `hub_server`: what it answers, from repositories in memory."""

from __future__ import annotations

import base64
import json
import re
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from fakes.hub_server import HubServer

WRITE, READ, OTHER, WRONG = "hf_write", "hf_read", "hf_other", "hf_wrong"
USERS = {WRITE: ("me", "write"), READ: ("me", "read"), OTHER: ("other", "write")}
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


def git_hash(content: bytes) -> str:
    return sha1(b"blob %d\0" % len(content) + content).hexdigest()


def describe(path: str, content: bytes) -> dict[str, Any]:
    """Return a file as the tree listing shows it."""
    entry = {"type": "file", "path": path, "size": len(content), "oid": git_hash(content)}
    if path.endswith(LFS_SUFFIXES):
        entry["lfs"] = {"oid": sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
    return entry


class Handler(BaseHTTPRequestHandler):
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
    ("GET", r"/api/whoami-v2", Handler._whoami),
    ("POST", r"/api/repos/create", Handler._create),
    ("POST", r"/api/validate-yaml", Handler._validate_yaml),
    ("GET", _REPO + r"(?:/revision/(?P<revision>[^/]+))?", Handler._info),
    ("GET", _REPO + r"/tree/(?P<revision>[^/]+)", Handler._tree),
    ("POST", _REPO + r"/branch/(?P<revision>[^/]+)", Handler._branch),
    ("POST", _REPO + r"/preupload/(?P<revision>[^/]+)", Handler._preupload),
    ("POST", _REPO + r"/commit/(?P<revision>[^/]+)", Handler._commit),
    ("POST", r"/api/spaces/(?P<repo>[^/]+/[^/]+)/variables", Handler._variables),
    ("POST", _PAGE + r"\.git/info/lfs/objects/batch", Handler._lfs_batch),
    ("PUT", r"/lfs/(?P<oid>[0-9a-f]{64})", Handler._lfs_upload),
    ("GET HEAD", _PAGE + r"/resolve/(?P<revision>[^/]+)/(?P<file>.+)", Handler._resolve),
]
