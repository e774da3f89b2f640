"""The Hugging Face Hub: pull models and data sets, push folders. The only code that talks to it.

It loads the client of the Hub: import it where it is needed.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    constants,
    errors,
    get_token,
    is_offline_mode,
    snapshot_download,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import filter_repo_objects, validate_repo_id
from huggingface_hub.utils.sha import git_hash

from busi_unet.config import CONFIG_NAME, EVALUATION_NAME, ONNX_NAME, WEIGHTS_NAME
from busi_unet.errors import HubAccessError, UsageError, first_line
from busi_unet.io.files import sha256_of

# Far above any model of this package, far below what fills a disk.
MOST_BYTES = {CONFIG_NAME: 1 << 20, WEIGHTS_NAME: 1 << 30, ONNX_NAME: 1 << 30, EVALUATION_NAME: 1 << 20}
_REQUIRED = (CONFIG_NAME, WEIGHTS_NAME)
# Seconds before each retry. Somebody waits for the app to start; what was trained for a day is worth more.
_PULL_PAUSES, _PUSH_PAUSES = (1, 2), (1, 2, 4, 8, 16)
# What a message calls each kind of repository, and where the pages of that kind are.
_KINDS = {"model": ("model", ""), "dataset": ("data set", "datasets/"), "space": ("Space", "spaces/")}

Result = TypeVar("Result")


class HubUnreachableError(HubAccessError):
    """The Hub cannot be reached or fails: the cache may serve, and if it `passes`, the next try may do."""

    def __init__(self, message: str, hint: str, *, passes: bool = True) -> None:
        super().__init__(message, hint)
        self.passes = passes


def is_hub_id(text: str) -> bool:
    """Return whether a text has the form USER/NAME that the Hub allows; the Hub is not asked."""
    try:
        validate_repo_id(text)
    except errors.HFValidationError:
        return False
    return "/" in text


def checked_id(repo_id: str) -> str:
    """Return the id itself; raise UsageError where it does not have the form USER/NAME."""
    if not is_hub_id(repo_id):
        raise UsageError(f"{repo_id!r} is not a Hub id.", "Use USER/NAME: letters, digits, dots, - and _.")
    return repo_id


def page_of(repo_id: str, repo_type: str = "model") -> str:
    """Return the address of a repository's page, on the endpoint in use."""
    return f"{constants.ENDPOINT}/{_KINDS[repo_type][1]}{repo_id}"


class _Repository:
    """One repository of the Hub, whose errors are one line each: what failed, and what to do next."""

    def __init__(self, repo_id: str, repo_type: str = "model", revision: str | None = None) -> None:
        self.where = {"repo_id": checked_id(repo_id), "repo_type": repo_type}
        self.revision = revision
        self.name = f"{_KINDS[repo_type][0]} {repo_id}"
        self.page = page_of(repo_id, repo_type)

    def ask(self, call: Callable[[], Result], pauses: Sequence[float] = _PUSH_PAUSES) -> Result:
        """Call, and repeat the call after each of the pauses while the Hub is busy or a connection breaks.

        Raises:
            HubAccessError: what the Hub, its client or the network report; other errors pass.
        """
        try:
            return call()
        except HubAccessError:
            raise
        except Exception as error:
            translated = self._translate(error)
            if translated is None:
                raise
            if not pauses or not getattr(translated, "passes", False):
                raise translated from error
        logging.getLogger(__name__).warning("%s Trying again in %g s.", translated.message, pauses[0])
        time.sleep(pauses[0])
        return self.ask(call, pauses[1:])

    def _translate(self, error: BaseException) -> HubAccessError | None:
        # The client raises errors of its own around the one that tells what happened.
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, errors.OfflineModeIsEnabled):
                return HubUnreachableError(
                    "HF_HUB_OFFLINE is set, so the Hub was not asked.",
                    f"Unset it to reach the {self.name}.",
                    passes=False,
                )
            if isinstance(cause, errors.HfHubHTTPError):
                return self._refusal(cause)
            # hf_xet raises a ConnectionError; the others come where an answer is not the Hub's.
            unusual = ConnectionError | KeyError | json.JSONDecodeError | errors.FileMetadataError
            if type(cause).__module__.startswith("httpx") or isinstance(cause, unusual):
                return HubUnreachableError(
                    f"The Hub at {constants.ENDPOINT} cannot be reached, or something else answers there.",
                    "Check the network, and HF_ENDPOINT and the proxy if set.",
                    passes=type(cause).__name__ not in ("ConnectError", "ConnectTimeout", "ProxyError"),
                )
            cause = cause.__cause__
        of_client = type(error).__module__.startswith(("huggingface_hub", "hf_xet"))
        if of_client or isinstance(error, RuntimeError):
            said = f"The Hub's client failed for the {self.name}: {first_line(error)}."
            return HubAccessError(said, "Try again.")
        return None

    def _refusal(self, error: errors.HfHubHTTPError) -> HubAccessError:
        """Return the line for an answer that is not 2xx."""
        status = error.response.status_code
        token = f"Set HF_TOKEN to a token from {constants.ENDPOINT}/settings/tokens, or run `hf auth login`."
        # 507: the account's storage is full.
        if status == 429 or (status >= 500 and status != 507):
            fault = f"The Hub is busy or failing ({status})."
            return HubUnreachableError(fault, "Try again in a few minutes.")
        if isinstance(error, errors.GatedRepoError):
            said = f"The {self.name} is gated, and this account has no access"
            hint = f"Request it at {self.page}."
        elif isinstance(error, errors.RepositoryNotFoundError):
            said = f"The Hub has no {self.name}, or it is private and this token may not read it"
            hint = f"Check the name. {token}"
        elif isinstance(error, errors.RevisionNotFoundError):
            said = f"The {self.name} has no branch, tag or commit {self.revision or 'main'!r}"
            hint = "Check the revision, or leave it out for the main branch."
        elif status == 401:
            said, hint = "The Hub does not accept the token", token
        else:
            reason = (error.server_message or "without a reason").splitlines()[0].rstrip(".")
            said = f"The Hub refused a request for the {self.name}: {reason}"
            hint = token if status == 403 else "Try again."
        return HubAccessError(f"{said} ({status}).", hint)


# --- Pull ----------------------------------------------------------------------------------------


def fetch_model(repo_id: str, *, revision: str | None = None) -> Path:
    """Download a model folder, or find it in the Hub cache.

    Only `config.json`, `model.safetensors` and, where there are any, `model.onnx` and `evaluation.json` are
    downloaded, never a pickle. Their hashes are compared with those that the Hub lists; a damaged file is
    downloaded once more. Where the Hub cannot be reached, the cached files are used, with a warning in the
    log. `HF_TOKEN`, `HF_ENDPOINT`, `HF_HOME` and `HF_HUB_OFFLINE` are respected.

    Args:
        repo_id: USER/NAME of a model repository.
        revision: branch, tag or commit; None for the main branch.

    Raises:
        UsageError: not a Hub id.
        HubAccessError: no such repository or revision, no access, not a model of this package, a damaged
            file; or the Hub cannot be reached and nothing is cached.
    """
    return _fetch(_Repository(repo_id, "model", revision), tuple(MOST_BYTES), required=_REQUIRED)


def fetch_dataset(repo_id: str, *, patterns: Sequence[str]) -> Path:
    """Download the files of a data set that match a pattern, such as "*.png", as `fetch_model` does.

    Raises:
        UsageError: not a Hub id.
        HubAccessError: no such data set, no access; or the Hub cannot be reached and nothing is cached.
    """
    return _fetch(_Repository(repo_id, "dataset"), patterns)


def _fetch(repository: _Repository, patterns: Sequence[str], required: Sequence[str] = ()) -> Path:
    """Download, or return the cached folder where the Hub cannot be reached and all of it is there."""
    wanted = {**repository.where, "revision": repository.revision, "allow_patterns": list(patterns)}
    try:
        return repository.ask(lambda: _download(repository, wanted, required), _PULL_PAUSES)
    except HubUnreachableError as error:
        try:
            cached = Path(snapshot_download(**wanted, local_files_only=True))
        except errors.LocalEntryNotFoundError:
            cached = None
        if cached is None or not all((cached / file).is_file() for file in required):
            message = f"{error.message} The {repository.name} is not cached."
            raise HubAccessError(message, error.hint) from error
        if not is_offline_mode():
            logging.getLogger(__name__).warning("%s Using the cached %s.", error.message, repository.name)
        return cached


def _download(repository: _Repository, wanted: Mapping, required: Sequence[str]) -> Path:
    # Ask for the commit first: without a network this fails at once, where the client repeats other requests
    # for long, or takes what is cached without a word. Not every mirror of the Hub knows a default revision.
    revision = repository.revision or constants.DEFAULT_REVISION
    timeout = constants.HF_HUB_ETAG_TIMEOUT
    commit = HfApi().repo_info(**repository.where, revision=revision, timeout=timeout).sha
    if not required:
        return Path(snapshot_download(**wanted))
    entries = HfApi().list_repo_tree(repository.where["repo_id"], revision=commit)
    listed = {
        entry.path: entry for entry in entries if isinstance(entry, RepoFile) and entry.path in MOST_BYTES
    }
    faults = [f"{name} not found" for name in required if name not in listed]
    for name, entry in listed.items():
        if entry.size > MOST_BYTES[name]:
            faults.append(f"{name} is larger than {MOST_BYTES[name] >> 20} MiB")
    if faults:
        raise HubAccessError(
            f"{repository.where['repo_id']} is not a model of busi_unet ({', '.join(faults)}).",
            "Name a model that was published with busi_unet.",
        )
    for again in (False, True):
        folder = Path(snapshot_download(**wanted, force_download=again))
        damaged = [name for name, entry in listed.items() if not _is_intact(folder / name, entry)]
        if not damaged:
            return folder
    raise HubAccessError(
        f"{damaged[0]} of the {repository.name} was damaged in two downloads (its checksum differs).",
        "Try again later, or on another network.",
    )


def _is_intact(path: Path, listed: RepoFile) -> bool:
    """Return whether a file has the SHA-256 (git LFS) or git hash that the Hub lists."""
    if not path.is_file():
        return False
    if listed.lfs:
        return sha256_of(path) == listed.lfs.sha256
    return git_hash(path.read_bytes()) == listed.blob_id


# --- Push ----------------------------------------------------------------------------------------


class PushResult(NamedTuple):
    """Where a folder went: page of the repository, and id of the commit that holds the folder."""

    url: str
    commit: str


def check_push(repo_id: str, *, repo_type: str = "model", private: bool | None = None) -> None:
    """Check before any work that the token, the account and the name allow a push, as `push_folder` does.

    Raises:
        UsageError: not a Hub id, a name of somebody else's, or a public repository where private is wanted.
        HubAccessError: no token, a wrong or read-only one, or the Hub cannot be reached.
    """
    repository = _Repository(repo_id, repo_type)
    account = repository.ask(HfApi().whoami) if get_token() else {}
    role = ((account.get("auth") or {}).get("accessToken") or {}).get("role")
    if not account or role == "read":
        raise HubAccessError(
            f"Pushing the {repository.name} needs a token with write permission. Nothing was sent.",
            "Set HF_TOKEN to one, or run `hf auth login`.",
        )
    namespace, _, last = repo_id.partition("/")
    own = [account["name"], *(organisation["name"] for organisation in account.get("orgs") or [])]
    # Only the Hub knows what a fine-grained token may do.
    if role == "write" and namespace not in own:
        raise UsageError(
            f"The token of {own[0]} cannot push to {namespace}. Nothing was sent.",
            f"Use {' or '.join(f'{owner}/{last}' for owner in own)}.",
        )

    def is_public() -> bool:
        try:
            return HfApi().repo_info(**repository.where).private is False
        except errors.RepositoryNotFoundError:
            return False

    if private and repository.ask(is_public):
        raise UsageError(
            f"The {repository.name} is public, not private. Nothing was sent.",
            f"Make it private at {repository.page}/settings, or push to another name.",
        )


def push_folder(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    message: str,
    repo_type: str = "model",
    private: bool | None = None,
    revision: str | None = None,
    delete_patterns: Sequence[str] = (),
    space_variables: Mapping[str, str] | None = None,
) -> PushResult:
    """Push all files of a folder in one commit.

    Requests that fail for the moment (429, 5xx, a broken connection) are repeated. A failed push can be
    repeated: what the Hub has is not sent again.

    Args:
        folder: its files go to the root of the repository.
        repo_id: USER/NAME, created where missing.
        message: of the commit.
        repo_type: "model", "dataset" or "space".
        private: whether to create the repository private; None for the account's default. True also refuses
            a public repository; otherwise one that exists keeps its visibility.
        revision: branch, created from the main one where missing; None for the main one.
        delete_patterns: delete files of the repository that match one of these and are not in the folder.
        space_variables: names and values, set before the commit, so that a Space never starts without them.

    Raises:
        UsageError: as from `check_push`.
        HubAccessError: the push failed.
    """
    check_push(repo_id, repo_type=repo_type, private=private)
    api, repository = HfApi(), _Repository(repo_id, repo_type, revision)
    where, ask = repository.where, repository.ask
    files = (path for path in sorted(Path(folder).rglob("*")) if path.is_file())
    paths = {path.relative_to(folder).as_posix(): path for path in files}

    def commit() -> str:
        # Afresh for each try: where only the answer to the last one was lost, nothing is left to send.
        there = api.list_repo_files(**where, revision=revision) if delete_patterns else ()
        operations = [CommitOperationAdd(name, path) for name, path in paths.items()]
        operations += [
            CommitOperationDelete(name)
            for name in filter_repo_objects(there, allow_patterns=list(delete_patterns))
            if name not in paths and name != ".gitattributes"
        ]
        # Not upload_folder, which makes several commits where Xet is installed.
        return api.create_commit(
            **where, operations=operations, commit_message=message, revision=revision
        ).oid

    sdk = "gradio" if repo_type == "space" else None
    url = ask(lambda: api.create_repo(**where, private=private, exist_ok=True, space_sdk=sdk))
    if revision is not None:
        ask(lambda: api.create_branch(**where, branch=revision, exist_ok=True))
    for name, value in (space_variables or {}).items():
        ask(lambda name=name, value=value: api.add_space_variable(repo_id, name, value))
    return PushResult(str(url), ask(commit))
