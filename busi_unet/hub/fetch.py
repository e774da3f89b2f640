"""Fetching models and data sets from the Hub into its cache."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import file_digest, sha1
from pathlib import Path

from busi_unet.errors import HubAccessError
from busi_unet.hub.access import (
    FETCHING,
    HubUnreachableError,
    hub_access,
    repeated_by_the_client,
    retry,
)
from busi_unet.hub.ids import checked_id, name_of
from busi_unet.models.pretrained import CONFIG_NAME, EVALUATION_NAME, WEIGHTS_NAME

# Far above any model of this package, far below what fills a disk.
MOST_BYTES = {CONFIG_NAME: 1 << 20, WEIGHTS_NAME: 1 << 30, EVALUATION_NAME: 1 << 20}
_OPTIONAL = {EVALUATION_NAME}
# Of a model folder or repository: pictures to try the model with.
IMAGES_NAME = "images"
MOST_IMAGES = 6
_MOST_IMAGE_BYTES = 5 << 20
_IMAGES = (".png", ".jpg", ".jpeg", ".webp")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


def fetch_model(repo_id: str, *, revision: str | None = None) -> Path:
    """Downloads a model folder, or finds it in the Hub cache.

    Only `config.json`, `model.safetensors` and, where there is one, `evaluation.json` are ever asked for,
    after a look at their sizes; their hashes are compared with those that the Hub lists, and a damaged file
    is fetched once more. A request that fails for a passing reason is repeated for some seconds; where the
    network or the Hub goes on failing, what an earlier call has cached is used, with a warning in the log.
    `HF_TOKEN`, `HF_ENDPOINT`, `HF_HOME` and `HF_HUB_OFFLINE` are respected.

    Args:
        repo_id: USER/NAME of a model repository.
        revision: branch, tag or commit; None for the main branch.

    Returns:
        The local folder.

    Raises:
        UsageError: no Hub id.
        HubAccessError: no such repository or revision, no access, no model of this package in it, a damaged
            file, a full disk; or the Hub is out of reach and nothing is cached.
    """
    checked_id(repo_id)
    return _fetch(partial(_download, repo_id, revision), partial(_find_in_cache, repo_id, revision), repo_id)


def fetch_images(repo_id: str, *, revision: str | None = None) -> list[Path]:
    """Downloads the pictures to try a model with that its repository carries in the folder `pictures`.

    Args:
        repo_id: USER/NAME of a model repository.
        revision: as for `fetch_model`.

    Returns:
        The first few that are not large, by name; none where there are none.

    Raises:
        UsageError, HubAccessError: as `fetch_model`; nothing is looked for in the cache.
    """
    from huggingface_hub import HfApi, constants, hf_hub_download
    from huggingface_hub.hf_api import RepoFile

    checked_id(repo_id)
    revision = revision or constants.DEFAULT_REVISION

    def download() -> list[Path]:
        commit = _ask_for_commit(repo_id, revision)
        names = sorted(
            entry.path
            for entry in HfApi().list_repo_tree(repo_id, revision=commit, recursive=True)
            if isinstance(entry, RepoFile) and entry.path.startswith(f"{IMAGES_NAME}/")
            if entry.path.lower().endswith(_IMAGES) and entry.size <= _MOST_IMAGE_BYTES
        )
        return [Path(hf_hub_download(repo_id, name, revision=commit)) for name in names[:MOST_IMAGES]]

    return retry(download, FETCHING, repo_id, revision=revision)


def fetch_dataset(repo_id: str, *, patterns: Sequence[str]) -> Path:
    """Downloads files of a data set, or finds them in the Hub cache.

    Failures are met as by `fetch_model`, and the same environment variables are respected.

    Args:
        repo_id: USER/NAME of a data set repository.
        patterns: only files that match one of these, such as "*.png", are fetched.

    Returns:
        The local folder, in the layout of the repository.

    Raises:
        UsageError: no Hub id.
        HubAccessError: no such data set, no access, a full disk; or the Hub is out of reach and the files are
            not cached.
    """
    checked_id(repo_id)
    return _fetch(
        partial(_download_dataset, repo_id, patterns),
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
            logging.getLogger(__name__).warning("%s The %s comes from the cache.", error.message, name)
        return folder


def _ask_for_commit(repo_id: str, revision: str, repo_type: str = "model") -> str:
    """The commit of a revision. The first thing to ask for: without a network this fails at once, where the
    client repeats other requests for long, or takes what is cached without a word."""
    from huggingface_hub import HfApi, constants

    timeout = constants.HF_HUB_ETAG_TIMEOUT
    return HfApi().repo_info(repo_id, repo_type=repo_type, revision=revision, timeout=timeout).sha


def _download_dataset(repo_id: str, patterns: Sequence[str]) -> Path:
    from huggingface_hub import constants, snapshot_download

    revision = constants.DEFAULT_REVISION

    def download() -> str:
        _ask_for_commit(repo_id, revision, "dataset")
        return snapshot_download(
            repo_id, repo_type="dataset", revision=revision, allow_patterns=list(patterns)
        )

    return Path(retry(download, FETCHING, repo_id, repo_type="dataset"))


def _download(repo_id: str, revision: str | None) -> Path:
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.hf_api import RepoFile

    # Said, since not every mirror of the Hub knows a default.
    revision = revision or constants.DEFAULT_REVISION

    def download(again: bool) -> tuple[Path, list[str]]:
        """The folder, and the names of what arrived damaged."""
        commit = _ask_for_commit(repo_id, revision)
        with repeated_by_the_client(), hub_access(repo_id, revision=revision):
            entries = list(HfApi().list_repo_tree(repo_id, revision=commit))
        listed = {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}
        _check_listing(repo_id, {path: file.size for path, file in listed.items()})
        patterns = list(MOST_BYTES)
        folder = Path(
            snapshot_download(repo_id, revision=revision, allow_patterns=patterns, force_download=again)
        )
        hashes = {
            name: listed[name].lfs.sha256 if listed[name].lfs else listed[name].blob_id
            for name in MOST_BYTES
            if name in listed
        }
        return folder, [name for name, digest in hashes.items() if not _is_intact(folder / name, digest)]

    for again in (False, True):
        folder, damaged = retry(partial(download, again), FETCHING, repo_id, revision=revision)
        if not damaged:
            return folder
    raise HubAccessError(
        f"{damaged[0]} of the model {repo_id} arrived damaged twice: it is not what the Hub lists.",
        f"Try another network, or fetch it later. What arrived is in {folder}.",
    )


def _cached_snapshot(
    repo_id: str, patterns: Sequence[str], *, revision: str | None = None, repo_type: str = "model"
) -> Path | None:
    """The folder in the cache that an earlier download left whole, if any; the Hub is not asked."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with hub_access(repo_id, repo_type=repo_type, revision=revision):
        try:
            return Path(
                snapshot_download(
                    repo_id,
                    repo_type=repo_type,
                    revision=revision,
                    allow_patterns=list(patterns),
                    local_files_only=True,
                )
            )
        except LocalEntryNotFoundError:
            return None


def _find_in_cache(repo_id: str, revision: str | None) -> Path | None:
    folder = _cached_snapshot(repo_id, list(MOST_BYTES), revision=revision)
    if folder is None or not all((folder / name).is_file() for name in MOST_BYTES.keys() - _OPTIONAL):
        return None
    for name in MOST_BYTES:
        path = folder / name
        # The cache names the content of a file by its hash and links to it, where the system has links.
        if path.is_symlink() and not _is_intact(path, path.readlink().name):
            raise HubAccessError(
                f"{name} of the model {repo_id} is damaged in the Hub cache, and the Hub is out of reach.",
                f"Remove {folder.parent.parent}, and fetch it again with a network.",
            )
    return folder


def _check_listing(repo_id: str, sizes: dict[str, int]) -> None:
    """Refuses what is no model of this package before a byte of it is downloaded."""
    pickles = [path for path in sizes if path.endswith(_PICKLES)]
    if WEIGHTS_NAME not in sizes and pickles:
        raise HubAccessError(
            f"The model {repo_id} holds {pickles[0]} but no {WEIGHTS_NAME}; pickled weights can run code and "
            "are never read.",
            "Ask its owner for safetensors, or name a model that push_to_hub.py published.",
        )
    for name, most in MOST_BYTES.items():
        if name in _OPTIONAL and name not in sizes:
            continue
        if name not in sizes:
            raise HubAccessError(
                f"The model {repo_id} holds no {name}.", "Name a model that push_to_hub.py published."
            )
        if sizes[name] > most:
            raise HubAccessError(
                f"{name} of the model {repo_id} is too large: {sizes[name] >> 20} MiB, at most {most >> 20}.",
                "Name a model that push_to_hub.py published.",
            )


def _is_intact(path: Path, expected: str) -> bool:
    """Whether a file has this SHA-256 (of git LFS) or git hash, as the Hub lists them."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        if len(expected) == 64:
            return file_digest(file, "sha256").hexdigest() == expected
        content = file.read()
    return sha1(b"blob %d\0" % len(content) + content).hexdigest() == expected
