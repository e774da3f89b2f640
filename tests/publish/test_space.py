import re
from pathlib import Path

import pytest
from huggingface_hub import SpaceCard

from busi_unet.errors import HubAccessError
from busi_unet.publish.space import build_space_folder, deploy_space

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def model_files(tiny_model):
    return {path.name: path.read_bytes() for path in tiny_model.iterdir()}


def test_the_app_its_weights_and_no_training_code_are_sent(tmp_path):
    folder = build_space_folder(tmp_path / "space")
    sent = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {"app.py", "requirements.txt", "LICENSE", "README.md", "busi_unet/app/page.py"} <= sent
    assert {"busi_unet/weights/config.json", "busi_unet/weights/model.safetensors"} <= sent
    assert not [
        path for path in sent if re.search("__pycache__|/training/|/publish/|/cli/|^tests|^scripts", path)
    ]


def test_front_matter(tmp_path):
    card = SpaceCard.load(build_space_folder(tmp_path / "space", model="someone/busi") / "README.md")
    data = card.data.to_dict()
    pinned = re.search(r"^gradio==(\S+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.M)[1]
    assert (data["sdk"], data["sdk_version"], data["app_file"]) == ("gradio", pinned, "app.py")
    assert re.fullmatch(r"3\.\d+", data["python_version"]), "a string: 3.10 as a number would be 3.1"
    assert data["models"] == ["someone/busi"]
    assert data["preload_from_hub"] == ["someone/busi config.json,model.safetensors"]
    assert len(data["short_description"]) <= 60
    assert "Not a medical device" in card.text
    without = SpaceCard.load(build_space_folder(tmp_path / "without") / "README.md").data.to_dict()
    assert not {"models", "preload_from_hub"} & without.keys()


def test_deploying_again_removes_what_is_gone(hub, model_files):
    hub.put("someone/busi", model_files)
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


def test_a_model_that_is_not_there_stops_the_deployment(hub):
    with pytest.raises(HubAccessError, match="has no model someone/busi"):
        deploy_space("me/space", model="someone/busi")
    assert not [request for request in hub.requests if request.startswith("POST")]
