"""Train, push, pull, use: the commands of docs/hub.md, one after the other, as a user types them."""

import json
import os
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

COMPARE = """\
from busi_unet import Predictor
from busi_unet.data.phantom import make_phantom

frame = make_phantom("malignant", seed=1, size=(96, 128)).image
here, there = (Predictor.from_pretrained(name).run([frame])[0] for name in ("runs/tiny/model", "me/tiny"))
print("bit-equal:", here.probability.tobytes() == there.probability.tobytes()
      and here.class_logits.tobytes() == there.class_logits.tobytes())
"""
ASK = """\
import sys
from gradio_client import Client, handle_file

report = Client(sys.argv[1], verbose=False).predict(handle_file("image.png"), api_name="/predict")[2]
print("weights:", report["weights"])
print("probabilities:", {name: round(value, 3) for name, value in report["probabilities"].items()})
"""


class Terminal:
    """Runs commands in a folder that looks like a clone, and writes down what it sees."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lines: list[str] = []
        for name in ("scripts", "app.py"):
            (folder / name).symlink_to(ROOT / name)

    def run(self, command: str, **environment: str) -> str:
        """Runs a command line that starts with `python`; returns stdout."""
        shown = " ".join(f"{name}={value}" for name, value in environment.items())
        self.lines.append(f"$ {shown} {command}".replace("$  ", "$ "))
        result = subprocess.run(
            [sys.executable, *shlex.split(command)[1:]],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **environment},
            capture_output=True,
            encoding="utf-8",
        )
        self.lines += result.stdout.rstrip().splitlines()
        assert result.returncode == 0, result.stderr
        return result.stdout

    def app(self, **environment: str) -> str:
        """Starts app.py, asks it for a prediction, stops it."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.lines.append(f"$ BUSI_UNET_MODEL={environment['BUSI_UNET_MODEL']} python app.py &")
        path = self.folder / "app.log"
        environment |= {"GRADIO_SERVER_PORT": str(port), "PYTHONUNBUFFERED": "1"}
        with path.open("w") as log:
            app = subprocess.Popen(
                [sys.executable, "app.py"],
                cwd=self.folder,
                env={**os.environ, **environment},
                stdout=log,
                stderr=log,
            )
            try:
                # Not by asking the server: while it starts, it must answer itself within seconds.
                while "Running on local URL" not in path.read_text():
                    assert app.poll() is None, path.read_text()
                    time.sleep(0.5)
                answer = self.run(f"python ask.py http://127.0.0.1:{port}")
                # What a user sees, who has not had to look for a free port.
                self.lines = [line.replace(f":{port}", ":7860") for line in self.lines]
                return answer
            finally:
                app.terminate()
                app.wait(30)

    def transcript(self, hub_url: str) -> str:
        text = "\n".join(self.lines).replace(hub_url, "http://127.0.0.1:PORT")
        return text.replace(str(self.folder), "~/busi_unet") + "\n"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="the terminal of this test needs symbolic links")
def test_train_push_pull_app(hub, phantom_root, tmp_path, monkeypatch):
    terminal = Terminal(tmp_path)
    (tmp_path / "phantoms").symlink_to(phantom_root)
    (tmp_path / "compare.py").write_text(COMPARE, encoding="utf-8")
    (tmp_path / "ask.py").write_text(ASK, encoding="utf-8")
    (tmp_path / "image.png").write_bytes((phantom_root / "benign" / "benign (1).png").read_bytes())

    terminal.run(
        "python scripts/prepare_data.py phantoms --output data/tiny --no-report --push-to-hub me/phantoms"
    )
    trained = terminal.run(
        "python scripts/train.py --data data/tiny --output runs/tiny --encoder plain --width 4 --size 64 "
        "--epochs 2 --batch-size 4 --push-to-hub me/tiny --private"
    )
    assert trained.splitlines() == ["Model: runs/tiny/model", f"Published: {hub.url}/me/tiny"]
    assert b"No figures were measured" in hub.files("me/tiny")["README.md"]

    terminal.run("python scripts/evaluate.py runs/tiny/model --data data/tiny --split test --json")
    # The figures are in the report; here they would only fill the page.
    del terminal.lines[terminal.lines.index("{") :]
    terminal.lines.append("…")
    terminal.run("python scripts/push_to_hub.py runs/tiny me/tiny")
    card = hub.files("me/tiny")["README.md"].decode()
    report = json.loads((tmp_path / "reports" / "runs-tiny-model-test" / "metrics.json").read_text("utf-8"))
    assert f"value: {round(report['estimates']['accuracy']['value'], 4)}" in card

    assert terminal.run("python compare.py", HF_HOME="clean-cache") == "bit-equal: True\n"
    requests = len(hub.requests)
    offline = terminal.run("python compare.py", HF_HOME="clean-cache", HF_HUB_OFFLINE="1")
    assert offline == "bit-equal: True\n"
    assert len(hub.requests) == requests

    answer = terminal.app(BUSI_UNET_MODEL="me/tiny")
    assert "'kind': 'hub'" in answer
    assert "'source': 'me/tiny'" in answer

    link = terminal.run("python scripts/deploy_space.py me/demo --model me/tiny")
    assert link.strip() == f"{hub.url}/spaces/me/demo"
    assert "app.py" in hub.files("me/demo", repo_type="space")

    if wanted := os.environ.get("BUSI_UNET_TRANSCRIPT"):
        Path(wanted).write_text(terminal.transcript(hub.url), encoding="utf-8")
