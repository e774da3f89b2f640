from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from fakes.fault_table import PULL, FaultCase, World
from fakes.hub_server import OTHER, tamper, truncate
from fakes.programs import HASH_OF_OUTPUTS, run_python

import busi_unet.inference.predictor
from busi_unet.app.model import load_predictor
from busi_unet.errors import HubAccessError, UsageError
from busi_unet.hub import checked_id, fetch_dataset, fetch_images, fetch_model, is_hub_id, push_folder
from busi_unet.inference.predictor import Predictor
from busi_unet.models.pretrained import EVALUATION_NAME

FRAME = np.random.default_rng(0).integers(0, 255, (50, 70), dtype=np.uint8)


def same_outputs(first: Predictor, second: Predictor) -> bool:
    one, other = first.run([FRAME])[0], second.run([FRAME])[0]
    return np.array_equal(one.probability, other.probability) and np.array_equal(
        one.class_logits, other.class_logits
    )


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_what_was_pushed_and_pulled_gives_the_same_outputs_bit_for_bit(world: World):
    push_folder(world.folder, "me/busi", message="First")

    pulled = Predictor.from_pretrained("me/busi")

    assert pulled.folder.is_relative_to(world.home)
    assert same_outputs(pulled, Predictor.from_pretrained(world.folder))


def test_only_config_and_weights_are_fetched(world: World):
    files = {path.name: path.read_bytes() for path in world.folder.iterdir()}
    world.hub.put("me/busi", {**files, "README.md": b"x", "evil.pkl": b"x", "sub/config.json": b"{}"})

    folder = fetch_model("me/busi")

    assert sorted(path.name for path in folder.rglob("*")) == ["config.json", "model.safetensors"]
    assert not [line for line in world.hub.requests if "README" in line or "evil" in line or "sub" in line]


def test_the_figures_of_the_weights_come_along(world: World):
    files = {path.name: path.read_bytes() for path in world.folder.iterdir()}
    world.hub.put("me/busi", {**files, EVALUATION_NAME: b'{"groups": 1}'})

    folder = fetch_model("me/busi")

    assert (folder / EVALUATION_NAME).read_bytes() == b'{"groups": 1}'
    world.hub.stop()
    assert fetch_model("me/busi") == folder


def test_images_to_try_a_model_with_are_fetched_when_asked_for(world: World):
    images = {f"images/{name}.png": name.encode() for name in "hgfedcba"}
    others = {"images/notes.txt": b"x", "images/large.png": b" " * (5 << 20 | 1), "elsewhere/a.png": b"x"}
    world.hub.put("me/busi", {**images, **others})
    world.hub.requests.clear()

    assert [path.read_bytes() for path in fetch_images("me/busi")] == [b"a", b"b", b"c", b"d", b"e", b"f"]
    assert not [line for line in world.hub.requests if "notes" in line or "large" in line]
    world.hub.put("me/none", {"README.md": b"x"})
    assert fetch_images("me/none") == []
    world.hub.stop()
    with pytest.raises(HubAccessError):
        fetch_images("me/busi")


def test_figures_far_too_large_are_refused(world: World):
    files = {path.name: path.read_bytes() for path in world.folder.iterdir()}
    world.hub.put("me/busi", {**files, EVALUATION_NAME: b" " * (1 << 20 | 1)})

    with pytest.raises(HubAccessError, match=r"evaluation.json of the model me/busi is too large"):
        fetch_model("me/busi")


def test_a_second_time_nothing_is_downloaded(world: World):
    world.publish()
    folder = fetch_model("me/busi")
    world.hub.requests.clear()

    assert fetch_model("me/busi") == folder
    assert not [line for line in world.hub.requests if "/resolve/" in line]


def test_offline_afterwards(world: World):
    world.publish()
    folder = fetch_model("me/busi")
    world.hub.stop()

    assert fetch_model("me/busi") == folder
    assert same_outputs(Predictor.from_pretrained("me/busi"), Predictor.from_pretrained(world.folder))
    assert world.hub.waits == []


def test_the_variable_for_offline_work(world: World, caplog):
    world.publish()
    folder = fetch_model("me/busi")
    world.hub.requests.clear()
    world.patch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    assert fetch_model("me/busi") == folder
    assert world.hub.requests == []
    assert not caplog.text, "that was asked for"


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}, {"drop": "start"}])
def test_the_cache_serves_while_the_hub_fails_and_the_log_says_so(world: World, fault: dict, caplog):
    world.publish()
    folder = fetch_model("me/busi")
    world.hub.fail("*", ".", times=99, **fault)

    assert fetch_model("me/busi") == folder
    assert "The model me/busi comes from the cache." in caplog.text
    assert world.hub.waits == [1, 2]


def test_the_cache_of_a_data_set_serves_while_the_hub_fails(world: World, caplog):
    world.hub.put("me/data", {"a.png": b"x", "notes.pkl": b"y"}, repo_type="dataset")
    folder = fetch_dataset("me/data", patterns=["*.png"])
    assert [path.name for path in folder.iterdir()] == ["a.png"]
    world.hub.stop()

    assert fetch_dataset("me/data", patterns=["*.png"]) == folder
    assert "The data set me/data comes from the cache." in caplog.text
    with pytest.raises(HubAccessError, match="The data set me/data is not cached"):
        fetch_dataset("me/data", patterns=["*"])


REQUESTS = [
    ("GET", "/api/(models|datasets)/"),
    ("GET", "/tree/"),
    ("HEAD", "/resolve/"),
    ("GET", "/resolve/"),
]


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429, "headers": {"Retry-After": "7"}}])
@pytest.mark.parametrize(("method", "path"), REQUESTS)
def test_a_fault_that_passes_only_costs_time(world: World, method: str, path: str, fault: dict):
    world.publish()
    world.hub.put("me/data", {"a.png": b"x"}, repo_type="dataset")
    for fetch in (fetch_model, lambda name: fetch_dataset("me/data", patterns=["*.png"])):
        # The client asks for the heads of two files at once, each a second time without a pause.
        world.hub.fail(method, path, times=3 if method == "HEAD" else 2, **fault)
        assert any(fetch("me/busi").iterdir())
        assert world.hub.waits
        assert all(pause >= 7 or "headers" not in fault for pause in world.hub.waits)
        world.hub.waits.clear()


def test_nobody_waits_long_for_an_app_to_start(world: World):
    world.publish()
    world.hub.fail("*", ".", 429, times=99, headers={"Retry-After": "60"})
    with pytest.raises(HubAccessError, match="too many requests"):
        fetch_model("me/busi")
    assert world.hub.waits == []


def test_a_refusal_is_not_repeated(world: World):
    with pytest.raises(HubAccessError, match="no model me/busi"):
        fetch_model("me/busi")
    assert world.hub.waits == []


def test_the_cache_of_a_model_does_not_hide_that_access_was_withdrawn(world: World):
    world.publish()
    fetch_model("me/busi")
    world.hub.repo("me/busi").private = True
    world.hub.login(OTHER)

    with pytest.raises(HubAccessError, match="no model me/busi that this token may read"):
        fetch_model("me/busi")


def test_revisions(world: World):
    world.publish()
    first = world.hub.repo("me/busi").commits[-1].sha
    world.hub.repo("me/busi").branches["v1/stable"] = first
    changed = world.config(lambda config: config["thresholds"].update(lesion=0.25))
    world.publish(config=changed)

    assert (fetch_model("me/busi") / "config.json").read_bytes() == changed
    for revision in (first, "v1/stable"):
        config = fetch_model("me/busi", revision=revision) / "config.json"
        assert config.read_bytes() == (world.folder / "config.json").read_bytes()


@pytest.mark.parametrize("spoil", [tamper, lambda body: body[:1000]], ids=["other bytes", "half"])
def test_a_download_that_goes_wrong_once_is_mended(world: World, spoil):
    world.publish()
    world.hub.fail("GET", "/resolve/.*safetensors", spoil=spoil)

    assert (fetch_model("me/busi") / "model.safetensors").read_bytes() == world.weights


@pytest.mark.parametrize("spoil", [tamper, truncate])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_damaged_cache_is_mended(world: World, spoil, name: str):
    world.publish()
    cached = fetch_model("me/busi") / name
    cached.write_bytes(spoil(cached.read_bytes()))

    assert (fetch_model("me/busi") / name).read_bytes() == (world.folder / name).read_bytes()


def test_a_download_that_was_broken_off_is_no_cache(world: World):
    world.publish()
    world.hub.fail("GET", "/resolve/.*safetensors", times=99, drop="start")
    with pytest.raises(HubAccessError, match="not cached"):
        fetch_model("me/busi")
    world.hub.stop()

    with pytest.raises(HubAccessError, match="not cached"):
        fetch_model("me/busi")


@pytest.mark.parametrize("case", [case for case in PULL if not case.options], ids=lambda case: case.what)
def test_the_app_falls_back_to_the_embedded_weights_and_says_so(case: FaultCase, world: World, tmp_path):
    embedded = shutil.copytree(world.folder, tmp_path / "embedded")
    world.patch.setattr(busi_unet.inference.predictor, "EMBEDDED", embedded)
    case.arrange(world)

    model = load_predictor("me/busi")

    assert model.kind == "embedded"
    assert model.notice.startswith("The model me/busi is not in use; the embedded weights are.")
    for part in case.says:
        assert part in model.notice


@pytest.mark.slow
def test_the_environment_is_respected_by_a_program_of_its_own(world: World, tmp_path: Path):
    world.publish()
    world.hub.repo("me/busi").private = True
    pull = HASH_OF_OUTPUTS.format(source="me/busi")

    online = run_python(pull)
    world.hub.stop()

    assert online == run_python(HASH_OF_OUTPUTS.format(source=str(world.folder)))
    assert run_python(pull) == online
    assert run_python(pull, HF_HUB_OFFLINE="1") == online
    elsewhere = """
        from busi_unet.hub import fetch_model
        try: fetch_model("me/busi")
        except Exception as error: print(error)
    """
    assert "not cached" in run_python(elsewhere, HF_HOME=str(tmp_path / "another home"))


@pytest.mark.parametrize(
    "repo_id", ["busi", "a/b/c", "me/my model", "", "me/", "./busi", "../busi", "~/busi"]
)
def test_what_is_no_hub_id_is_wrong_usage(repo_id: str):
    assert checked_id("me/busi-2.0_x") == "me/busi-2.0_x"
    assert not is_hub_id(repo_id)
    for fetch in (checked_id, fetch_model, lambda name: fetch_dataset(name, patterns=["*"])):
        with pytest.raises(UsageError, match=r"is not a Hub id\. Use USER/NAME"):
            fetch(repo_id)
