"""Fixtures for every test: a home of its own, no network, and small data."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from fakes.hub import FakeHub

# huggingface_hub, datasets and gradio read these when they are imported: set them before any test module is.
_CACHES = tempfile.TemporaryDirectory(prefix="busi-unet-tests-", ignore_cleanup_errors=True)
os.environ.update(
    HF_HOME=_CACHES.name,
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_IMPLICIT_TOKEN="1",
    GRADIO_TEMP_DIR=f"{_CACHES.name}/gradio",
    MPLBACKEND="Agg",
    MPLCONFIGDIR=_CACHES.name,
)
for _variable in ("HF_HUB_CACHE", "HF_DATASETS_CACHE", "HF_ENDPOINT", "HF_TOKEN", "HF_TOKEN_PATH"):
    os.environ.pop(_variable, None)


@pytest.fixture(autouse=True)
def isolated_home(tmp_path_factory, monkeypatch) -> Path:
    """A home folder without caches, tokens or settings of whoever runs the tests."""
    home = tmp_path_factory.mktemp("home")
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(home / ".cache" / "kagglehub"))
    for variable in (
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "KAGGLE_USERNAME",
        "KAGGLE_KEY",
        "BUSI_UNET_MODEL",
    ):
        monkeypatch.delenv(variable, raising=False)
    return home


@pytest.fixture(scope="session")
def phantom_root(tmp_path_factory) -> Path:
    """A folder in the layout of BUSI: eight synthetic images a class, 128 rows and 160 columns."""
    from busi_unet.data.phantom import write_phantom_dataset

    root = tmp_path_factory.mktemp("phantoms")
    write_phantom_dataset(root, per_class=8, seed=0, size=(128, 160))
    return root


@pytest.fixture(scope="session")
def busi_root() -> Path:
    """The folder of the real data set, named by the environment variable BUSI_ROOT."""
    named = os.environ.get("BUSI_ROOT")
    if not named:
        pytest.skip("BUSI_ROOT does not name the folder of the real data set")
    root = Path(named)
    if not root.is_dir():
        pytest.skip(f"BUSI_ROOT names {root}, which is not a folder")
    return root


@pytest.fixture(scope="session")
def one_tiny_model(tmp_path_factory) -> Path:
    """A model folder with a small network of random, seeded weights; to read, not to change."""
    import torch

    from busi_unet.config import Architecture, ModelConfig, Preprocess, Thresholds
    from busi_unet.models.folder import save_model
    from busi_unet.models.unet import UNet

    torch.manual_seed(0)
    architecture = Architecture("plain", width=4)
    config = ModelConfig(
        architecture=architecture, preprocess=Preprocess(size=64), thresholds=Thresholds(lesion=0.0)
    )
    return save_model(tmp_path_factory.mktemp("tiny") / "model", UNet(architecture), config)


@pytest.fixture
def tiny_model(one_tiny_model, tmp_path) -> Path:
    """A copy of `one_tiny_model` for one test."""
    return Path(shutil.copytree(one_tiny_model, tmp_path / "model"))


@pytest.fixture(scope="session")
def prepared(phantom_root, tmp_path_factory) -> Path:
    """The phantoms as a prepared data set."""
    from busi_unet.data.prepare import prepare

    path = tmp_path_factory.mktemp("prepared") / "phantoms"
    prepare(phantom_root, path)
    return path


@pytest.fixture
def trained(tiny_model, prepared) -> Path:
    """A model folder whose record says that it was trained on the prepared split."""
    from busi_unet.data.prepared import load_prepared
    from busi_unet.models.folder import load_config, save_config
    from busi_unet.training.options import TrainOptions
    from busi_unet.training.setup import record_of

    record = record_of(TrainOptions(data=prepared), load_prepared(prepared))
    save_config(tiny_model, replace(load_config(tiny_model), training={"data": record}))
    return tiny_model


@pytest.fixture
def hub(tmp_path, monkeypatch) -> FakeHub:
    """A Hub of its own for one test, empty; see `tests/fakes/hub.py` for what it can do.

    The client of this process talks to it, as the user "me", with a cache of its own. Nothing sleeps in this
    process; `hub.waits` lists the seconds that would have been slept.
    """
    from fakes.hub import fake_hub

    return fake_hub(tmp_path / "hf_home", monkeypatch)
