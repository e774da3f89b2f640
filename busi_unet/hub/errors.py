"""Names of repositories on the Hub, and its errors, each as one line: what failed, and what to do next."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from huggingface_hub import constants, errors
from huggingface_hub.utils import parse_ratelimit_headers, validate_repo_id

from busi_unet.errors import HubAccessError, UsageError, first_line

Result = TypeVar("Result")

# What a message calls each kind of repository, and where the pages of that kind are.
_KINDS = {"model": ("model", ""), "dataset": ("data set", "datasets/"), "space": ("Space", "spaces/")}


class HubUnreachableError(HubAccessError):
    """The Hub cannot be reached or fails: the cache may serve, and the same request may succeed later.

    Args:
        retry_after: seconds to wait at least before the next try; infinite where a retry is of no use.
    """

    def __init__(self, message: str, hint: str, *, retry_after: float = 0.0) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after


class Retries(NamedTuple):
    """How a request is repeated: seconds before each retry, and the longest wait the Hub may ask for."""

    pauses: tuple[float, ...]
    longest: float


def is_hub_id(text: str) -> bool:
    """Return whether a text has the form USER/NAME that the Hub allows; the Hub is not asked."""
    try:
        validate_repo_id(text)
    except errors.HFValidationError:
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
    return f"{constants.ENDPOINT}/{_KINDS[repo_type][1]}{repo_id}"


def name_of(repo_id: str, repo_type: str = "model") -> str:
    """Return how messages call a repository: "data set USER/NAME"."""
    return f"{_KINDS[repo_type][0]} {repo_id}"


def retry(
    call: Callable[[], Result],
    retries: Retries,
    repo_id: str,
    *,
    repo_type: str = "model",
    revision: str | None = None,
) -> Result:
    """Call, and repeat the call while the Hub is busy or a connection breaks.

    Args:
        call: talks to the Hub.
        retries: how often, and after how long.
        repo_id, repo_type, revision: what the message of an error is about.

    Raises:
        HubAccessError: as from `hub_errors`.
    """
    for pause in retries.pauses:
        try:
            with hub_errors(repo_id, repo_type=repo_type, revision=revision):
                return call()
        except HubUnreachableError as error:
            if error.retry_after > retries.longest:
                raise
            seconds = max(pause, error.retry_after)
            logging.getLogger(__name__).warning("%s Trying again in %g s.", error.message, seconds)
            time.sleep(seconds)
    with hub_errors(repo_id, repo_type=repo_type, revision=revision):
        return call()


@contextmanager
def hub_errors(repo_id: str, *, repo_type: str = "model", revision: str | None = None) -> Iterator[None]:
    """Turn what the Hub, its client or the network reports into one line; other errors pass.

    Raises:
        HubUnreachableError: the network or the Hub fails.
        HubAccessError: the Hub refuses.
    """
    try:
        yield
    except HubAccessError:
        raise
    except Exception as error:
        if translated := _translate(error, repo_id, repo_type, revision):
            raise translated from error
        raise


def _translate(error: Exception, repo_id: str, repo_type: str, revision: str | None) -> HubAccessError | None:
    name = name_of(repo_id, repo_type)
    # The client raises errors of its own around the one that tells what happened.
    causes: list[BaseException] = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    for cause in causes:
        if isinstance(cause, errors.OfflineModeIsEnabled):
            return HubUnreachableError(
                "HF_HUB_OFFLINE is set, so the Hub was not asked.",
                f"Unset it to reach the {name}.",
                retry_after=math.inf,
            )
        if isinstance(cause, errors.HfHubHTTPError):
            return _refusal(cause, repo_id, repo_type, revision)
        if (
            # The client's library for HTTP is one of these two, by its version.
            _package_of(cause) in ("httpx", "httpx2")
            # hf_xet raises the first, the client the others where an answer is not the Hub's.
            or isinstance(cause, ConnectionError | KeyError | json.JSONDecodeError | errors.FileMetadataError)
        ):
            no_connection = type(cause).__name__ in ("ConnectError", "ConnectTimeout", "ProxyError")
            return HubUnreachableError(
                f"The Hub at {constants.ENDPOINT} cannot be reached, or does not answer as a Hub does.",
                "Check the network, and HF_ENDPOINT and the proxy if set.",
                retry_after=math.inf if no_connection else 0.0,
            )
    if isinstance(error, RuntimeError) or _package_of(error) in ("huggingface_hub", "hf_xet"):
        return HubAccessError(
            f"The Hub's client failed for the {name}: {first_line(causes[-1])}.", "Try again."
        )
    return None


def _package_of(error: BaseException) -> str:
    return type(error).__module__.partition(".")[0]


def _refusal(
    error: errors.HfHubHTTPError, repo_id: str, repo_type: str, revision: str | None
) -> HubAccessError:
    """Return the line for an answer that is not 2xx."""
    name, status = name_of(repo_id, repo_type), error.response.status_code
    get_token = f"Set HF_TOKEN to a token from {constants.ENDPOINT}/settings/tokens, or run `hf auth login`."
    # 507: the account's storage is full.
    if status == 429 or (status >= 500 and status != 507):
        return HubUnreachableError(
            f"The Hub is busy or has a fault ({status}).",
            "Try again in a few minutes.",
            retry_after=_seconds_to_wait(error.response.headers),
        )
    if isinstance(error, errors.GatedRepoError):
        return HubAccessError(
            f"The {name} is gated, and this account has no access ({status}).",
            f"Request it at {page_of(repo_id, repo_type)}.",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return HubAccessError(
            f"The Hub has no {name}, or it is private and this token may not read it ({status}).",
            f"Check the name. {get_token}",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return HubAccessError(
            f"The {name} has no branch, tag or commit {revision or 'main'!r} ({status}).",
            "Check the revision, or leave it out for the main branch.",
        )
    if status == 401:
        return HubAccessError("The Hub does not accept the token (401).", get_token)
    said = (error.server_message or "without a reason").splitlines()[0].rstrip(".")
    return HubAccessError(
        f"The Hub refused a request for the {name} ({status}): {said}.",
        get_token if status == 403 else "Try again.",
    )


def _seconds_to_wait(headers: dict[str, str]) -> float:
    """Return how long the Hub asks to wait; 0 where it does not say."""
    limit = parse_ratelimit_headers(headers)
    if limit is not None and limit.remaining == 0:
        return limit.reset_in_seconds
    after = headers.get("Retry-After", "")
    return float(after) if after.isdecimal() else 0.0
