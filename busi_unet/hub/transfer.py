"""Pull models and data sets from the Hub into its cache, and push folders to it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import file_digest, sha1
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    constants,
    get_token,
    is_offline_mode,
    snapshot_download,
)
from huggingface_hub.errors import LocalEntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import filter_repo_objects

from busi_unet.config import CONFIG_NAME, EVALUATION_NAME, ONNX_NAME, WEIGHTS_NAME
from busi_unet.errors import HubAccessError, UsageError
from busi_unet.hub.errors import (
    HubUnreachableError,
    Result,
    Retries,
    checked_id,
    name_of,
    page_of,
    retry,
)

# Far above any model of this package, far below what fills a disk.
MOST_BYTES = {CONFIG_NAME: 1 << 20, WEIGHTS_NAME: 1 << 30, ONNX_NAME: 1 << 30, EVALUATION_NAME: 1 << 20}
_REQUIRED = (CONFIG_NAME, WEIGHTS_NAME)
# Somebody waits for the app to start, and the cache or the embedded weights may serve.
_PULL_RETRIES = Retries(pauses=(1.0, 2.0), longest=10.0)
# What was trained for a day is worth minutes.
_PUSH_RETRIES = Retries(pauses=(1.0, 2.0, 4.0, 8.0, 16.0), longest=300.0)


def fetch_model(repo_id: str, *, revision: str | None = None) -> Path:
    """Download a model folder, or find it in the Hub cache.

    Only `config.json`, `model.safetensors` and, where there are any, `model.onnx` and `evaluation.json` are
    downloaded, never a pickle. Their hashes are compared with those that the Hub lists; a damaged file is
    downloaded once more. Where the Hub cannot be reached, the cached files are used, with a warning in the
    log. `HF_TOKEN`, `HF_ENDPOINT`, `HF_HOME` and `HF_HUB_OFFLINE` are respected.

    Args:
        repo_id: USER/NAME of a model repository.
        revision: branch, tag or commit; None for the main branch.

    Returns:
        The local folder.

    Raises:
        UsageError: not a Hub id.
        HubAccessError: no such repository or revision, no access, not a model of this package, a damaged
            file; or the Hub cannot be reached and nothing is cached.
    """
    checked_id(repo_id)
    return _fetch(
        partial(_download, repo_id, revision),
        repo_id,
        patterns=list(MOST_BYTES),
        revision=revision,
        required=_REQUIRED,
    )


def fetch_dataset(repo_id: str, *, patterns: Sequence[str]) -> Path:
    """Download files of a data set, or find them in the Hub cache, as `fetch_model` does.

    Args:
        repo_id: USER/NAME of a data set repository.
        patterns: only files that match one of these, such as "*.png", are downloaded.

    Returns:
        The local folder, in the layout of the repository.

    Raises:
        UsageError: not a Hub id.
        HubAccessError: no such data set, no access; or the Hub cannot be reached and nothing is cached.
    """
    checked_id(repo_id)

    def download() -> Path:
        _commit_of(repo_id, None, "dataset")
        return Path(snapshot_download(repo_id, repo_type="dataset", allow_patterns=list(patterns)))

    return _fetch(download, repo_id, patterns=patterns, repo_type="dataset")


def _fetch(
    download: Callable[[], Path],
    repo_id: str,
    *,
    patterns: Sequence[str],
    repo_type: str = "model",
    revision: str | None = None,
    required: Sequence[str] = (),
) -> Path:
    """Download, or return the cached folder where the Hub cannot be reached and all of it is there."""
    try:
        return retry(download, _PULL_RETRIES, repo_id, repo_type=repo_type, revision=revision)
    except HubUnreachableError as error:
        name = name_of(repo_id, repo_type)
        try:
            cached = snapshot_download(
                repo_id,
                repo_type=repo_type,
                revision=revision,
                allow_patterns=list(patterns),
                local_files_only=True,
            )
        except LocalEntryNotFoundError:
            cached = None
        if cached is None or not all(Path(cached, file).is_file() for file in required):
            raise HubAccessError(f"{error.message} The {name} is not cached.", error.hint) from error
        if not is_offline_mode():
            logging.getLogger(__name__).warning("%s Using the cached %s.", error.message, name)
        return Path(cached)


def _commit_of(repo_id: str, revision: str | None, repo_type: str = "model") -> str:
    """Return the commit of a revision.

    Ask for it first: without a network this fails at once, where the client repeats other requests for long,
    or takes what is cached without a word.
    """
    # Said, since not every mirror of the Hub knows a default.
    revision = revision or constants.DEFAULT_REVISION
    timeout = constants.HF_HUB_ETAG_TIMEOUT
    return HfApi().repo_info(repo_id, repo_type=repo_type, revision=revision, timeout=timeout).sha


def _download(repo_id: str, revision: str | None) -> Path:
    entries = HfApi().list_repo_tree(repo_id, revision=_commit_of(repo_id, revision))
    files = {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}
    _check_listing(repo_id, files)
    for again in (False, True):
        folder = Path(
            snapshot_download(
                repo_id, revision=revision, allow_patterns=list(MOST_BYTES), force_download=again
            )
        )
        damaged = [
            name for name in MOST_BYTES if name in files and not _is_intact(folder / name, files[name])
        ]
        if not damaged:
            return folder
    raise HubAccessError(
        f"{damaged[0]} of the model {repo_id} was damaged in two downloads (its checksum differs).",
        "Try again later, or on another network.",
    )


def _check_listing(repo_id: str, files: Mapping[str, RepoFile]) -> None:
    """Refuse what is not a model of this package before it is downloaded."""
    faults = [f"{name} not found" for name in _REQUIRED if name not in files]
    faults += [
        f"{name} is larger than {most >> 20} MiB"
        for name, most in MOST_BYTES.items()
        if name in files and files[name].size > most
    ]
    if faults:
        raise HubAccessError(
            f"{repo_id} is not a model of busi_unet ({', '.join(faults)}).",
            "Name a model that was published with busi_unet.",
        )


def _is_intact(path: Path, listed: RepoFile) -> bool:
    """Return whether a file has the SHA-256 (git LFS) or git hash that the Hub lists."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if listed.lfs:
            return file_digest(file, "sha256").hexdigest() == listed.lfs.sha256
        content = file.read()
    return sha1(b"blob %d\0" % len(content) + content).hexdigest() == listed.blob_id


# --- Push ----------------------------------------------------------------------------------------


class PushResult(NamedTuple):
    """Where a folder went: page of the repository, and id of the commit that holds the folder."""

    url: str
    commit: str


def check_push(repo_id: str, *, repo_type: str = "model", private: bool | None = None) -> None:
    """Check before any work that the token, the account and the name allow a push.

    Args:
        repo_id: USER/NAME.
        repo_type: "model", "dataset" or "space".
        private: True also checks that no public repository has that name.

    Raises:
        UsageError: not a Hub id, a name of somebody else's, or a public repository where private is wanted.
        HubAccessError: no token, a wrong or read-only one, or the Hub cannot be reached.
    """
    name = name_of(checked_id(repo_id), repo_type)
    account = retry(HfApi().whoami, _PUSH_RETRIES, repo_id, repo_type=repo_type) if get_token() else {}
    role = ((account.get("auth") or {}).get("accessToken") or {}).get("role")
    if not account or role == "read":
        raise HubAccessError(
            f"Pushing the {name} needs a token with write permission. Nothing was sent.",
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
    if private and is_private(repo_id, repo_type=repo_type) is False:
        raise UsageError(
            f"The {name} is public, not private. Nothing was sent.",
            f"Make it private at {page_of(repo_id, repo_type)}/settings, or push to another name.",
        )


def is_private(repo_id: str, *, repo_type: str = "model") -> bool | None:
    """Return whether a repository is private; None where there is none that this token may read.

    Raises:
        HubAccessError: the Hub cannot be reached, or does not accept the token.
    """

    def look() -> bool | None:
        try:
            return HfApi().repo_info(repo_id, repo_type=repo_type).private
        except RepositoryNotFoundError:
            return None

    return retry(look, _PUSH_RETRIES, repo_id, repo_type=repo_type)


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
    api = HfApi()
    repository = {"repo_id": repo_id, "repo_type": repo_type}
    files = (path for path in sorted(Path(folder).rglob("*")) if path.is_file())
    paths = {path.relative_to(folder).as_posix(): path for path in files}

    def attempt(call: Callable[..., Result], *positional: Any, **arguments: Any) -> Result:
        request = partial(call, *positional, **arguments)
        return retry(request, _PUSH_RETRIES, repo_id, repo_type=repo_type, revision=revision)

    def commit() -> str:
        # Afresh for each try: where only the answer to the last one was lost, nothing is left to send.
        there = api.list_repo_files(**repository, revision=revision) if delete_patterns else ()
        operations = [CommitOperationAdd(name, path) for name, path in paths.items()]
        operations += [
            CommitOperationDelete(name)
            for name in filter_repo_objects(there, allow_patterns=list(delete_patterns))
            if name not in paths and name != ".gitattributes"
        ]
        # Not upload_folder, which makes several commits where Xet is installed.
        return api.create_commit(
            **repository, operations=operations, commit_message=message, revision=revision
        ).oid

    space_sdk = "gradio" if repo_type == "space" else None
    url = attempt(api.create_repo, **repository, private=private, exist_ok=True, space_sdk=space_sdk)
    if revision is not None:
        attempt(api.create_branch, **repository, branch=revision, exist_ok=True)
    for name, value in (space_variables or {}).items():
        attempt(api.add_space_variable, repo_id, name, value)
    return PushResult(str(url), attempt(commit))
