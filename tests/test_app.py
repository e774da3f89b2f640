from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from busi_unet.app.image_handlers import ImageHandlers
from busi_unet.app.model import LazyModel
from busi_unet.data.phantom import make_phantom
from busi_unet.inference.predictor import EMBEDDED
from busi_unet.models.folder import weights_hash
from busi_unet.version import __version__

ROOT = Path(__file__).parents[1]

IMPORT_WITHOUT_NETWORK = """
import socket, sys
def refuse(*arguments):
    raise AssertionError("the import opened a connection")
socket.socket.connect = refuse
import app
assert type(app.demo).__name__ == "Page"
heavy = {"torch", "datasets", "accelerate", "matplotlib", "sklearn", "cv2"} & sys.modules.keys()
assert not heavy, heavy
"""


def test_import_is_light_and_offline() -> None:
    subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:app", "-c", IMPORT_WITHOUT_NETWORK],
        cwd=ROOT,
        check=True,
    )


def test_embedded_weights_answer(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(make_phantom("benign", seed=0, size=(200, 260)).image).save(path)

    report = ImageHandlers(LazyModel()).predict(str(path)).report

    assert report["weights"] == {
        "kind": "embedded",
        "source": "embedded",
        "sha256": weights_hash(EMBEDDED),
        "notice": None,
        "busi_unet": __version__,
    }
    assert sum(report["probabilities"].values()) == pytest.approx(1)
