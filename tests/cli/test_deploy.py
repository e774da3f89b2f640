import json
import os
import shutil
import socket
import subprocess
import time
import venv
from pathlib import Path

import pytest
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


CLIENT = """
import json, sys
from gradio_client import Client, handle_file
answer = Client(sys.argv[1], verbose=False).predict(handle_file(sys.argv[2]), api_name="/predict")
print(json.dumps(answer[2]))
"""


@pytest.mark.slow
def test_the_folder_answers_in_an_environment_of_its_own_requirements(tiny_model, tmp_path):
    """What a Space does: install requirements.txt, run app.py; then a prediction, with no network."""
    space = tmp_path / "space"
    assert main(["deploy", "me/space", "--dry-run", "--output", str(space)]) == 0
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [python, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    installed = subprocess.run(
        [*pip, "--no-compile", "-r", space / "requirements.txt"], capture_output=True, text=True, timeout=600
    )
    assert installed.returncode == 0, installed.stderr

    image = tmp_path / "image.png"
    Image.fromarray(make_phantom("benign", seed=1, size=(180, 240)).image).save(image)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
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
    log = tmp_path / "app.log"
    with log.open("w") as output:
        app = subprocess.Popen([python, "app.py"], cwd=space, env=environment, stdout=output, stderr=output)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 150
        # Not by asking the server: while it starts, it must answer itself within seconds.
        while "Running on local URL" not in log.read_text():
            assert app.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        client = subprocess.run(
            [python, "-c", CLIENT, url, image], env=environment, capture_output=True, text=True, timeout=150
        )
        assert client.returncode == 0, client.stderr + log.read_text()
        report = json.loads(client.stdout.splitlines()[-1])
        assert report["weights"]["source"] == str(tiny_model)
        assert abs(sum(report["probabilities"].values()) - 1) < 1e-6
    finally:
        app.terminate()
        app.wait(30)
        shutil.rmtree(tmp_path / "venv")
