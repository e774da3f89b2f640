import json

import pytest
from fakes.hub import OTHER, FakeHub, tamper

from busi_unet.config import EVALUATION_NAME
from busi_unet.errors import HubAccessError, UsageError
from busi_unet.hub import checked_id, fetch_dataset, fetch_model, is_hub_id


def downloads(hub: FakeHub) -> list[str]:
    return [line for line in hub.requests if "/resolve/" in line]


def test_only_the_files_of_a_model_are_downloaded(hub, published):
    results = {EVALUATION_NAME: b'{"groups": 1}'}
    hub.put(
        "me/busi", {**published, **results, "README.md": b"x", "evil.pkl": b"x", "sub/config.json": b"{}"}
    )

    folder = fetch_model("me/busi")

    assert {path.name for path in folder.rglob("*")} == {*published, EVALUATION_NAME}
    assert not [line for line in downloads(hub) if "README" in line or "evil" in line or "sub" in line]


def test_what_is_cached_is_not_downloaded_again_and_serves_without_a_network(hub, published):
    folder = fetch_model("me/busi")
    hub.requests.clear()

    assert fetch_model("me/busi") == folder
    assert downloads(hub) == []
    hub.stopped = True
    assert fetch_model("me/busi") == folder
    assert hub.waits == []


def test_offline_the_hub_is_not_asked(hub, published, monkeypatch, caplog):
    folder = fetch_model("me/busi")
    hub.requests.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    assert fetch_model("me/busi") == folder
    assert hub.requests == []
    assert not caplog.text, "that was asked for"


@pytest.mark.parametrize("fault", [{"status": 503}, {"drop": "start"}])
def test_the_cache_serves_while_the_hub_fails_and_the_log_says_so(hub, published, fault, caplog):
    folder = fetch_model("me/busi")
    hub.fail("*", ".", times=99, **fault)

    assert fetch_model("me/busi") == folder
    assert "Using the cached model me/busi." in caplog.text
    assert hub.waits == [1, 2]


def test_the_cache_of_a_data_set(hub, caplog):
    hub.put("me/data", {"a.png": b"x", "notes.pkl": b"y"}, repo_type="dataset")
    folder = fetch_dataset("me/data", patterns=["*.png"])
    assert [path.name for path in folder.iterdir()] == ["a.png"]
    hub.stopped = True

    assert fetch_dataset("me/data", patterns=["*.png"]) == folder
    assert "Using the cached data set me/data." in caplog.text
    with pytest.raises(HubAccessError, match="The data set me/data is not cached"):
        fetch_dataset("me/data", patterns=["*"])


@pytest.mark.parametrize("path", ["/api/models/", "/resolve/"])
def test_a_passing_fault_only_costs_time(hub, published, path):
    hub.fail("GET", path, 429, times=2)
    assert (fetch_model("me/busi") / "model.safetensors").read_bytes() == published["model.safetensors"]


def test_the_cache_does_not_hide_that_access_was_withdrawn(hub, published):
    fetch_model("me/busi")
    hub.repo("me/busi").private = True
    hub.login(OTHER)

    with pytest.raises(HubAccessError, match="has no model me/busi"):
        fetch_model("me/busi")


def test_revisions(hub, published):
    first = hub.repo("me/busi").commits[-1].sha
    hub.repo("me/busi").branches["v1/stable"] = first
    changed = json.dumps(json.loads(published["config.json"])).encode()
    hub.put("me/busi", {**published, "config.json": changed})

    assert (fetch_model("me/busi") / "config.json").read_bytes() == changed
    for revision in (first, "v1/stable"):
        config = fetch_model("me/busi", revision=revision) / "config.json"
        assert config.read_bytes() == published["config.json"]


@pytest.mark.parametrize("spoil", [tamper, lambda body: body[:1000]], ids=["wrong bytes", "interrupted"])
def test_a_damaged_download_is_repeated(hub, published, spoil):
    hub.fail("GET", "/resolve/.*safetensors", spoil=spoil)
    assert (fetch_model("me/busi") / "model.safetensors").read_bytes() == published["model.safetensors"]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_damaged_cache_is_replaced(hub, published, name):
    cached = fetch_model("me/busi") / name
    cached.write_bytes(tamper(cached.read_bytes()))

    assert (fetch_model("me/busi") / name).read_bytes() == published[name]


@pytest.mark.parametrize("repo_id", ["busi", "a/b/c", "me/my model", "", "me/", "./busi", "~/busi"])
def test_what_is_not_a_hub_id_is_wrong_usage(repo_id):
    assert checked_id("me/busi-2.0_x") == "me/busi-2.0_x"
    assert not is_hub_id(repo_id)
    for fetch in (checked_id, fetch_model, lambda name: fetch_dataset(name, patterns=["*"])):
        with pytest.raises(UsageError, match="is not a Hub id"):
            fetch(repo_id)
