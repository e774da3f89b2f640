"""Publishing a folder on the Hub."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from busi_unet.errors import HubAccessError, UsageError
from busi_unet.hub.access import PUSHING, Result, hub_access, repeated_by_the_client, retry
from busi_unet.hub.ids import checked_id, name_of, page_of


@dataclass(frozen=True)
class PushResult:
    """Where a folder went.

    Attributes:
        url: page of the repository.
        commit: id of the commit that holds the folder; that of the last one where nothing had changed.
    """

    url: str
    commit: str


def check_push(repo_id: str, *, repo_type: str = "model", private: bool | None = None) -> None:
    """Says before any work whether the token, the account and the name allow a push.

    Args:
        repo_id: USER/NAME.
        repo_type: "model", "dataset" or "space".
        private: True also looks whether a repository of that name is public already.

    Raises:
        UsageError: a name that is none or belongs to somebody else; private is wanted, but it is public.
        HubAccessError: no token, a wrong or read-only one, or the Hub is out of reach.
    """
    from huggingface_hub import HfApi, get_token

    name = name_of(checked_id(repo_id), repo_type)
    if not get_token():
        raise HubAccessError(
            f"There is no token to push the {name} with; nothing was sent.",
            "Set HF_TOKEN to a token with write permission, or run `hf auth login`.",
        )
    account = retry(HfApi().whoami, PUSHING, repo_id, repo_type=repo_type)
    role = ((account.get("auth") or {}).get("accessToken") or {}).get("role")
    if role == "read":
        raise HubAccessError(
            f"The token may only read, not write the {name}; nothing was sent.",
            "Make a token with write permission and set HF_TOKEN to it, or run `hf auth login`.",
        )
    namespace, _, last = repo_id.partition("/")
    own = [account.get("name", ""), *(organisation["name"] for organisation in account.get("orgs") or [])]
    # A token of another role has rights of its own, which only the Hub knows.
    if role == "write" and namespace not in own:
        raise UsageError(
            f"The token of {own[0]} cannot publish under the name {namespace}; nothing was sent.",
            f"Use one of these: {', '.join(f'{owner}/{last}' for owner in own)}.",
        )
    if private and is_private(repo_id, repo_type=repo_type) is False:
        raise UsageError(
            f"The {name} exists and is public, not private; nothing was sent.",
            f"Make it private at {page_of(repo_id, repo_type)}/settings, or push to another name.",
        )


def is_private(repo_id: str, *, repo_type: str = "model") -> bool | None:
    """Whether only some may read a repository; None where there is none that this token may read.

    Raises:
        HubAccessError: the Hub is out of reach, or does not accept the token.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    def look() -> bool | None:
        try:
            return HfApi().repo_info(repo_id, repo_type=repo_type).private
        except RepositoryNotFoundError:
            return None

    return retry(look, PUSHING, repo_id, repo_type=repo_type)


def push_folder(
    folder: str | os.PathLike,
    repo_id: str,
    *,
    message: str,
    repo_type: str = "model",
    private: bool | None = None,
    revision: str | None = None,
    delete_patterns: Sequence[str] | None = None,
    space_sdk: str | None = None,
    space_variables: Mapping[str, str] | None = None,
) -> PushResult:
    """Publishes a folder in one commit; the folder is only read.

    Requests that fail for a passing reason (429, 5xx, a broken connection) are repeated with growing pauses.
    A push that failed can be repeated: what the Hub has already is not sent again.

    Args:
        folder: all its files go to the root of the repository, save `.git` and `.cache`.
        repo_id: USER/NAME, created where missing.
        message: of the commit.
        repo_type: "model", "dataset" or "space".
        private: whether to create the repository private; None for the account's default. True also refuses
            a repository that exists and is public; otherwise one that exists keeps its visibility.
        revision: branch, created from the main one where missing; None for the main one.
        delete_patterns: files of the repository that match one of these and are not in the folder vanish.
        space_sdk: needed to create a Space, "gradio".
        space_variables: names and values, set before the commit, so that a Space never runs what it was not
            told to; others stay as they are.

    Raises:
        UsageError: no such folder, or it is empty; or as for `check_push`.
        HubAccessError: the push failed.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.utils import filter_repo_objects

    paths = _list_files(Path(folder))
    check_push(repo_id, repo_type=repo_type, private=private)
    api = HfApi()
    repository = {"repo_id": repo_id, "repo_type": repo_type}

    def attempt(call: Callable[..., Result], **arguments: Any) -> Result:
        request = partial(call, **repository, **arguments)
        return retry(request, PUSHING, repo_id, repo_type=repo_type, revision=revision)

    def commit(**repository: str) -> str:
        # Afresh for each try: where only the answer to the last one was lost, nothing is left to send.
        additions = [CommitOperationAdd(name, path) for name, path in paths.items()]
        deletions = []
        with repeated_by_the_client(), hub_access(repo_id, repo_type=repo_type, revision=revision):
            if delete_patterns is not None:
                there = api.list_repo_files(**repository, revision=revision)
                gone = filter_repo_objects(there, allow_patterns=list(delete_patterns))
                deletions = [
                    CommitOperationDelete(name)
                    for name in gone
                    if name not in paths and name != ".gitattributes"
                ]
            api.preupload_lfs_files(**repository, additions=additions, revision=revision)
        # Not upload_folder, which makes several commits where Xet is at hand.
        done = api.create_commit(
            **repository, operations=[*deletions, *additions], commit_message=message, revision=revision
        )
        return done.oid

    url = str(attempt(api.create_repo, private=private, exist_ok=True, space_sdk=space_sdk))
    if revision is not None:
        attempt(api.create_branch, branch=revision, exist_ok=True)
    for name, value in (space_variables or {}).items():
        set_variable = partial(api.add_space_variable, repo_id, name, value)
        retry(set_variable, PUSHING, repo_id, repo_type=repo_type)
    return PushResult(url, attempt(commit))


def _list_files(folder: Path) -> dict[str, Path]:
    """Path in the repository -> file, sorted."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; there is nothing to push.", "Name an existing folder.")
    files = {
        path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()
    }
    files = {name: path for name, path in files.items() if not {".git", ".cache"} & set(name.split("/"))}
    if not files:
        raise UsageError(f"{folder} is empty; there is nothing to push.", "Name a folder with files.")
    return files
