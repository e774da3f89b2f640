"""Prepare, train, evaluate, push, pull, deploy: the commands of docs/hub.md, one after the other."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.programs import HASH_OF_OUTPUTS, run_python

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_train_push_pull_deploy(hub, phantom_root, tmp_path):
    def run(command: str, **environment: str) -> str:
        """Return what a script prints, run in a folder of its own."""
        script, *arguments = shlex.split(command)
        result = subprocess.run(
            [sys.executable, ROOT / "scripts" / script, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            encoding="utf-8",
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

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

    outputs = run_python(HASH_OF_OUTPUTS.format(source=str(tmp_path / "runs" / "tiny" / "model")))
    pull = HASH_OF_OUTPUTS.format(source="me/tiny")
    assert run_python(pull) == outputs
    hub.requests.clear()
    assert run_python(pull, HF_HUB_OFFLINE="1") == outputs
    assert hub.requests == []

    assert run("deploy_space.py me/demo --model me/tiny").strip() == f"{hub.url}/spaces/me/demo"
    assert "app.py" in hub.files("me/demo", repo_type="space")
