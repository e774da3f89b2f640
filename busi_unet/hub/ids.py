"""Names of repositories on the Hub, and their pages."""

from __future__ import annotations

from busi_unet.errors import UsageError

# What a message calls each kind of repository, and where the pages of that kind are.
_KINDS = {"model": ("model", ""), "dataset": ("data set", "datasets/"), "space": ("Space", "spaces/")}


def is_hub_id(text: str) -> bool:
    """Return whether a text has the form USER/NAME that the Hub allows; the Hub is not asked."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(text)
    except HFValidationError:
        return False
    return "/" in text


def checked_id(repo_id: str) -> str:
    """Return the id itself.

    Raises:
        UsageError: it does not have the form USER/NAME.
    """
    if not is_hub_id(repo_id):
        raise UsageError(f"{repo_id!r} is not a Hub id.", "Use USER/NAME: letters, digits, dots, - and _.")
    return repo_id


def page_of(repo_id: str, repo_type: str = "model") -> str:
    """Return the address of a repository's page, on the endpoint in use."""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{_KINDS[repo_type][1]}{repo_id}"


def name_of(repo_id: str, repo_type: str = "model") -> str:
    """Return how messages call a repository: "data set USER/NAME"."""
    return f"{_KINDS[repo_type][0]} {repo_id}"
