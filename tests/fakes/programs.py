"""Programs that tests run as processes of their own, since the client reads its environment at the start."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run_python(code: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


HASH_OF_OUTPUTS = """
    import hashlib, sys
    import numpy as np
    from busi_unet.inference.predictor import Predictor
    frame = np.random.default_rng(0).integers(0, 255, (50, 70), dtype=np.uint8)
    raw = Predictor.from_pretrained({source!r}).run([frame])[0]
    print(hashlib.sha256(raw.probability.tobytes() + raw.class_logits.tobytes()).hexdigest())
"""
