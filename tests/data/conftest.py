import shutil
from pathlib import Path

import pytest


@pytest.fixture
def broken(phantom_root, tmp_path) -> Path:
    """A fresh copy of the phantoms to spoil."""
    return shutil.copytree(phantom_root, tmp_path / "broken")
