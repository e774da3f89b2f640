"""What can go wrong with the Hub, each in one sentence; and what is worth trying again."""

from __future__ import annotations

import errno
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from json import JSONDecodeError
from typing import TYPE_CHECKING, TypeVar

from busi_unet.errors import HubAccessError, first_line
from busi_unet.hub.ids import name_of, page_of

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

Result = TypeVar("Result")

# How an error of hf_xet begins, which has no type of its own and has repeated the request before.
_XET = re.compile(r"(Network error|Server error|Rate limited): .*?(?:\((\d{3})\b|$)", re.DOTALL)
_LATER = "Wait some minutes, then try again."
_NETWORK = "Check the network (and HF_ENDPOINT and the proxy, if set), then try again."
_WITHOUT_XET = "set HF_HUB_DISABLE_XET=1 to do without it"


class HubUnreachableError(HubAccessError):
    """The network or the Hub itself fails; the same request may succeed later.

    Args:
        message: one sentence, what happened.
        hint: one sentence, what to do next.
        retry_after: seconds to wait at least before the next try; None where trying again at once is no use.
        connected: whether a machine answered at all.
    """

    def __init__(
        self, message: str, hint: str = "", *, retry_after: float | None = 0.0, connected: bool = True
    ) -> None:
        super().__init__(message, hint)
        self.retry_after = retry_after
        self.connected = connected


@dataclass(frozen=True)
class Patience:
    """How a request that fails for a passing reason is repeated.

    Attributes:
        pauses: seconds before each further try.
        longest: seconds; a Hub that asks to wait for longer is better tried by hand later.
        unconnected: whether to try again where no machine answered.
    """

    pauses: tuple[float, ...]
    longest: float
    unconnected: bool


# What was trained for a day is worth minutes.
PUSHING = Patience((1.0, 2.0, 4.0, 8.0, 16.0), longest=300.0, unconnected=True)
# Somebody waits for the app to start, and the cache or the embedded weights may serve.
FETCHING = Patience((1.0, 2.0), longest=10.0, unconnected=False)


def retry(
    call: Callable[[], Result],
    patience: Patience,
    repo_id: str,
    *,
    repo_type: str = "model",
    revision: str | None = None,
) -> Result:
    """Calls until it works, or fails for a reason that waiting does not mend, or patience ends.

    Args:
        call: talks to the Hub.
        patience: how often and how long.
        repo_id, repo_type, revision: as for `hub_access`.

    Raises:
        HubAccessError: as `hub_access` says it.
    """
    for pause in patience.pauses:
        try:
            with hub_access(repo_id, repo_type=repo_type, revision=revision):
                return call()
        except HubUnreachableError as error:
            if error.retry_after is None or error.retry_after > patience.longest:
                raise
            if not (error.connected or patience.unconnected):
                raise
            pause = max(pause, error.retry_after)
            logging.getLogger(__name__).warning("%s Trying again in %g s.", error.message, pause)
            time.sleep(pause)
    with hub_access(repo_id, repo_type=repo_type, revision=revision):
        return call()


@contextmanager
def repeated_by_the_client() -> Iterator[None]:
    """Around `hub_access`, for requests that huggingface_hub repeats, with pauses, before it gives up."""
    try:
        yield
    except HubUnreachableError as error:
        error.retry_after = None
        raise


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
        translated = _translate(error, repo_id, repo_type, revision)
        if translated is None:
            raise
        raise translated from error


def _translate(error: Exception, repo_id: str, repo_type: str, revision: str | None) -> HubAccessError | None:
    """None for what is no failure of the Hub, its client or the disk: a fault of the program."""
    import httpx2
    from huggingface_hub import constants, errors

    expected = (OSError, ValueError, KeyError, RuntimeError, httpx2.HTTPError, httpx2.InvalidURL)
    if not (isinstance(error, expected) or type(error).__module__.startswith("huggingface_hub")):
        return None
    name = name_of(repo_id, repo_type)
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
        if isinstance(cause, errors.HfHubHTTPError):
            return _refusal(cause, repo_id, repo_type, revision)
        if isinstance(cause, ConnectionError) and (said := _XET.match(str(cause))):
            return _xet_failure(said[1], said[2] or "", name)
        if type(cause).__module__ == "hf_xet":
            return _xet_refusal("", name)
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

    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.InvalidURL):
        return HubAccessError(
            f"{constants.ENDPOINT} is no web address.", "Set HF_ENDPOINT to one that starts with https://."
        )
    if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
        return HubUnreachableError(
            f"The Hub at {constants.ENDPOINT} cannot be reached.", _NETWORK, connected=False
        )
    if isinstance(error, httpx2.TimeoutException):
        return HubUnreachableError(f"The Hub at {constants.ENDPOINT} did not answer in time.", _NETWORK)
    return HubUnreachableError(f"The connection to the Hub at {constants.ENDPOINT} broke off.", _NETWORK)


def _xet_failure(kind: str, status: str, name: str) -> HubAccessError:
    """What hf_xet, which moves large files, says of the storage behind the Hub.

    Args:
        kind: the beginning of its message.
        status: of the answer; "" where there was none.
        name: of the repository.
    """
    if kind == "Rate limited":
        return HubUnreachableError(
            "The Hub's Xet storage asks to slow down: too many requests (429).", _LATER, retry_after=None
        )
    if kind == "Server error":
        return HubUnreachableError(
            f"The Hub's Xet storage has a fault{status and f' ({status})'}.",
            f"Wait some minutes and try again, or {_WITHOUT_XET}.",
            retry_after=None,
        )
    if status:
        return _xet_refusal(f" ({status})", name)
    return HubUnreachableError(
        "The Hub's Xet storage cannot be reached, or breaks off.",
        f"Check the network; where Xet is not let through, {_WITHOUT_XET}.",
        retry_after=None,
    )


def _xet_refusal(status: str, name: str) -> HubAccessError:
    """A Hub without Xet looks the same as one whose Xet does not accept the token."""
    return HubAccessError(
        f"The Hub has no Xet storage for the {name} that this token may use{status}.",
        f"If the token is right, {_WITHOUT_XET}.",
    )


def _refusal(error: HfHubHTTPError, repo_id: str, repo_type: str, revision: str | None) -> HubAccessError:
    """An answer that is not 2xx."""
    from huggingface_hub import constants, errors

    name = name_of(repo_id, repo_type)
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
            _LATER,
            retry_after=_retry_after(response.headers),
        )
    if status == 507:
        return HubAccessError(f"The Hub has no room left for the {name} (507).", "Free some of your storage.")
    if status >= 500 or status == 408:
        return HubUnreachableError(
            f"The Hub itself has a fault ({status}).",
            _LATER,
            retry_after=_retry_after(response.headers),
        )
    if isinstance(error, errors.GatedRepoError):
        return HubAccessError(
            f"The {name} is gated, and this account has not been let in ({status}).",
            f"Ask for access at {page_of(repo_id, repo_type)}.",
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
            f"Use a token with write permission for {repo_id.partition('/')[0]}. {log_in}",
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
