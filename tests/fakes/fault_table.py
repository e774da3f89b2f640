"""What can go wrong with the Hub, and what is said: drives the tests, and writes docs/hub_faults.md.

python tests/fakes/fault_table.py
"""

from __future__ import annotations

import errno
import json
import math
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from busi_unet.errors import BusiUNetError
from fakes.hub_server import OTHER, READ, WRITE, WRONG, HubServer, serve_hub, tamper, truncate

PAGE = Path(__file__).resolve().parents[2] / "docs" / "hub_faults.md"
COMMAND = "python tests/fakes/fault_table.py"
COMMAND_LINE = ["busi-unet", "push", "RUN", "me/busi"]
RESUME = "Then resume with: busi-unet push RUN me/busi"
ALWAYS = math.inf


@dataclass
class World:
    """A Hub, a model folder that exists here, and the means to break things."""

    hub: HubServer
    folder: Path
    home: Path
    patch: pytest.MonkeyPatch

    def publish(self, **changes: bytes | None) -> None:
        """Puts the folder on the Hub as me/busi; `changes` replace the `config` or the `weights`."""
        files = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        names = {"config": "config.json", "weights": "model.safetensors"}
        files.update({names[what]: content for what, content in changes.items() if content is not None})
        for what, content in changes.items():
            if content is None:
                del files[names[what]]
        self.hub.put("me/busi", files)

    def config(self, change: Callable[[dict[str, Any]], Any]) -> bytes:
        """The folder's config.json, changed."""
        config = json.loads((self.folder / "config.json").read_text(encoding="utf-8"))
        change(config)
        return json.dumps(config).encode()

    @property
    def weights(self) -> bytes:
        return (self.folder / "model.safetensors").read_bytes()


@dataclass(frozen=True)
class FaultCase:
    """One thing that goes wrong.

    Attributes:
        what: in a few words.
        arrange: makes it go wrong.
        says: parts of the message.
        options: how the push or the pull differs from the usual one.
        resumable: for a push, whether the same command may work later.
    """

    what: str
    arrange: Callable[[World], Any]
    says: tuple[str, ...]
    options: tuple[tuple[str, Any], ...] = ()
    resumable: bool = True


def _break(method: str, path: str, status: int | None = None, **options: Any) -> Callable[[World], None]:
    return lambda world: world.hub.fail(method, path, status, times=ALWAYS, **options)


def _fail(method: str, path: str, status: int | None = None, **options: Any) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        world.publish()
        _break(method, path, status, **options)(world)

    return arrange


def _login(token: str | None, *, private: bool = False) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        world.publish()
        world.hub.repo("me/busi").private = private
        world.hub.login(token)

    return arrange


def _publish(**changes: Callable[[World], bytes | None]) -> Callable[[World], None]:
    return lambda world: world.publish(**{what: make(world) for what, make in changes.items()})


def _network_gone(world: World) -> None:
    world.hub.stop()


def _offline(world: World) -> None:
    from huggingface_hub import constants

    world.patch.setattr(constants, "HF_HUB_OFFLINE", True)


def _disk_full(world: World) -> None:
    def write(url: str, file: Any, **_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(world.home))

    world.publish()
    world.patch.setattr("huggingface_hub.file_download.http_get", write)


def _damaged_cache(world: World) -> None:
    from busi_unet.hub import fetch_model

    world.publish()
    weights = fetch_model("me/busi") / "model.safetensors"
    weights.write_bytes(tamper(weights.read_bytes()))
    world.hub.stop()


def _data(*, private: bool = False, token: str | None = WRITE) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        world.hub.put("me/busi", {"benign/benign (1).png": b"x"}, repo_type="dataset", private=private)
        world.hub.login(token)

    return arrange


def _fail_data(method: str, path: str, status: int | None = None, **options: Any) -> Callable[[World], None]:
    def arrange(world: World) -> None:
        _data()(world)
        _break(method, path, status, **options)(world)

    return arrange


def _xet(status: int | None = None, *, storage: str = "") -> Callable[[World], None]:
    """The client tries Xet: its token is refused with a status, or names a storage."""

    def arrange(world: World) -> None:
        from huggingface_hub import constants

        pytest.importorskip("hf_xet")
        world.patch.setattr(constants, "HF_HUB_DISABLE_XET", False)
        token = {"accessToken": "t", "exp": int(time.time()) + 3600, "casUrl": storage}
        if status or storage:
            body = json.dumps(token).encode() if storage else None
            _break("GET", "/xet-write-token/", status or 200, body=body)(world)

    return arrange


def _only_a_pickle(world: World) -> None:
    world.hub.put("me/busi", {"config.json": b"{}", "pytorch_model.bin": b"\x80\x04N."})


LATER = "Wait some minutes, then try again."
PULL = [
    FaultCase("network gone, nothing cached", _network_gone, ("cannot be reached", "is not cached")),
    FaultCase(
        "network gone, the cached weights damaged",
        _damaged_cache,
        ("model.safetensors of the model me/busi is damaged in the Hub cache", "Remove"),
    ),
    FaultCase("`HF_HUB_OFFLINE=1`, nothing cached", _offline, ("HF_HUB_OFFLINE", "not cached")),
    FaultCase("private, and no token", _login(None, private=True), ("without a token (401)", "HF_TOKEN")),
    FaultCase("wrong token", _login(WRONG), ("does not accept the token (401)", "hf auth login")),
    FaultCase("private, token of somebody else", _login(OTHER, private=True), ("no model me/busi", "(404)")),
    FaultCase("no such model", lambda world: None, ("no model me/busi that this token may read (404)",)),
    FaultCase(
        "no such revision",
        _publish(),
        ("has no branch, tag or commit 'v9' (404)", "leave it out"),
        (("revision", "v9"),),
    ),
    FaultCase("not a name", _publish(), ("is not a Hub id", "USER/NAME"), (("repo_id", "me/my model"),)),
    FaultCase(
        "gated",
        _fail("GET", "/api/models/", 403, headers={"X-Error-Code": "GatedRepo"}),
        ("is gated", "Ask for access"),
    ),
    FaultCase("forbidden", _fail("GET", "/api/models/", 403), ("does not let this token read", "(403)")),
    FaultCase("too many requests", _fail("*", ".", 429), ("too many requests (429)", LATER)),
    FaultCase("the Hub is down", _fail("*", ".", 503), ("has a fault (503)", LATER)),
    FaultCase("the Hub hangs up", _fail("*", ".", drop="start"), ("broke off", "Check the network")),
    FaultCase(
        "a login page in the way", _fail("*", ".", 200, body=b"<html>"), ("does not answer as the Hub does",)
    ),
    FaultCase(
        "the download stops half way, each time",
        _fail("GET", "/resolve/.*safetensors", spoil=lambda body: body[:1]),
        ("broke off",),
    ),
    FaultCase(
        "the download arrives with other bytes, twice",
        _fail("GET", "/resolve/.*safetensors", spoil=tamper),
        ("model.safetensors of the model me/busi arrived damaged twice", "Try another network"),
    ),
    FaultCase("disk full", _disk_full, ("The disk is full", "Free some space")),
    FaultCase("config.json of 2 MiB", _publish(config=lambda _: b" " * (2 << 20)), ("too large: 2 MiB",)),
    FaultCase("only a pickle", _only_a_pickle, ("pytorch_model.bin", "never read", "safetensors")),
    FaultCase("no weights", _publish(weights=lambda _: None), ("holds no model.safetensors",)),
    FaultCase("no config", _publish(config=lambda _: None), ("holds no config.json",)),
    FaultCase(
        "weights truncated before they were published",
        _publish(weights=lambda world: truncate(world.weights)),
        ("model.safetensors is damaged",),
    ),
    FaultCase(
        "weights tampered with before they were published",
        _publish(weights=lambda world: tamper(world.weights[:40]) + world.weights[40:]),
        ("model.safetensors",),
    ),
    FaultCase("config.json that is not JSON", _publish(config=lambda _: b"{"), ("config.json is not JSON",)),
    FaultCase(
        "config of a newer format",
        _publish(config=lambda world: world.config(lambda config: config.update(format_version=99))),
        ("config.json", "99"),
    ),
    FaultCase(
        "unknown encoder",
        _publish(config=lambda world: world.config(lambda c: c["architecture"].update(encoder="vit-9"))),
        ("config.json", "vit-9"),
    ),
]

NO_SUCH_FOLDER = "There is no folder or zip called me/busi either."
DATA = [
    FaultCase(
        "network gone, nothing cached", _network_gone, ("cannot be reached", "is not cached", NO_SUCH_FOLDER)
    ),
    FaultCase(
        "`HF_HUB_OFFLINE=1`, nothing cached", _offline, ("HF_HUB_OFFLINE", "not cached", NO_SUCH_FOLDER)
    ),
    FaultCase(
        "private, and no token",
        _data(private=True, token=None),
        ("no data set me/busi that may be read without a token (401)", NO_SUCH_FOLDER, "HF_TOKEN"),
    ),
    FaultCase("wrong token", _data(token=WRONG), ("does not accept the token (401)", "hf auth login")),
    FaultCase(
        "no such data set",
        lambda world: None,
        ("no data set me/busi that this token may read (404)", NO_SUCH_FOLDER),
    ),
    FaultCase("neither a path nor a name", lambda world: None, ("no folder or zip",), (("source", "a/b/c"),)),
    FaultCase(
        "gated",
        _fail_data("GET", "/api/datasets/", 403, headers={"X-Error-Code": "GatedRepo"}),
        ("is gated", "/datasets/me/busi"),
    ),
    FaultCase("too many requests", _fail_data("*", ".", 429), ("too many requests (429)", LATER)),
    FaultCase("the Hub is down", _fail_data("*", ".", 503), ("has a fault (503)", "not cached", LATER)),
    FaultCase("the Hub hangs up", _fail_data("*", ".", drop="start"), ("broke off", "Check the network")),
    FaultCase(
        "the download stops half way, each time",
        _fail_data("GET", "/resolve/", spoil=lambda body: body[:0]),
        ("broke off", "not cached"),
    ),
]

PUSH = [
    FaultCase(
        "no token",
        lambda world: world.hub.login(None),
        ("no token to push the model me/busi", "nothing was sent", "HF_TOKEN"),
    ),
    FaultCase("wrong token", lambda world: world.hub.login(WRONG), ("does not accept the token (401)",)),
    FaultCase("token that may only read", lambda world: world.hub.login(READ), ("may only read", "write")),
    FaultCase(
        "name of somebody else",
        lambda world: None,
        ("cannot publish under the name someone", "me/busi"),
        (("repo_id", "someone/busi"),),
        resumable=False,
    ),
    FaultCase(
        "not a name",
        lambda world: None,
        ("is not a Hub id",),
        (("repo_id", "me/my model"),),
        resumable=False,
    ),
    FaultCase(
        "name without user",
        lambda world: None,
        ("is not a Hub id",),
        (("repo_id", "busi"),),
        resumable=False,
    ),
    FaultCase(
        "the token may not create repositories",
        _break("POST", "/create", 403, message="no right to create"),
        ("does not let this token write", "(403): no right to create", "write permission"),
    ),
    FaultCase(
        "the token may not write to this one",
        _break("POST", "/(preupload|commit)/", 403),
        ("does not let this token write the model me/busi (403)",),
    ),
    FaultCase(
        "private wanted, but it exists and is public",
        _publish(),
        ("exists and is public", "nothing was sent"),
        (("private", True),),
        resumable=False,
    ),
    FaultCase("network gone at the start", _network_gone, ("cannot be reached", "Check the network")),
    FaultCase("`HF_HUB_OFFLINE=1`", _offline, ("HF_HUB_OFFLINE", "Unset")),
    FaultCase(
        "the connection breaks in the middle of the weights, each time",
        _break("PUT", "/lfs/", drop="middle"),
        ("broke off", "Check the network"),
    ),
    FaultCase(
        "the connection breaks at the commit, each time",
        _break("POST", "/commit/", drop="start"),
        ("broke off", "Check the network"),
    ),
    FaultCase("too many requests, for ever", _break("POST", ".", 429), ("too many requests (429)", LATER)),
    FaultCase(
        "too many requests, come back in an hour",
        _break("POST", "/create", 429, headers={"Retry-After": "3600"}),
        ("too many requests (429)", LATER),
    ),
    FaultCase("the Hub is down, for ever", _break("*", ".", 503), ("has a fault (503)", LATER)),
    FaultCase("uploads fail, for ever", _break("PUT", "/lfs/", 500), ("has a fault (500)", LATER)),
    FaultCase("the Hub's disk is full", _break("*", "/lfs/|/commit/", 507), ("no room left", "(507)")),
    FaultCase("someone else pushes at the same time", _break("POST", "/commit/", 412), ("same time (412)",)),
    FaultCase(
        "a login page in the way", _break("*", ".", 200, body=b"<html>"), ("does not answer as the Hub",)
    ),
    FaultCase(
        "README.md with broken front matter",
        lambda world: (world.folder / "README.md").write_text("---\nlicense: mit\n", encoding="utf-8"),
        ("front matter of README.md: the front matter does not end", "Correct README.md"),
    ),
    FaultCase("a Hub without Xet", _xet(), ("no Xet storage", "(404)", "HF_HUB_DISABLE_XET=1")),
    FaultCase(
        "Xet does not accept the token", _xet(403), ("no Xet storage", "(403)", "HF_HUB_DISABLE_XET=1")
    ),
    FaultCase("Xet: too many requests", _xet(429), ("Xet storage asks to slow down", "(429)", LATER)),
    FaultCase(
        "the Xet storage is down", _xet(503), ("Xet storage has a fault (503)", "HF_HUB_DISABLE_XET=1")
    ),
    FaultCase(
        "the Xet storage is out of reach",
        # Nothing listens there.
        _xet(storage="http://127.0.0.1:9"),
        ("Xet storage cannot be reached", "HF_HUB_DISABLE_XET=1"),
    ),
]


def pull(world: World, *, repo_id: str = "me/busi", revision: str | None = None) -> None:
    from busi_unet.inference.predictor import Predictor

    Predictor.from_pretrained(repo_id, revision=revision)


def pull_data(world: World, *, source: str = "me/busi") -> None:
    from busi_unet.data.sources import fetch

    fetch(source, world.folder.parent)


def push(world: World, *, repo_id: str = "me/busi", private: bool | None = None) -> None:
    from busi_unet.hub import push_folder
    from busi_unet.publish.resume import resumable

    with resumable(COMMAND_LINE):
        push_folder(world.folder, repo_id, message="First", private=private)


SECTIONS = (
    ("Fetching a model", PULL, pull),
    ("Fetching a data set", DATA, pull_data),
    ("Publishing", PUSH, push),
)


def message_of(case: FaultCase, world: World) -> str:
    """What is said, with names that are the same in every run."""
    run = next(run for _, cases, run in SECTIONS if case in cases)
    case.arrange(world)
    with pytest.raises(BusiUNetError) as caught:
        run(world, **dict(case.options))
    text = str(caught.value).replace(str(world.home), "HF_HOME").replace(str(world.folder), "FOLDER")
    text = text.replace(world.hub.url, "https://huggingface.co")
    return re.sub(r"\b[0-9a-f]{40}\b", "COMMIT", text)


def row(case: FaultCase, message: str) -> str:
    """A line of the table."""
    return f"| {case.what} | {message.replace('|', chr(92) + '|')} |\n"


def page(messages: Callable[[FaultCase], str]) -> str:
    """The page as Markdown."""
    text = (
        "# What can go wrong with the Hub, and what is said\n\n"
        f"Generated by `{COMMAND}`, which makes each fault happen between the real `huggingface_hub` client "
        "and the test Hub of `tests/fakes/hub_server.py`; do not edit.\n\n"
        "Not tried: the real Hub; Xet beyond its token and the address of its storage, so neither uploads "
        "that break in the middle of it nor any download; a disk that is full while Xet writes.\n"
    )
    for title, cases, _ in SECTIONS:
        text += f"\n## {title}\n\n| what goes wrong | what is said |\n|---|---|\n"
        text += "".join(row(case, messages(case)) for case in cases)
    return text


def make_model_folder(folder: Path) -> Path:
    """A model folder with a small network of random, seeded weights."""
    import torch

    from busi_unet.config import Architecture, ModelConfig, Preprocess
    from busi_unet.models.pretrained import save_model
    from busi_unet.models.unet import UNet

    torch.manual_seed(0)
    architecture = Architecture("plain", width=4)
    return save_model(folder, UNet(architecture), ModelConfig(architecture, Preprocess(size=32)))


def _message_in_a_world_of_its_own(case: FaultCase) -> str:
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        home = Path(scratch) / "home"
        with serve_hub(home, patch) as hub:
            return message_of(case, World(hub, make_model_folder(Path(scratch) / "model"), home, patch))


if __name__ == "__main__":
    PAGE.write_text(page(_message_in_a_world_of_its_own), encoding="utf-8", newline="\n")
