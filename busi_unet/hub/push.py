"""Push a folder to the Hub."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
from huggingface_hub.errors import RepositoryNotFoundError
from huggingface_hub.utils import filter_repo_objects

from busi_unet.errors import HubAccessError, UsageError
from busi_unet.hub.errors import Result, Retries, checked_id, name_of, page_of, retry

# What was trained for a day is worth minutes.
_RETRIES = Retries(pauses=(1.0, 2.0, 4.0, 8.0, 16.0), longest=300.0)


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
    account = retry(HfApi().whoami, _RETRIES, repo_id, repo_type=repo_type) if get_token() else {}
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

    return retry(look, _RETRIES, repo_id, repo_type=repo_type)


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
        return retry(request, _RETRIES, repo_id, repo_type=repo_type, revision=revision)

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
