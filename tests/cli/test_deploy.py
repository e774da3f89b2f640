import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gradio_client import Client, handle_file
from PIL import Image

from busi_unet.cli import main
from busi_unet.data.phantom import make_phantom

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
    assert "variable BUSI_UNET_MODEL=someone/busi" in capsys.readouterr().out


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


@pytest.mark.slow
def test_the_folder_answers_with_its_own_requirements_alone(tiny_model, tmp_path):
    """What a Space does: app.py where nothing but requirements.txt is installed, and no network."""
    space = tmp_path / "space"
    assert main(["deploy", "me/space", "--dry-run", "--output", str(space)]) == 0
    (tmp_path / "hide" / "sitecustomize.py").parent.mkdir()
    (tmp_path / "hide" / "sitecustomize.py").write_text(HIDE_THE_REST)
    image = tmp_path / "image.png"
    Image.fromarray(make_phantom("benign", seed=1, size=(180, 240)).image).save(image)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "PYTHONPATH": str(tmp_path / "hide"),
        "BUSI_UNET_MODEL": str(tiny_model),
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
        # Nothing listens there: whoever asks for the network fails.
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    check = "import accelerate"
    hidden = subprocess.run([sys.executable, "-c", check], cwd=space, env=environment, capture_output=True)
    assert b"not in requirements.txt" in hidden.stderr
    log = tmp_path / "app.log"
    with log.open("w") as output:
        app = subprocess.Popen(
            [sys.executable, "app.py"], cwd=space, env=environment, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 150
        # Not by asking the server: while it starts, it must answer itself within seconds.
        while "Running on local URL" not in log.read_text():
            assert app.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        client = Client(f"http://127.0.0.1:{port}", verbose=False)
        report = client.predict(handle_file(image), api_name="/predict")[2]
        assert report["weights"]["source"] == str(tiny_model)
        assert abs(sum(report["probabilities"].values()) - 1) < 1e-6
    finally:
        app.terminate()
        app.wait(30)
