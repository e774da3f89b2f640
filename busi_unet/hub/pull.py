"""Pull models and data sets from the Hub into its cache."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import file_digest, sha1
from pathlib import Path
from typing import TYPE_CHECKING

from busi_unet.config import CONFIG_NAME, EVALUATION_NAME, WEIGHTS_NAME
from busi_unet.errors import HubAccessError
from busi_unet.hub.errors import HubUnreachableError, Retries, hub_errors, retry
from busi_unet.hub.ids import checked_id, name_of

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

# Far above any model of this package, far below what fills a disk.
MOST_BYTES = {CONFIG_NAME: 1 << 20, WEIGHTS_NAME: 1 << 30, EVALUATION_NAME: 1 << 20}
_REQUIRED = (CONFIG_NAME, WEIGHTS_NAME)
# Somebody waits for the app to start, and the cache or the embedded weights may serve.
_RETRIES = Retries(pauses=(1.0, 2.0), longest=10.0)


def fetch_model(repo_id: str, *, revision: str | None = None) -> Path:
    """Download a model folder, or find it in the Hub cache.

    Only `config.json`, `model.safetensors` and, where there is one, `evaluation.json` are downloaded, never a
    pickle. Their hashes are compared with those that the Hub lists; a damaged file is downloaded once more.
    Where the Hub cannot be reached, the cached files are used, with a warning in the log. `HF_TOKEN`,
    `HF_ENDPOINT`, `HF_HOME` and `HF_HUB_OFFLINE` are respected.

    Args:
        repo_id: USER/NAME of a model repository.
        revision: branch, tag or commit; None for the main branch.

    Returns:
        The local folder.

    Raises:
        UsageError: not a Hub id.
        HubAccessError: no such repository or revision, no access, not a model of this package, a damaged
            file, a full disk; or the Hub cannot be reached and nothing is cached.
    """
    checked_id(repo_id)
    return _fetch(partial(_download, repo_id, revision), partial(_find_in_cache, repo_id, revision), repo_id)


def fetch_dataset(repo_id: str, *, patterns: Sequence[str]) -> Path:
    """Download files of a data set, or find them in the Hub cache, as `fetch_model` does.

    Args:
        repo_id: USER/NAME of a data set repository.
        patterns: only files that match one of these, such as "*.png", are downloaded.

    Returns:
        The local folder, in the layout of the repository.

    Raises:
        UsageError: not a Hub id.
        HubAccessError: no such data set, no access, a full disk; or the Hub cannot be reached and the files
            are not cached.
    """
    from huggingface_hub import constants, snapshot_download

    def download() -> str:
        _ask_for_commit(repo_id, constants.DEFAULT_REVISION, "dataset")
        return snapshot_download(repo_id, repo_type="dataset", allow_patterns=list(patterns))

    checked_id(repo_id)
    return _fetch(
        lambda: Path(retry(download, _RETRIES, repo_id, repo_type="dataset")),
        partial(_cached_snapshot, repo_id, patterns, repo_type="dataset"),
        repo_id,
        "dataset",
    )


def _fetch(
    download: Callable[[], Path],
    find_in_cache: Callable[[], Path | None],
    repo_id: str,
    repo_type: str = "model",
) -> Path:
    from huggingface_hub import is_offline_mode

    try:
        return download()
    except HubUnreachableError as error:
        folder = find_in_cache()
        name = name_of(repo_id, repo_type)
        if folder is None:
            raise HubAccessError(f"{error.message} The {name} is not cached.", error.hint) from error
        if not is_offline_mode():
            logging.getLogger(__name__).warning("%s Using the cached %s.", error.message, name)
        return folder


def _ask_for_commit(repo_id: str, revision: str, repo_type: str = "model") -> str:
    """Return the commit of a revision.

    Ask for it first: without a network this fails at once, where the client repeats other requests for long,
    or takes what is cached without a word.
    """
    from huggingface_hub import HfApi, constants

    timeout = constants.HF_HUB_ETAG_TIMEOUT
    return HfApi().repo_info(repo_id, repo_type=repo_type, revision=revision, timeout=timeout).sha


def _list_files(repo_id: str, revision: str) -> dict[str, RepoFile]:
    """Return the files at the root of a model repository by path."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    commit = _ask_for_commit(repo_id, revision)
    entries = HfApi().list_repo_tree(repo_id, revision=commit)
    return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}


def _download(repo_id: str, revision: str | None) -> Path:
    from huggingface_hub import constants, snapshot_download

    # Said, since not every mirror of the Hub knows a default.
    revision = revision or constants.DEFAULT_REVISION

    def download(again: bool) -> tuple[Path, list[str]]:
        """Return the folder, and the names of damaged files."""
        files = _list_files(repo_id, revision)
        _check_listing(repo_id, files)
        folder = Path(
            snapshot_download(
                repo_id, revision=revision, allow_patterns=list(MOST_BYTES), force_download=again
            )
        )
        names = [name for name in MOST_BYTES if name in files]
        return folder, [name for name in names if not _is_intact(folder / name, files[name])]

    for again in (False, True):
        folder, damaged = retry(partial(download, again), _RETRIES, repo_id, revision=revision)
        if not damaged:
            return folder
    raise HubAccessError(
        f"{damaged[0]} of the model {repo_id} was damaged in two downloads (its checksum differs).",
        "Try again later, or on another network.",
    )


def _cached_snapshot(
    repo_id: str, patterns: Sequence[str], *, revision: str | None = None, repo_type: str = "model"
) -> Path | None:
    """Return the cached folder, None where an earlier download left none or a part; the Hub is not asked."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with hub_errors(repo_id, repo_type=repo_type, revision=revision):
        try:
            folder = snapshot_download(
                repo_id,
                repo_type=repo_type,
                revision=revision,
                allow_patterns=list(patterns),
                local_files_only=True,
            )
        except LocalEntryNotFoundError:
            return None
    return Path(folder)


def _find_in_cache(repo_id: str, revision: str | None) -> Path | None:
    folder = _cached_snapshot(repo_id, list(MOST_BYTES), revision=revision)
    return folder if folder and all((folder / name).is_file() for name in _REQUIRED) else None


def _check_listing(repo_id: str, files: Mapping[str, RepoFile]) -> None:
    """Refuse what is not a model of this package before it is downloaded."""
    missing = [name for name in _REQUIRED if name not in files]
    if missing:
        pickles = [
            name for name in files if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"))
        ]
        raise HubAccessError(
            f"{repo_id} is not a model of busi_unet ({' and '.join(missing)} not found).",
            f"{pickles[0]} is never loaded: a pickle can run code. Ask its owner for safetensors."
            if pickles
            else "Name a model that was published with busi_unet.",
        )
    for name, most in MOST_BYTES.items():
        if name in files and files[name].size > most:
            raise HubAccessError(
                f"{repo_id} is not a model of busi_unet ({name} has {files[name].size >> 20} MiB; at most "
                f"{most >> 20} are read).",
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
