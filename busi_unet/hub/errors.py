"""Errors of the Hub, each as one line: what failed, and what to do next."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from busi_unet.errors import HubAccessError, first_line
from busi_unet.hub.ids import name_of, page_of

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

Result = TypeVar("Result")

_LATER = "Try again in a few minutes."
_TOKEN = "Set HF_TOKEN to a token from {endpoint}/settings/tokens, or run `hf auth login`."


class HubUnreachableError(HubAccessError):
    """The Hub cannot be reached or fails: the cache may serve, and the same request may succeed later.

    Args:
        message: one sentence, what happened.
        hint: one sentence, what to do next.
        retry_after: seconds to wait at least before the next try; None where a retry is of no use soon.
    """

    def __init__(self, message: str, hint: str, *, retry_after: float | None = 0.0) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after


class Retries(NamedTuple):
    """How a request is repeated: seconds before each retry, and the longest wait the Hub may ask for."""

    pauses: tuple[float, ...]
    longest: float


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
        repo_id, repo_type, revision: as for `hub_errors`.

    Raises:
        HubAccessError: as from `hub_errors`.
    """
    for pause in retries.pauses:
        try:
            with hub_errors(repo_id, repo_type=repo_type, revision=revision):
                return call()
        except HubUnreachableError as error:
            if error.retry_after is None or error.retry_after > retries.longest:
                raise
            seconds = max(pause, error.retry_after)
            logging.getLogger(__name__).warning("%s Trying again in %g s.", error.message, seconds)
            time.sleep(seconds)
    with hub_errors(repo_id, repo_type=repo_type, revision=revision):
        return call()


@contextmanager
def hub_errors(repo_id: str, *, repo_type: str = "model", revision: str | None = None) -> Iterator[None]:
    """Turn whatever the Hub, its client, the network or the disk reports into one line.

    Args:
        repo_id: USER/NAME that the line is about.
        repo_type: "model", "dataset" or "space".
        revision: branch, tag or commit that was asked for.

    Raises:
        HubUnreachableError: the network or the Hub fails.
        HubAccessError: anything else.
    """
    try:
        yield
    except HubAccessError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise _translate(error, repo_id, repo_type, revision) from error
    except Exception as error:
        if not _is_of(error, "httpx", "httpx2", "huggingface_hub", "hf_xet"):
            raise
        raise _translate(error, repo_id, repo_type, revision) from error


def _is_of(error: BaseException, *packages: str) -> bool:
    """Return whether one of these packages defines the error; the client's is httpx or httpx2, by version."""
    return type(error).__module__.partition(".")[0] in packages


def _translate(error: Exception, repo_id: str, repo_type: str, revision: str | None) -> HubAccessError:
    from huggingface_hub import constants, errors

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
                retry_after=None,
            )
        if isinstance(cause, errors.HfHubHTTPError):
            return _refusal(cause, repo_id, repo_type, revision)
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return HubAccessError(
                f"The disk is full: {cause.filename or constants.HF_HOME} could not be written.",
                "Free some space, or set HF_HOME to a folder on another disk.",
            )
        if (
            _is_of(cause, "httpx", "httpx2", "json")
            # hf_xet raises the first, the client the others where an answer is not the Hub's.
            or isinstance(cause, ConnectionError | KeyError | errors.FileMetadataError)
        ):
            no_connection = type(cause).__name__ in ("ConnectError", "ConnectTimeout", "ProxyError")
            return HubUnreachableError(
                f"The Hub at {constants.ENDPOINT} cannot be reached, or does not answer as a Hub does.",
                "Check the network, and HF_ENDPOINT and the proxy if set.",
                retry_after=None if no_connection else 0.0,
            )
    return HubAccessError(f"The Hub's client failed for the {name}: {first_line(causes[-1])}.", "Try again.")


def _refusal(error: HfHubHTTPError, repo_id: str, repo_type: str, revision: str | None) -> HubAccessError:
    """Return the line for an answer that is not 2xx."""
    from huggingface_hub import constants, errors

    name = name_of(repo_id, repo_type)
    response = error.response
    status = response.status_code
    said = (error.server_message or "").strip().split("\n")[0].rstrip(".")
    because = f": {said}." if said else "."
    get_token = _TOKEN.format(endpoint=constants.ENDPOINT)

    if status == 429:
        return HubUnreachableError(
            "The Hub's rate limit is reached (429).", _LATER, retry_after=_seconds_to_wait(response.headers)
        )
    if status >= 500 and status != 507:
        return HubUnreachableError(f"The Hub has a fault ({status}).", _LATER)
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
    if status == 403:
        verb = "read" if response.request.method in ("GET", "HEAD") else "write"
        return HubAccessError(f"This token may not {verb} the {name} (403){because}", get_token)
    return HubAccessError(f"The Hub refused a request for the {name} ({status}){because}", "Try again.")


def _seconds_to_wait(headers: dict[str, str]) -> float:
    """Return how long the Hub asks to wait; 0 where it does not say."""
    from huggingface_hub.utils import parse_ratelimit_headers

    limit = parse_ratelimit_headers(headers)
    if limit is not None and limit.remaining == 0:
        return limit.reset_in_seconds
    after = headers.get("Retry-After", "")
    return float(after) if after.isdecimal() else 0.0
