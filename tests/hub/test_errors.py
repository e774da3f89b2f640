import math
from collections.abc import Callable
from typing import Any

import pytest
from fakes.hub import OTHER, READ, WRONG, FakeHub, tamper
from huggingface_hub import constants

from busi_unet.errors import BusiUNetError, HubAccessError
from busi_unet.hub import fetch_model, push_folder

Break = Callable[[FakeHub, pytest.MonkeyPatch], Any]


def fails(method: str, path: str, status: int | None = None, **options: Any) -> Break:
    return lambda hub, patch: hub.fail(method, path, status, times=math.inf, **options)


def private(token: str | None) -> Break:
    def arrange(hub: FakeHub, patch: pytest.MonkeyPatch) -> None:
        hub.repo("me/busi").private = True
        hub.login(token)

    return arrange


def holds(files: dict[str, bytes]) -> Break:
    return lambda hub, patch: hub.put("me/busi", files)


def no_network(hub: FakeHub, patch: pytest.MonkeyPatch) -> None:
    hub.stopped = True


def offline(hub: FakeHub, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(constants, "HF_HUB_OFFLINE", True)


PULL = {
    "no network": (no_network, "cannot be reached"),
    "HF_HUB_OFFLINE": (offline, "HF_HUB_OFFLINE is set"),
    "login page": (fails("*", ".", 200, body=b"<html>"), "something else answers there"),
    "not found": (lambda hub, patch: hub.repositories.clear(), "has no model me/busi"),
    "private, no token": (private(None), "HF_TOKEN"),
    "bad token": (private(WRONG), "does not accept the token"),
    "gated": (fails("GET", "/api/", 403, headers={"X-Error-Code": "GatedRepo"}), "Request it at"),
    "Hub down": (fails("*", ".", 503), "failing (503)"),
    "wrong bytes, twice": (fails("GET", "/resolve/.*safetensors", spoil=tamper), "checksum"),
    "not a model": (
        holds({"config.json": b" " * 2**21, "model.bin": b""}),
        "is not a model of busi_unet (model.safetensors not found, config.json is larger than 1 MiB)",
    ),
}
PUSH = {
    "no token": (lambda hub, patch: hub.login(None), "me/busi needs a token with write permission"),
    "read-only token": (lambda hub, patch: hub.login(READ), "me/busi needs a token with write permission"),
    "another's name": (lambda hub, patch: hub.login(OTHER), "Use other/busi."),
    "may not write": (
        fails("POST", "/commit/", 403, message="Locked"),
        "for the model me/busi: Locked (403)",
    ),
    "rate limit": (fails("POST", "/create", 429), "is busy or failing (429)"),
}


def one_line(caught: pytest.ExceptionInfo[BusiUNetError]) -> str:
    text = str(caught.value)
    assert caught.value.hint
    assert not [part for part in ("\n", "<", "Error", "Traceback") if part in text]
    return text


@pytest.mark.parametrize(("arrange", "says"), PULL.values(), ids=PULL)
def test_a_pull_that_fails_says_why_in_one_line(hub, published, monkeypatch, arrange, says):
    arrange(hub, monkeypatch)
    with pytest.raises(HubAccessError) as caught:
        fetch_model("me/busi")
    assert says in one_line(caught)


@pytest.mark.parametrize(("arrange", "says"), PUSH.values(), ids=PUSH)
def test_a_push_that_fails_says_why_in_one_line_and_leaves_the_folder(
    hub, tiny_model, monkeypatch, arrange, says
):
    before = {path: path.read_bytes() for path in tiny_model.iterdir()}
    arrange(hub, monkeypatch)
    with pytest.raises(BusiUNetError) as caught:
        push_folder(tiny_model, "me/busi", message="First")
    assert says in one_line(caught)
    posts = [line for line in hub.requests if line.startswith("POST")]
    assert ("Nothing was sent" in str(caught.value)) == (posts == [])
    assert {path: path.read_bytes() for path in tiny_model.iterdir()} == before


def test_a_revision_that_does_not_exist(hub, published):
    with pytest.raises(HubAccessError, match="no branch, tag or commit 'v9'"):
        fetch_model("me/busi", revision="v9")
