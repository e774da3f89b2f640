from __future__ import annotations

import errno
import re

import httpx2
import pytest
from fakes.fault_table import COMMAND, DATA, PAGE, PULL, PUSH, RESUME, FaultCase, World, message_of, page, row
from huggingface_hub.errors import FileMetadataError, HfHubHTTPError

from busi_unet.errors import HubAccessError, UsageError
from busi_unet.hub.access import HubUnreachableError, hub_access


def contents(world: World) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in world.folder.iterdir()}


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
@pytest.mark.parametrize("case", PULL + DATA + PUSH, ids=lambda case: case.what)
def test_each_fault_ends_in_one_clear_sentence(case: FaultCase, world: World):
    before = contents(world)

    message = message_of(case, world)

    for part in case.says:
        assert part in message
    assert not re.search(r"\w(Error|Exception|Timeout)\b|Traceback|<[a-z]", message)
    assert "\n" not in message
    before.update({name: content for name, content in contents(world).items() if name == "README.md"})
    assert contents(world) == before
    assert message.endswith(RESUME) == (case in PUSH and case.resumable)
    assert row(case, message) in PAGE.read_text(encoding="utf-8"), f"run: {COMMAND}"


def test_the_table_lists_these_faults_and_no_others():
    written = PAGE.read_text(encoding="utf-8")
    expected = page(lambda case: "SAID")
    assert re.sub(r"\| [^|]* \|$", "|", written, flags=re.MULTILINE) == re.sub(
        r"\| [^|]* \|$", "|", expected, flags=re.MULTILINE
    ), f"run: {COMMAND}"


def refusal(status: int, method: str = "GET", headers: dict[str, str] | None = None) -> HfHubHTTPError:
    request = httpx2.Request(method, "https://huggingface.co/api/models/me/busi")
    response = httpx2.Response(status, headers=headers, request=request)
    return HfHubHTTPError("text", response=response, server_message="Because.\nMore")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (refusal(402, "POST"), "The Hub asks to be paid for the data set me/busi (402): Because."),
        (refusal(404), "The data set me/busi lacks what was asked for (404): Because."),
        (refusal(409, "POST"), "Something else changes the data set me/busi at the same time (409)."),
        (refusal(413, "POST"), "The data set me/busi is too large for the Hub (413): Because."),
        (refusal(418), "The Hub refuses what was asked for the data set me/busi (418): Because."),
        (FileMetadataError("no commit"), "https://huggingface.co does not answer as the Hub does."),
        (httpx2.ReadTimeout("late"), "The Hub at https://huggingface.co did not answer in time."),
        (httpx2.UnsupportedProtocol("no"), "https://huggingface.co is no web address."),
        (OSError(errno.EACCES, "Permission denied", "a.txt"), "a.txt cannot be used: Permission denied."),
        (RuntimeError("It broke."), "The Hub's client gave up on the data set me/busi: It broke."),
        (
            ConnectionError("Network error: error sending request for url (https://cas.example)"),
            "The Hub's Xet storage cannot be reached, or breaks off.",
        ),
        (
            ConnectionError("Server error: HTTP status server error (502 Bad Gateway), domain: https://h"),
            "The Hub's Xet storage has a fault (502).",
        ),
        (ConnectionError("Server error: no answer"), "The Hub's Xet storage has a fault."),
        (RuntimeError(), "The Hub's client gave up on the data set me/busi: it gave no reason."),
    ],
)
def test_rarer_failures(error: Exception, said: str):
    with pytest.raises(HubAccessError) as caught, hub_access("me/busi", repo_type="dataset"):
        raise error
    assert caught.value.message == said
    assert caught.value.hint


@pytest.mark.parametrize("name", ["XetAuthenticationError", "XetObjectNotFoundError"])
def test_errors_that_xet_has_a_type_for(name: str):
    error = getattr(pytest.importorskip("hf_xet"), name)
    with pytest.raises(HubAccessError) as caught, hub_access("me/busi"):
        raise error("it says something")
    assert caught.value.message == "The Hub has no Xet storage for the model me/busi that this token may use."
    assert "HF_HUB_DISABLE_XET=1" in caught.value.hint


def test_what_the_client_wraps_in_its_own_errors_is_found():
    with pytest.raises(HubUnreachableError, match="broke off"), hub_access("me/busi"):
        try:
            raise httpx2.ReadError("reset")
        except httpx2.ReadError as error:
            raise RuntimeError("Error while uploading 'model.safetensors' to the Hub.") from error


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "12"}, 12),
        ({"RateLimit": '"api";r=0;t=55', "Retry-After": "12"}, 55),
        ({"RateLimit": '"api";r=3;t=55'}, 0),
        ({}, 0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0),
    ],
)
def test_how_long_the_hub_asks_to_wait(headers: dict[str, str], seconds: float):
    with pytest.raises(HubUnreachableError) as caught, hub_access("me/busi"):
        raise refusal(429, headers=headers)
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize("error", [TypeError("a fault of the program"), UsageError("a mistake")])
def test_other_errors_stay_as_they_are(error: Exception):
    with pytest.raises(type(error)) as caught, hub_access("me/busi"):
        raise error
    assert caught.value is error
