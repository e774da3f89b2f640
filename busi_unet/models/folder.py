"""A model folder without its network: its config and its hashes; free of torch."""

from __future__ import annotations

import dataclasses
import json
import os
from hashlib import sha256
from pathlib import Path

from busi_unet.config import CONFIG_NAME, WEIGHTS_NAME, ModelConfig
from busi_unet.errors import IncompatibleModelError
from busi_unet.io.files import replace_file

_WHICH_FOLDER = "Name the folder model/ of a run of busi-unet train, or download the model again."


def load_config(folder: str | os.PathLike) -> ModelConfig:
    """Read the `config.json` of a model folder.

    Raises:
        IncompatibleModelError: it is missing, or holds what this version of the package does not expect.
    """
    path = Path(folder) / CONFIG_NAME
    if not path.is_file():
        of_run = Path(folder) / "model"
        is_run = (of_run / CONFIG_NAME).is_file()
        raise IncompatibleModelError(
            f"{folder} holds no {CONFIG_NAME}.", f"It is a run; name {of_run}." if is_run else _WHICH_FOLDER
        )
    try:
        return ModelConfig.from_json(path.read_bytes())
    except IncompatibleModelError as error:
        raise IncompatibleModelError(f"{folder}: {error.message}", error.hint) from error


def save_config(folder: str | os.PathLike, config: ModelConfig) -> None:
    """Replace the `config.json` of a model folder and nothing else."""
    replace_file(Path(folder) / CONFIG_NAME, lambda file: file.write(config.to_json().encode()))


def weights_path(folder: str | os.PathLike) -> Path:
    """Return where the weights of a model folder are.

    Raises:
        IncompatibleModelError: there are none.
    """
    path = Path(folder) / WEIGHTS_NAME
    if not path.is_file():
        raise IncompatibleModelError(f"{folder} holds no {WEIGHTS_NAME}.", _WHICH_FOLDER)
    return path


def model_hash(folder: str | os.PathLike) -> str:
    """Return the SHA-256 of all that decides what a model answers: weights, and the config but its history.

    Metrics belong to this: another threshold or calibration gives others.
    """
    config = dataclasses.asdict(load_config(folder))
    del config["training"]
    return sha256((weights_hash(folder) + json.dumps(config, sort_keys=True)).encode()).hexdigest()


def weights_hash(folder: str | os.PathLike) -> str:
    """Return the SHA-256 of a model folder's weights."""
    return sha256((Path(folder) / WEIGHTS_NAME).read_bytes()).hexdigest()
