"""Fixtures of the tests of the Hub."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.hub import FakeHub


@pytest.fixture
def published(hub: FakeHub, tiny_model: Path) -> dict[str, bytes]:
    """The files of `tiny_model`, which are on the Hub as the model me/busi."""
    files = {path.name: path.read_bytes() for path in tiny_model.iterdir()}
    hub.put("me/busi", files)
    return files
