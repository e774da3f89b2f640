"""A model folder: `model.safetensors` + `config.json`. Saving, and strict loading without network."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from busi_unet.config import BundleConfig
from busi_unet.errors import IncompatibleBundleError
from busi_unet.files import replace_file
from busi_unet.model.unet import UNet

WEIGHTS_NAME = "model.safetensors"
CONFIG_NAME = "config.json"
# Not needed to use a model: the summary of scripts/evaluate.py for its weights, which the app shows.
EVALUATION_NAME = "evaluation.json"


def save_bundle(folder: str | os.PathLike, model: UNet, config: BundleConfig) -> Path:
    """Writes a model folder; each of its files is replaced whole or not at all.

    Convolution and linear weights are stored as float16, which halves the folder; everything
    else (biases, batch-norm statistics) as it is.

    Args:
        folder: created where missing.
        model: its architecture must be the one in `config`.
        config: written to `config.json`.

    Returns:
        The folder.
    """
    if model.architecture != config.architecture:
        raise ValueError(f"the model is {model.architecture}, the config says {config.architecture}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: (tensor.half() if tensor.ndim > 1 else tensor).detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }
    content = save(tensors, metadata={"format": "pt"})
    replace_file(folder / WEIGHTS_NAME, lambda file: file.write(content))
    save_config(folder, config)
    return folder


def save_config(folder: str | os.PathLike, config: BundleConfig) -> None:
    """Replaces only the `config.json` of a model folder."""
    text = json.dumps(config.to_dict(), indent=2) + "\n"
    replace_file(Path(folder) / CONFIG_NAME, lambda file: file.write(text.encode()))


def load_bundle(folder: str | os.PathLike) -> tuple[UNet, BundleConfig]:
    """Reads a model folder.

    Returns:
        The network in float32, on the CPU, in evaluation mode, and its config.

    Raises:
        IncompatibleBundleError: a file is missing or damaged, or a key, tensor, shape or value
            is not what this version of the package expects.
    """
    folder = Path(folder)
    config = load_config(folder)
    model = UNet(config.architecture)
    path = folder / WEIGHTS_NAME
    if not path.is_file():
        raise IncompatibleBundleError(
            f"{folder} holds no {WEIGHTS_NAME}.",
            "Name a folder that train.py wrote, or download the model again.",
        )
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise IncompatibleBundleError(
            f"{path} is damaged or no safetensors file ({error}).",
            "Copy it again, or ask whoever published it.",
        ) from error
    _check_tensors(path, tensors, model.state_dict())
    model.load_state_dict(tensors)
    return model.eval(), config


def load_config(folder: str | os.PathLike) -> BundleConfig:
    """Reads only the `config.json` of a model folder; raises as `load_bundle`."""
    path = Path(folder) / CONFIG_NAME
    if not path.is_file():
        raise IncompatibleBundleError(
            f"{folder} holds no {CONFIG_NAME}.",
            "Name a folder that train.py wrote, or download the model again.",
        )
    try:
        return BundleConfig.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise IncompatibleBundleError(
            f"{path} is not JSON ({error}).", "Copy it again, or ask whoever published it."
        ) from error
    except IncompatibleBundleError as error:
        raise IncompatibleBundleError(f"{folder}: {error.message}", error.hint) from error


def weights_hash(folder: str | os.PathLike) -> str:
    """SHA-256 of a model folder's weights, to tell which model a figure belongs to."""
    return sha256((Path(folder) / WEIGHTS_NAME).read_bytes()).hexdigest()


def _check_tensors(path: Path, found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    problems = [f"misses {name}" for name in expected if name not in found]
    problems += [f"has the unknown tensor {name}" for name in found if name not in expected]
    for name in expected.keys() & found.keys():
        if found[name].shape != expected[name].shape:
            problems.append(f"{name} is {tuple(found[name].shape)}, expected {tuple(expected[name].shape)}")
        elif not torch.isfinite(found[name].float()).all():
            problems.append(f"{name} holds NaN or infinite values")
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise IncompatibleBundleError(
            f"{path} does not fit its config.json: {'; '.join(sorted(problems)[:3])}{more}.",
            "Use weights and config of one and the same model.",
        )
