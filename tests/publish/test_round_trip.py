"""Prepare, train, evaluate, push, pull, deploy: the scripts of docs/hub.md, one after the other."""

import json
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from busi_unet import Predictor

ROOT = Path(__file__).resolve().parents[2]
IMAGE = np.random.default_rng(0).integers(0, 255, (50, 70), dtype=np.uint8)


@pytest.mark.slow
def test_train_push_pull_deploy(hub, phantom_root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(command: str) -> str:
        """Return what a script prints."""
        script, *arguments = shlex.split(command)
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / "scripts" / script), run_name="__main__")
        printed = capsys.readouterr()
        assert not ended.value.code, printed.err
        return printed.out

    run(f"prepare_data.py {phantom_root} --output data/tiny --push-to-hub me/phantoms")
    trained = run(
        "train.py --data data/tiny --output runs/tiny --encoder plain --width 4 --size 32 --epochs 1 "
        "--batch-size 4 --push-to-hub me/tiny --private"
    )
    assert trained.splitlines()[-1] == f"Published: {hub.url}/me/tiny"
    assert "model-index" not in hub.files("me/tiny")["README.md"].decode()

    run("evaluate.py runs/tiny/model --data data/tiny --split test")
    run("push_to_hub.py runs/tiny me/tiny")
    report = json.loads((tmp_path / "reports/runs-tiny-model-tiny-test/metrics.json").read_text("utf-8"))
    card = hub.files("me/tiny")["README.md"].decode()
    assert f"value: {round(report['estimates']['accuracy']['value'], 4)}" in card

    local, pulled = (
        Predictor.from_pretrained(source).run([IMAGE])[0] for source in ("runs/tiny/model", "me/tiny")
    )
    np.testing.assert_array_equal(pulled.probability, local.probability)
    np.testing.assert_array_equal(pulled.class_logits, local.class_logits)
    hub.requests.clear()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    offline = Predictor.from_pretrained("me/tiny").run([IMAGE])[0]
    np.testing.assert_array_equal(offline.probability, local.probability)
    assert hub.requests == []
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    assert run("deploy_space.py me/demo --model me/tiny").strip() == f"{hub.url}/spaces/me/demo"
    assert "app.py" in hub.files("me/demo", repo_type="space")
