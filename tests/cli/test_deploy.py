import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from busi_unet.cli import main
from busi_unet.data.phantom import make_phantom
from busi_unet.inference.predictor import EMBEDDED
from busi_unet.models.folder import weights_hash

ROOT = Path(__file__).resolve().parents[2]


def test_a_dry_run_lists_files_variables_and_link_without_network(tmp_path, capsys):
    folder = tmp_path / "space"
    argv = ["deploy", "me/space", "--model", "someone/busi", "--dry-run"]
    assert main([*argv, "--output", str(folder), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["url"] == "https://huggingface.co/spaces/me/space"
    assert printed["variables"] == {"BUSI_UNET_MODEL": "someone/busi"}
    sizes = {file["path"]: file["bytes"] for file in printed["files"]}
    assert sizes["app.py"] == (ROOT / "app.py").stat().st_size
    assert all((folder / path).stat().st_size == size for path, size in sizes.items())

    assert main(argv) == 0
    listed = capsys.readouterr().out
    assert f"{sum(sizes.values()):,}  bytes in {len(sizes)} files" in listed
    assert "variable BUSI_UNET_MODEL=someone/busi" in listed


def test_a_failure_ends_with_the_command_that_resumes(hub, capsys):
    hub.login(None)
    assert main(["deploy", "me/space", "--private"]) == 1
    resume = capsys.readouterr().err.strip().rpartition("resume with: busi-unet ")[2]

    hub.login("hf_write")
    assert main(resume.split()) == 0
    assert capsys.readouterr().out.strip() == f"{hub.url}/spaces/me/space"
    assert hub.repo("me/space", repo_type="space").private


# Python runs a module of this name when it starts: it hides what the lock does not name.
HIDE_THE_REST = """
import importlib.metadata, re, sys

def plain(name):
    return re.sub("[-_.]+", "-", name).lower()

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"{name} is not in requirements.txt", name=name)

with open("requirements.txt") as file:
    locked = {plain(line.partition("==")[0]) for line in file if "==" in line} | {"busi-unet"}
modules = importlib.metadata.packages_distributions()
HIDDEN = {module for module, owners in modules.items() if not locked.intersection(map(plain, owners))}
sys.meta_path.insert(0, Hidden())
"""


PREDICT = """
import socket, sys

def refuse(*arguments):
    raise AssertionError("a connection was opened")

socket.socket.connect = refuse
import app
from busi_unet.app.image_handlers import ImageHandlers
from busi_unet.app.model import LazyModel

report = ImageHandlers(LazyModel()).predict(sys.argv[1]).report
heavy = {"torch", "datasets", "accelerate", "sklearn", "cv2", "tensorboard", "kagglehub", "onnx"}
print(type(app.demo).__name__, report["weights"]["sha256"], sum(report["probabilities"].values()) > 0.99)
print(*heavy & sys.modules.keys())
try:
    import accelerate
except ModuleNotFoundError as error:
    print(error)
"""


@pytest.mark.slow
def test_the_folder_answers_with_its_own_requirements_alone(tmp_path):
    """What a Space does: app.py where nothing but requirements.txt is installed, and no network."""
    space = tmp_path / "space"
    assert main(["deploy", "me/space", "--dry-run", "--output", str(space)]) == 0
    (tmp_path / "hide" / "sitecustomize.py").parent.mkdir()
    (tmp_path / "hide" / "sitecustomize.py").write_text(HIDE_THE_REST)
    image = tmp_path / "image.png"
    Image.fromarray(make_phantom("benign", seed=1, size=(180, 240)).image).save(image)
    result = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:app", "-c", PREDICT, str(image)],
        cwd=space,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "hide")},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    answer, heavy, hidden = result.stdout.splitlines()
    assert answer == f"Page {weights_hash(EMBEDDED)} True"
    assert heavy == "" and hidden == "accelerate is not in requirements.txt"
