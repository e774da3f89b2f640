"""Pull models and data sets from the Hub into its cache."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import file_digest, sha1
from pathlib import Path

from huggingface_hub import HfApi, constants, is_offline_mode, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError
from huggingface_hub.hf_api import RepoFile

from busi_unet.config import CONFIG_NAME, EVALUATION_NAME, WEIGHTS_NAME
from busi_unet.errors import HubAccessError
from busi_unet.hub.errors import HubUnreachableError, Retries, checked_id, name_of, retry

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
        return retry(download, _RETRIES, repo_id, repo_type=repo_type, revision=revision)
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
