"""A model folder, `model.safetensors` and `config.json`: saving, and strict loading without network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from busi_unet.config import WEIGHTS_NAME, ModelConfig
from busi_unet.errors import IncompatibleModelError
from busi_unet.io.files import replace_file
from busi_unet.models.folder import load_config, save_config, weights_path
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
    """Write a model folder; each of its files is replaced whole or not at all.

    Convolution and linear weights are stored as float16, which halves the folder; everything else (biases,
    batch-norm statistics) as it is.

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
    """Return a tensor of a model as its folder rounds it: weights with more than one axis to float16."""
    return (tensor.half() if tensor.ndim > 1 else tensor).detach()


def load_model(folder: str | os.PathLike) -> LoadedModel:
    """Read a model folder.

    Raises:
        IncompatibleModelError: a file is missing or damaged, or a key, tensor, shape or value is not what
            this version of the package expects.
    """
    config = load_config(folder)
    try:
        model = UNet(config.architecture)
    except IncompatibleModelError as error:
        raise IncompatibleModelError(f"{folder}: {error.message}", error.hint) from error
    path = weights_path(folder)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise IncompatibleModelError(
            f"{path} is damaged or not a safetensors file ({error}).",
            "Copy it again, or ask whoever published it.",
        ) from error
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    with_ood = {} if config.calibration.ood_threshold is None else ood_shapes(model.encoder.channels[-2])
    _check_tensors(path, tensors, shapes | {_OOD_PREFIX + name: shape for name, shape in with_ood.items()})
    arrays = {name: tensors.pop(_OOD_PREFIX + name).numpy() for name in with_ood}
    model.load_state_dict(tensors)
    return LoadedModel(model.eval(), config, OodDetector(**arrays) if with_ood else None)


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
