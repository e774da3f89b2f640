"""Publishing a folder on the Hub."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from busi_unet.errors import HubAccessError, UsageError
from busi_unet.hub.access import KINDS, HubUnreachableError, hub_access

# Seconds between the tries of one request.
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)
# Seconds; a Hub that asks to wait for longer is better tried by hand later.
LONGEST_PAUSE = 300.0

Result = TypeVar("Result")


@dataclass(frozen=True)
class PushResult:
    """Where a folder went.

    Attributes:
        url: page of the repository.
        commit: id of the commit that holds the folder; that of the last one where nothing had changed.
    """

    url: str
    commit: str


def check_push(repo_id: str, *, repo_type: str = "model") -> None:
    """Says before any work whether the token, the account and the name allow a push.

    Args:
        repo_id: USER/NAME.
        repo_type: "model", "dataset" or "space".

    Raises:
        HubAccessError: no token, a wrong or read-only one, a name that is none or belongs to somebody else,
            or the Hub is out of reach.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.utils import validate_repo_id

    with hub_access(repo_id, repo_type=repo_type):
        validate_repo_id(repo_id)
        token = get_token()
    if "/" not in repo_id:
        raise HubAccessError(f"{repo_id!r} is not a Hub id.", "Use USER/NAME.")
    if not token:
        raise HubAccessError(
            f"There is no token to push the {KINDS[repo_type]} {repo_id} with; nothing was sent.",
            "Set HF_TOKEN to a token with write permission, or run `hf auth login`.",
        )
    account = _retry(HfApi().whoami, repo_id, repo_type)
    role = ((account.get("auth") or {}).get("accessToken") or {}).get("role")
    if role == "read":
        raise HubAccessError(
            f"The token may only read, not write the {KINDS[repo_type]} {repo_id}; nothing was sent.",
            "Make a token with write permission and set HF_TOKEN to it, or run `hf auth login`.",
        )
    namespace, _, name = repo_id.partition("/")
    own = [account.get("name", ""), *(organisation["name"] for organisation in account.get("orgs") or [])]
    # A token of another role has rights of its own, which only the Hub knows.
    if role == "write" and namespace not in own:
        raise HubAccessError(
            f"The token of {own[0]} cannot publish under the name {namespace}; nothing was sent.",
            f"Use one of these: {', '.join(f'{owner}/{name}' for owner in own)}.",
        )


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
    resume_command: str = "",
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
        resume_command: what to run again after a failure.

    Raises:
        UsageError: no such folder, or it is empty.
        HubAccessError: the push failed; ends with `resume_command`.
    """
    paths = _list_files(Path(folder))
    with _resumable(resume_command):
        check_push(repo_id, repo_type=repo_type)
        return _push(paths, repo_id, message, repo_type, private, revision, delete_patterns, space_sdk)


def set_space_variables(repo_id: str, variables: Mapping[str, str], *, resume_command: str = "") -> None:
    """Sets variables of a Space that exists; others stay as they are.

    Args:
        repo_id: USER/SPACE.
        variables: names and values.
        resume_command: what to run again after a failure.

    Raises:
        HubAccessError: the Hub refuses or cannot be reached; ends with `resume_command`.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    with _resumable(resume_command):
        for name, value in variables.items():
            _retry(partial(api.add_space_variable, repo_id, name, value), repo_id, "space")


def _push(
    paths: dict[str, Path],
    repo_id: str,
    message: str,
    repo_type: str,
    private: bool | None,
    revision: str | None,
    delete_patterns: Sequence[str] | None,
    space_sdk: str | None,
) -> PushResult:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.utils import filter_repo_objects

    api = HfApi()
    repository = {"repo_id": repo_id, "repo_type": repo_type}

    def attempt(call: Callable[..., Result], **arguments: Any) -> Result:
        return _retry(partial(call, **repository, **arguments), repo_id, repo_type, revision)

    def commit(**repository: str) -> str:
        # Afresh for each try: where only the answer to the last one was lost, nothing is left to send.
        additions = [CommitOperationAdd(name, path) for name, path in paths.items()]
        deletions = []
        with _repeated_by_the_client(), hub_access(repo_id, repo_type=repo_type, revision=revision):
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
    if private and not attempt(api.repo_info).private:
        raise HubAccessError(
            f"The {KINDS[repo_type]} {repo_id} exists and is public, not private; nothing was sent.",
            f"Make it private at {url}/settings, or push to another name.",
        )
    if revision is not None:
        attempt(api.create_branch, branch=revision, exist_ok=True)
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


def _retry(call: Callable[[], Result], repo_id: str, repo_type: str, revision: str | None = None) -> Result:
    """Calls until it works, or fails for a reason that waiting does not mend, or the pauses are used up."""
    for pause in PAUSES:
        try:
            with hub_access(repo_id, repo_type=repo_type, revision=revision):
                return call()
        except HubUnreachableError as error:
            if error.retry_after is None or error.retry_after > LONGEST_PAUSE:
                raise
            pause = max(pause, error.retry_after)
            logging.getLogger(__name__).warning("%s Trying again in %g s.", error.message, pause)
            time.sleep(pause)
    with hub_access(repo_id, repo_type=repo_type, revision=revision):
        return call()


@contextmanager
def _repeated_by_the_client() -> Iterator[None]:
    """For requests that huggingface_hub has repeated, with pauses, before it gives up."""
    try:
        yield
    except HubUnreachableError as error:
        error.retry_after = None
        raise


@contextmanager
def _resumable(command: str) -> Iterator[None]:
    try:
        yield
    except HubAccessError as error:
        if command:
            error.hint = f"{error.hint} Then resume with: {command}".lstrip()
        raise
