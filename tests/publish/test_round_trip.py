"""Prepare, train, evaluate, push, pull, deploy: the commands of docs/hub.md, one after the other."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HASH_OF_OUTPUTS = """
import hashlib, sys
import numpy as np
from busi_unet import Predictor
image = np.random.default_rng(0).integers(0, 255, (50, 70), dtype=np.uint8)
raw = Predictor.from_pretrained(sys.argv[1]).run([image])[0]
print(hashlib.sha256(raw.probability.tobytes() + raw.class_logits.tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_train_push_pull_deploy(hub, phantom_root, tmp_path):
    def run_python(*arguments: str | Path, **environment: str) -> str:
        """Return what a program prints, run in a folder of its own."""
        result = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            encoding="utf-8",
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    def run(command: str) -> str:
        script, *arguments = shlex.split(command)
        return run_python(ROOT / "scripts" / script, *arguments)

    run(f"prepare_data.py {phantom_root} --output data/tiny --no-report --push-to-hub me/phantoms")
    trained = run(
        "train.py --data data/tiny --output runs/tiny --encoder plain --width 4 --size 64 --epochs 2 "
        "--batch-size 4 --push-to-hub me/tiny --private"
    )
    assert trained.splitlines()[-1] == f"Published: {hub.url}/me/tiny"
    assert "model-index" not in hub.files("me/tiny")["README.md"].decode()

    run("evaluate.py runs/tiny/model --data data/tiny --split test")
    run("push_to_hub.py runs/tiny me/tiny")
    report = json.loads((tmp_path / "reports" / "runs-tiny-model-test" / "metrics.json").read_text("utf-8"))
    card = hub.files("me/tiny")["README.md"].decode()
    assert f"value: {round(report['estimates']['accuracy']['value'], 4)}" in card

    outputs = run_python("-c", HASH_OF_OUTPUTS, "runs/tiny/model")
    assert run_python("-c", HASH_OF_OUTPUTS, "me/tiny") == outputs
    hub.requests.clear()
    assert run_python("-c", HASH_OF_OUTPUTS, "me/tiny", HF_HUB_OFFLINE="1") == outputs
    assert hub.requests == []

    assert run("deploy_space.py me/demo --model me/tiny").strip() == f"{hub.url}/spaces/me/demo"
    assert "app.py" in hub.files("me/demo", repo_type="space")
