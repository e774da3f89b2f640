"""What can go wrong with the Hub, each in one sentence."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from json import JSONDecodeError
from typing import TYPE_CHECKING

from busi_unet.errors import HubAccessError, first_line

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

KINDS = {"model": "model", "dataset": "data set", "space": "Space"}


class HubUnreachableError(HubAccessError):
    """The network or the Hub itself fails; the same request may succeed later.

    Args:
        message: one sentence, what happened.
        hint: one sentence, what to do next.
        retry_after: seconds to wait at least before the next try; None where trying again at once is no use.
    """

    def __init__(self, message: str, hint: str = "", *, retry_after: float | None = 0.0) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after


@contextmanager
def hub_access(repo_id: str, *, repo_type: str = "model", revision: str | None = None) -> Iterator[None]:
    """Turns whatever fails while it talks to the Hub into one sentence and what to do.

    Args:
        repo_id: USER/NAME that the sentence is about.
        repo_type: "model", "dataset" or "space".
        revision: branch, tag or commit that was asked for.

    Raises:
        HubUnreachableError: the network or the Hub fails.
        HubAccessError: anything else that the Hub, its client or the disk reports.
    """
    try:
        yield
    except HubAccessError:
        raise
    except Exception as error:
        translated = _translate(error, f"{KINDS[repo_type]} {repo_id}", repo_id, revision)
        if translated is None:
            raise
        raise translated from error


def _translate(error: Exception, name: str, repo_id: str, revision: str | None) -> HubAccessError | None:
    """None for what is no failure of the Hub, its client or the disk: a fault of the program."""
    import httpx2
    from huggingface_hub import constants, errors

    expected = (OSError, ValueError, KeyError, RuntimeError, httpx2.HTTPError, httpx2.InvalidURL)
    if not (isinstance(error, expected) or type(error).__module__.startswith("huggingface_hub")):
        return None
    # The client wraps what happened in a thread, or while it looked into the cache, in errors of its own.
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    for cause in causes:
        if isinstance(cause, errors.OfflineModeIsEnabled):
            return HubUnreachableError(
                f"The Hub was not asked for the {name}: HF_HUB_OFFLINE forbids it.",
                "Unset HF_HUB_OFFLINE once, so that the Hub can be reached.",
                retry_after=None,
            )
        if isinstance(cause, errors.HFValidationError):
            return HubAccessError(
                f"{repo_id!r} is not a Hub id.", "Use USER/NAME, of letters, digits, dots, - and _."
            )
        if isinstance(cause, errors.HfHubHTTPError):
            return _refusal(cause, name, revision)
        if isinstance(cause, httpx2.TransportError | httpx2.InvalidURL):
            return _network_failure(cause)
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return HubAccessError(
                f"The disk is full: {cause.filename or constants.HF_HOME} could not be written.",
                "Free some space, or set HF_HOME to a folder on another disk.",
            )
        if isinstance(cause, errors.FileMetadataError | JSONDecodeError | KeyError):
            return HubUnreachableError(
                f"{constants.ENDPOINT} does not answer as the Hub does.",
                "Check HF_ENDPOINT, and whether a proxy or a login page is in the way.",
            )
    if isinstance(error, OSError) and error.filename:
        return HubAccessError(f"{error.filename} cannot be used: {error.strerror}.", "Check its permissions.")
    reason = first_line(causes[-1]) if str(causes[-1]).strip() else "it gave no reason"
    return HubAccessError(f"The Hub's client gave up on the {name}: {reason}.", "Try again.")


def _network_failure(error: Exception) -> HubAccessError:
    import httpx2
    from huggingface_hub import constants

    hub = f"the Hub at {constants.ENDPOINT}"
    hint = "Check the network (and HF_ENDPOINT and the proxy, if set), then try again."
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.InvalidURL):
        return HubAccessError(
            f"{constants.ENDPOINT} is no web address.", "Set HF_ENDPOINT to one that starts with https://."
        )
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
        return HubUnreachableError(f"T{hub[1:]} cannot be reached.", hint)
    if isinstance(error, httpx2.TimeoutException):
        return HubUnreachableError(f"T{hub[1:]} did not answer in time.", hint)
    return HubUnreachableError(f"The connection to {hub} broke off.", hint)


def _refusal(error: HfHubHTTPError, name: str, revision: str | None) -> HubAccessError:
    """An answer that is not 2xx."""
    from huggingface_hub import constants, errors

    response = error.response
    status = response.status_code
    said = (error.server_message or "").strip().split("\n")[0].rstrip(".")
    because = f": {said}." if said else "."
    has_token = "authorization" in response.request.headers
    tokens = f"{constants.ENDPOINT}/settings/tokens"
    log_in = f"Make a token at {tokens} and set HF_TOKEN to it, or run `hf auth login`."

    if status == 429:
        return HubUnreachableError(
            "The Hub asks to slow down: too many requests (429).",
            "Wait some minutes, then try again.",
            retry_after=_retry_after(response.headers),
        )
    if status == 507:
        return HubAccessError(f"The Hub has no room left for the {name} (507).", "Free some of your storage.")
    if status >= 500 or status == 408:
        return HubUnreachableError(
            f"The Hub itself has a fault ({status}).",
            "Wait some minutes, then try again.",
            retry_after=_retry_after(response.headers),
        )
    if isinstance(error, errors.GatedRepoError):
        return HubAccessError(
            f"The {name} is gated, and this account has not been let in ({status}).",
            f"Ask for access at {constants.ENDPOINT}/{name.split()[-1]}.",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        if has_token:
            return HubAccessError(
                f"The Hub has no {name} that this token may read ({status}).",
                "Check the name, and that the token belongs to an account that may see it.",
            )
        return HubAccessError(
            f"The Hub has no {name} that may be read without a token ({status}).",
            "Check the name; for a private one set HF_TOKEN, or run `hf auth login`.",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return HubAccessError(
            f"The {name} has no branch, tag or commit {revision or 'main'!r} ({status}).",
            "Check the revision; leave it out for the main branch.",
        )
    if status == 401:
        return HubAccessError("The Hub does not accept the token (401).", log_in)
    if status == 402:
        return HubAccessError(f"The Hub asks to be paid for the {name} (402){because}", "See your account.")
    if status == 403 and response.request.method in ("GET", "HEAD"):
        return HubAccessError(f"The Hub does not let this token read the {name} (403){because}", log_in)
    if status == 403:
        return HubAccessError(
            f"The Hub does not let this token write the {name} (403){because}",
            f"Use a token with write permission for {name.split()[-1].partition('/')[0]}. {log_in}",
        )
    if status == 404:
        return HubAccessError(f"The {name} lacks what was asked for (404){because}", "Check the name.")
    if status in (409, 412):
        return HubAccessError(
            f"Something else changes the {name} at the same time ({status}).", "Try again in a moment."
        )
    if status == 413:
        return HubAccessError(f"The {name} is too large for the Hub (413){because}", "Send fewer files.")
    if response.request.url.path.endswith("/validate-yaml"):
        return HubAccessError(
            f"The Hub does not accept the front matter of README.md{because}", "Correct README.md."
        )
    return HubAccessError(f"The Hub refuses what was asked for the {name} ({status}){because}", "Try again.")


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that the Hub asks to wait; 0 where it does not say."""
    from huggingface_hub.utils import parse_ratelimit_headers

    # The Hub's own way of saying it; those in front of it use the standard one.
    limit = parse_ratelimit_headers(headers)
    if limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    value = headers.get("retry-after", "")
    return float(value) if value.isdigit() else 0.0
