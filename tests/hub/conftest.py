"""Fixtures of the tests of the Hub."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.fault_table import World, make_model_folder
from fakes.hub_server import HubServer


@pytest.fixture
def world(hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """An empty Hub and a model folder."""
    return World(hub, make_model_folder(tmp_path / "model"), tmp_path / "hf_home", monkeypatch)
