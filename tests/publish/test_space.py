import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import SpaceCard

from busi_unet.errors import HubAccessError, UsageError
from busi_unet.models.pretrained import EVALUATION_NAME
from busi_unet.publish.folder import list_files
from busi_unet.publish.space import build_space_folder, deploy_space, serving_modules, space_readme

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clone(tmp_path) -> Path:
    """As much of a clone as a Space is made from, with a package of four modules."""
    root = tmp_path / "clone"
    for name in ("requirements.txt", "README.md", "LICENSE"):
        root.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, root / name)
    files = {
        "app.py": "import os\nfrom busi_unet.page import build\n",
        "busi_unet/__init__.py": "",
        "busi_unet/page.py": "def build():\n    from busi_unet import late\n",
        "busi_unet/late/__init__.py": "",
        "busi_unet/training.py": "import busi_unet.page\n",
        "busi_unet/weights/config.json": "{}",
        "busi_unet/weights/model.safetensors": "weights",
        "busi_unet/weights/notes.txt": "not for the Space",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def test_only_what_the_app_imports_is_sent(clone, tmp_path):
    folder = build_space_folder(tmp_path / "space", root=clone)
    assert {file["path"] for file in list_files(folder)} == {
        "app.py",
        "requirements.txt",
        "LICENSE",
        "README.md",
        "busi_unet/__init__.py",
        "busi_unet/page.py",
        "busi_unet/late/__init__.py",
        "busi_unet/weights/config.json",
        "busi_unet/weights/model.safetensors",
    }


def test_the_real_app_takes_no_training_code_along():
    parts = {path.relative_to(ROOT / "busi_unet").parts[0] for path in serving_modules()}
    assert not parts & {"training", "evaluation", "publish", "cli.py"}
    assert {"app", "imaging", "inference", "models", "io"} <= parts


@pytest.mark.slow
def test_the_real_folder_stands_on_its_own(tmp_path):
    folder = build_space_folder(tmp_path / "space")
    code = "import app; app.demo.fns; from busi_unet import Predictor; Predictor.from_pretrained()"
    result = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, '.'); {code}"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr


def test_front_matter(tmp_path):
    card = SpaceCard(space_readme(ROOT, "someone/busi", ["config.json", "model.safetensors"]))
    data = card.data.to_dict()
    pinned = re.search(r"^gradio==(\S+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.M)[1]
    assert (data["sdk"], data["sdk_version"], data["app_file"]) == ("gradio", pinned, "app.py")
    assert re.fullmatch(r"3\.\d+", data["python_version"]), "a string: 3.10 as a number would be 3.1"
    assert data["models"] == ["someone/busi"]
    assert data["preload_from_hub"] == ["someone/busi config.json,model.safetensors"]
    assert len(data["short_description"]) <= 60
    assert data["license"] == "mit"
    assert data["startup_duration_timeout"] == "1h"
    assert "medical" in data["tags"]
    assert "Not a medical device" in card.text


def test_without_a_model_nothing_is_preloaded():
    data = SpaceCard(space_readme(ROOT, None, [])).data.to_dict()
    assert not {"models", "preload_from_hub"} & data.keys()


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("README.md", ("short_description: ", "short_description: " + "x" * 60), "the Hub takes 60"),
        ("README.md", ("license: ", "licence: "), "has no license"),
        ("requirements.txt", ("gradio==", "gradio>="), "does not pin gradio"),
    ],
)
def test_what_the_hub_would_not_take_is_said_first(clone, tmp_path, file, change, message):
    path = clone / file
    path.write_text(path.read_text(encoding="utf-8").replace(*change), encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        build_space_folder(tmp_path / "space", root=clone)
    assert not (tmp_path / "space").exists()


def test_outside_a_clone(tmp_path):
    with pytest.raises(UsageError, match=r"has no app\.py, requirements\.txt, README\.md, LICENSE"):
        build_space_folder(tmp_path / "space", root=tmp_path)


@pytest.mark.parametrize("model", ["busi", "a/b/c", "a/b c"])
def test_a_model_that_is_no_hub_id(tmp_path, model):
    with pytest.raises(UsageError, match="is not a Hub id"):
        build_space_folder(tmp_path / "space", model=model)


def test_deploying_again_removes_what_is_gone(hub, tiny_model):
    hub.put("someone/busi", {path.name: path.read_bytes() for path in tiny_model.iterdir()})
    hub.put("me/space", {"old.py": b"print()", "README.md": b"old"}, repo_type="space")
    deploy_space("me/space", model="someone/busi")
    files = hub.files("me/space", repo_type="space")
    assert "old.py" not in files
    assert {"app.py", "busi_unet/weights/model.safetensors"} <= files.keys()
    space = hub.repo("me/space", repo_type="space")
    assert space.variables == {"BUSI_UNET_MODEL": "someone/busi"}
    deploy_space("me/space")
    assert space.variables == {"BUSI_UNET_MODEL": "embedded"}, "an earlier model does not stay in use"


def test_a_new_space_is_one_commit_after_its_variables(hub):
    deploy_space("me/space", private=True)
    space = hub.repo("me/space", repo_type="space")
    assert (space.sdk, space.private) == ("gradio", True)
    assert [commit.message for commit in space.commits] == ["initial commit", "Deploy the app"]
    written = [line for line in hub.requests if line.startswith("POST") and re.search("variab|commit", line)]
    assert [line.rpartition("/spaces/me/space/")[2] for line in written] == ["variables", "commit/main"]


def test_a_space_whose_variables_may_not_be_set_stays_empty(hub):
    hub.fail("POST", "/variables", 403)
    with pytest.raises(HubAccessError, match="does not let this token write the Space me/space") as caught:
        deploy_space("me/space")
    assert str(caught.value).endswith("Then resume with: busi-unet deploy me/space")
    assert hub.files("me/space", repo_type="space").keys() == {".gitattributes"}


def test_token_and_name_are_checked_before_anything_else(hub):
    with pytest.raises(UsageError, match="cannot publish under the name someone"):
        deploy_space("someone/space", model="someone/busi")
    hub.put("me/space", {}, repo_type="space")
    with pytest.raises(UsageError, match="exists and is public"):
        deploy_space("me/space", model="someone/busi", private=True)
    assert not [request for request in hub.requests if "/models/" in request]


@pytest.mark.parametrize("private", [True, False])
def test_a_private_model_needs_a_token_in_the_space(hub, tiny_model, caplog, private):
    files = {path.name: path.read_bytes() for path in tiny_model.iterdir()}
    hub.put("me/busi", files, private=private)
    deploy_space("me/space", model="me/busi")
    assert ("me/busi is private" in caplog.text) == private
    assert (f"HF_TOKEN. Add it at {hub.url}/spaces/me/space/settings" in caplog.text) == private


@pytest.mark.parametrize("figures", [True, False])
def test_the_figures_of_the_model_are_preloaded_where_there_are_any(hub, tiny_model, figures):
    files = {path.name: path.read_bytes() for path in tiny_model.iterdir()}
    hub.put("me/busi", {**files, **({EVALUATION_NAME: b"{}"} if figures else {})})
    deploy_space("me/space", model="me/busi")
    readme = SpaceCard(hub.files("me/space", repo_type="space")["README.md"].decode())
    expected = "me/busi config.json,model.safetensors" + figures * f",{EVALUATION_NAME}"
    assert readme.data.to_dict()["preload_from_hub"] == [expected]


def test_a_model_that_is_not_there_stops_the_deployment(hub):
    with pytest.raises(HubAccessError, match="has no model someone/busi"):
        deploy_space("me/space", model="someone/busi")
    assert not [request for request in hub.requests if request.startswith("POST")]
