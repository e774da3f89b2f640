"""Models on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path

from httpx import HTTPError
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from busi_unet.bundle import CONFIG_NAME, WEIGHTS_NAME
from busi_unet.errors import HubAccessError


def fetch_bundle(repo_id: str, *, revision: str | None = None) -> Path:
    """Downloads a model folder, or finds it in the Hub cache.

    Only `config.json` and `model.safetensors` are ever asked for. `HF_TOKEN`, `HF_ENDPOINT` and
    `HF_HUB_OFFLINE` are respected.

    Args:
        repo_id: USER/NAME of a model repository.
        revision: branch, tag or commit.

    Returns:
        The local folder.

    Raises:
        HubAccessError: no such repository, no access, or the Hub is out of reach and nothing is cached.
    """
    try:
        return Path(snapshot_download(repo_id, revision=revision, allow_patterns=[CONFIG_NAME, WEIGHTS_NAME]))
    except RepositoryNotFoundError as error:
        raise HubAccessError(
            f"The Hub has no model {repo_id}, or it is private.",
            "Check the name, and set HF_TOKEN for a private one.",
        ) from error
    except HFValidationError as error:
        raise HubAccessError(
            f"{repo_id} is not a Hub id.", "Use USER/NAME, or the path of a model folder."
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, HTTPError, OSError) as error:
        raise HubAccessError(
            f"{repo_id} is no folder here, and could not be fetched from the Hub ({type(error).__name__}).",
            "Check the network and the name, or use a local model folder.",
        ) from error
