"""Fixtures of the tests of the Hub."""

import pytest


@pytest.fixture
def published(hub, tiny_model) -> dict[str, bytes]:
    """The files of `tiny_model`, which are on the Hub as the model me/busi."""
    files = {path.name: path.read_bytes() for path in tiny_model.iterdir()}
    hub.put("me/busi", files)
    return files
