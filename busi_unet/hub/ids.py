"""Names of repositories on the Hub, and their pages."""

from __future__ import annotations

from busi_unet.errors import UsageError

# What people call a kind of repository, and where the pages of that kind lie.
KINDS = {"model": ("model", ""), "dataset": ("data set", "datasets/"), "space": ("Space", "spaces/")}


def is_hub_id(text: str) -> bool:
    """Whether a text has the form USER/NAME that the Hub allows; the Hub is not asked."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(text)
    except HFValidationError:
        return False
    # The Hub knows names without a user too; all of them are older than this package.
    return "/" in text


def checked_id(repo_id: str) -> str:
    """The id itself, if it has the form USER/NAME.

    Raises:
        UsageError: it has not.
    """
    if not is_hub_id(repo_id):
        raise UsageError(f"{repo_id!r} is not a Hub id.", "Use USER/NAME, of letters, digits, dots, - and _.")
    return repo_id


def page_of(repo_id: str, repo_type: str = "model") -> str:
    """The address of a repository's page, on the endpoint in use."""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{KINDS[repo_type][1]}{repo_id}"


def name_of(repo_id: str, repo_type: str = "model") -> str:
    """How messages call a repository: "data set USER/NAME"."""
    return f"{KINDS[repo_type][0]} {repo_id}"
