"""A model folder: `model.safetensors` + `config.json`. Saving, and strict loading without network."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from busi_unet.config import CONFIG_NAME, WEIGHTS_NAME, ModelConfig
from busi_unet.errors import IncompatibleModelError
from busi_unet.io.files import replace_file
from busi_unet.models.ood import OodDetector, ood_shapes
from busi_unet.models.unet import UNet

_OOD_PREFIX = "ood."


class LoadedModel(NamedTuple):
    """What a model folder holds.

    Attributes:
        model: in float32, on the CPU, in evaluation mode.
        config: its `config.json`.
        ood: None where `config.calibration.ood_threshold` is.
    """

    model: UNet
    config: ModelConfig
    ood: OodDetector | None


def save_model(
    folder: str | os.PathLike, model: UNet, config: ModelConfig, ood: OodDetector | None = None
) -> Path:
    """Writes a model folder; each of its files is replaced whole or not at all.

    Convolution and linear weights are stored as float16, which halves the folder; everything
    else (biases, batch-norm statistics) as it is.

    Args:
        folder: created where missing.
        model: its architecture must be the one in `config`.
        config: written to `config.json`.
        ood: stored beside the weights; it must be given where the config has a threshold for it.

    Returns:
        The folder.
    """
    if (ood is None) != (config.calibration.ood_threshold is None):
        raise ValueError("an OOD detector and calibration.ood_threshold belong together")
    if model.architecture != config.architecture:
        raise ValueError(f"the model is {model.architecture}, the config says {config.architecture}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: stored(tensor).cpu().contiguous() for name, tensor in model.state_dict().items()}
    if ood is not None:
        tensors |= {_OOD_PREFIX + name: torch.from_numpy(array) for name, array in ood.tensors().items()}
    content = save(tensors, metadata={"format": "pt"})
    replace_file(folder / WEIGHTS_NAME, lambda file: file.write(content))
    save_config(folder, config)
    return folder


def stored(tensor: Tensor) -> Tensor:
    """A tensor of a model as its folder rounds it: weights with more than one axis to float16."""
    return (tensor.half() if tensor.ndim > 1 else tensor).detach()


def save_config(folder: str | os.PathLike, config: ModelConfig) -> None:
    """Replaces only the `config.json` of a model folder."""
    text = json.dumps(config.to_dict(), indent=2) + "\n"
    replace_file(Path(folder) / CONFIG_NAME, lambda file: file.write(text.encode()))


def load_model(folder: str | os.PathLike) -> LoadedModel:
    """Reads a model folder.

    Raises:
        IncompatibleModelError: a file is missing or damaged, or a key, tensor, shape or value
            is not what this version of the package expects.
    """
    folder = Path(folder)
    config = load_config(folder)
    model = UNet(config.architecture)
    path = folder / WEIGHTS_NAME
    if not path.is_file():
        raise IncompatibleModelError(
            f"{folder} holds no {WEIGHTS_NAME}.",
            "Name the folder model/ of a run of busi-unet train, or download the model again.",
        )
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise IncompatibleModelError(
            f"{path} is damaged or no safetensors file ({error}).",
            "Copy it again, or ask whoever published it.",
        ) from error
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    with_ood = {} if config.calibration.ood_threshold is None else ood_shapes(model.encoder.channels[-2])
    _check_tensors(path, tensors, shapes | {_OOD_PREFIX + name: shape for name, shape in with_ood.items()})
    arrays = {name: tensors.pop(_OOD_PREFIX + name).numpy() for name in with_ood}
    model.load_state_dict(tensors)
    return LoadedModel(model.eval(), config, OodDetector(**arrays) if with_ood else None)


def load_config(folder: str | os.PathLike) -> ModelConfig:
    """Reads only the `config.json` of a model folder; raises as `load_model`."""
    path = Path(folder) / CONFIG_NAME
    if not path.is_file():
        of_run = Path(folder) / "model"
        raise IncompatibleModelError(
            f"{folder} holds no {CONFIG_NAME}.",
            f"It is a run; name {of_run}."
            if (of_run / CONFIG_NAME).is_file()
            else "Name the folder model/ of a run of busi-unet train, or download the model again.",
        )
    try:
        return ModelConfig.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:
        # Beside what is no JSON: nested without end, or a number of thousands of digits.
        raise IncompatibleModelError(
            f"{path} is not JSON ({str(error)[:200]}).", "Copy it again, or ask whoever published it."
        ) from error
    except IncompatibleModelError as error:
        raise IncompatibleModelError(f"{folder}: {error.message}", error.hint) from error


def model_hash(folder: str | os.PathLike) -> str:
    """SHA-256 of all that decides what a model answers: weights, and the config but for its history.

    Figures belong to this: another threshold or calibration gives others.
    """
    config = load_config(folder).to_dict()
    del config["training"]
    return sha256((weights_hash(folder) + json.dumps(config, sort_keys=True)).encode()).hexdigest()


def weights_hash(folder: str | os.PathLike) -> str:
    """SHA-256 of a model folder's weights, to tell which model a figure belongs to."""
    return sha256((Path(folder) / WEIGHTS_NAME).read_bytes()).hexdigest()


def _check_tensors(path: Path, found: dict[str, torch.Tensor], expected: dict[str, tuple[int, ...]]) -> None:
    problems = [f"misses {name}" for name in expected if name not in found]
    problems += [f"has the unknown tensor {name}" for name in found if name not in expected]
    for name in expected.keys() & found.keys():
        if tuple(found[name].shape) != expected[name]:
            problems.append(f"{name} is {tuple(found[name].shape)}, expected {expected[name]}")
        elif not torch.isfinite(found[name].float()).all():
            problems.append(f"{name} holds NaN or infinite values")
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise IncompatibleModelError(
            f"{path} does not fit its config.json: {'; '.join(sorted(problems)[:3])}{more}.",
            "Use weights and config of one and the same model.",
        )
