"""Fixtures for the handlers of the app, which write to a folder of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from fakes.image_files import encoded
from PIL import Image

from busi_unet.app.analysis import Analysis, Look
from busi_unet.app.image_actions import ImageActions
from busi_unet.app.image_answer import AnalysisResult, whole
from busi_unet.app.image_handlers import ImageHandlers
from busi_unet.app.model import LazyModel
from busi_unet.data.phantom import make_phantom


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder from which Gradio serves files, for one test."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    return tmp_path / "gradio"


@pytest.fixture
def model(tiny_model: Path, cache: Path) -> LazyModel:
    return LazyModel(str(tiny_model))


@pytest.fixture
def handlers(model: LazyModel) -> ImageHandlers:
    return ImageHandlers(model)


@pytest.fixture
def actions(model: LazyModel) -> ImageActions:
    return ImageActions(model)


@pytest.fixture
def upload(tmp_path: Path) -> Callable[..., str]:
    """Write a file and return its path."""

    def write(content: bytes | Image.Image, name: str = "upload.png") -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else encoded(content))
        return str(path)

    return write


@pytest.fixture
def analysis(handlers: ImageHandlers, upload: Callable[..., str]) -> Analysis:
    image = Image.fromarray(make_phantom("benign", seed=1, size=(72, 120)).image)
    return handlers.analyse(upload(image), None)


@pytest.fixture
def shown(model: LazyModel) -> Callable[[Analysis], dict[str, Any]]:
    """Return what the page shows of a new image."""
    return lambda analysis: whole(AnalysisResult(analysis, model()))


@pytest.fixture
def redraw(actions: ImageActions) -> Callable[..., dict[str, Any]]:
    """Return what the page shows of the kept image under a threshold and fields of `Look`."""
    return lambda analysis, threshold=None, **look: actions.redraw(
        analysis, threshold, *asdict(Look(**look)).values()
    )
