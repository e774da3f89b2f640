from dataclasses import replace
from pathlib import Path

import pytest

from busi_unet.data.prepared import load_prepared, split_hash
from busi_unet.models.folder import load_config, save_config


@pytest.fixture
def trained(tiny_model, prepared) -> Path:
    """A model folder whose record says that it was trained on the prepared split."""
    data = load_prepared(prepared)
    folds = {name: sorted(set(data[name]["fold"])) for name in data}
    training = {"data": {"split_sha256": split_hash(data), "folds": folds}}
    save_config(tiny_model, replace(load_config(tiny_model), training=training))
    return tiny_model
