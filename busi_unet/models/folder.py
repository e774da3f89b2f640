"""A model folder, `model.safetensors`, `config.json`, `model.onnx`: saving, strict loading, hashes.

torch is imported only where the network is saved or loaded from `model.safetensors`.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from busi_unet.config import CONFIG_NAME, ONNX_NAME, WEIGHTS_NAME, ModelConfig
from busi_unet.errors import IncompatibleModelError
from busi_unet.io.files import replace_file, sha256_of
from busi_unet.models.ood import OodDetector, ood_shapes

if TYPE_CHECKING:
    from busi_unet.models.unet import UNet

_OOD_PREFIX = "ood."
_WHICH_FOLDER = "Name the folder model/ of a run of busi-unet train, or download the model again."


class LoadedModel(NamedTuple):
    """What a model folder holds: the model in float32, on the CPU, in evaluation mode; its `config.json`; and
    the detector, None where `config.calibration.ood_threshold` is.
    """

    model: UNet
    config: ModelConfig
    ood: OodDetector | None


def save_model(
    folder: str | os.PathLike, model: UNet, config: ModelConfig, ood: OodDetector | None = None
) -> Path:
    """Write a model folder, and return it; each of its files is replaced whole or not at all.

    Convolution and linear weights are stored as float16, which halves the folder; everything else (biases,
    batch-norm statistics) as it is. `model.onnx` is removed. The detector `ood` is stored beside the weights;
    it must be given where the config has a threshold for it.
    """
    import torch
    from safetensors.torch import save

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: (tensor.half() if tensor.ndim > 1 else tensor).detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
    }
    if ood is not None:
        tensors |= {_OOD_PREFIX + name: torch.from_numpy(array) for name, array in vars(ood).items()}
    content = save(tensors, metadata={"format": "pt"})
    (folder / ONNX_NAME).unlink(missing_ok=True)
    replace_file(folder / WEIGHTS_NAME, lambda file: file.write(content))
    save_config(folder, dataclasses.replace(config, onnx=None))
    return folder


def load_model(folder: str | os.PathLike) -> LoadedModel:
    """Read a model folder.

    Raises:
        IncompatibleModelError: a file is missing or damaged, or a key, tensor, shape or value is not what
            this version of the package expects.
    """
    from busi_unet.models.unet import UNet

    config = load_config(folder)
    try:
        model = UNet(config.architecture)
    except IncompatibleModelError as error:
        raise IncompatibleModelError(f"{folder}: {error.message}", error.hint) from error
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    model.load_state_dict(_read_tensors(folder, expected, of_ood=False))
    return LoadedModel(model.eval(), config, load_ood(folder, config, model.encoder.channels[-2]))


def load_ood(folder: str | os.PathLike, config: ModelConfig, features: int) -> OodDetector | None:
    """Read the detector beside the weights, on so many pooled features, without torch.

    Raises:
        IncompatibleModelError: it is missing, damaged or does not fit.
    """
    shapes = {} if config.calibration.ood_threshold is None else ood_shapes(features)
    expected = {_OOD_PREFIX + name: shape for name, shape in shapes.items()}
    arrays = _read_tensors(folder, expected, of_ood=True)
    return OodDetector(*(arrays[name] for name in expected)) if expected else None


def _read_tensors(
    folder: str | os.PathLike, expected: Mapping[str, tuple[int, ...]], *, of_ood: bool
) -> dict[str, Any]:
    """Return the tensors of the network, or as arrays those of the detector; all have the expected shapes."""
    from safetensors import SafetensorError, safe_open

    path = Path(folder) / WEIGHTS_NAME
    if not path.is_file():
        raise IncompatibleModelError(f"{folder} holds no {WEIGHTS_NAME}.", _WHICH_FOLDER)
    try:
        with safe_open(path, framework="np" if of_ood else "pt") as file:
            names = [name for name in file.keys() if name.startswith(_OOD_PREFIX) == of_ood]  # noqa: SIM118
            found = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise IncompatibleModelError(
            f"{path} is damaged or not a safetensors file ({error}).",
            "Copy it again, or ask whoever published it.",
        ) from error
    problems = [f"misses {name}" for name in expected if name not in found]
    problems += [f"has the unknown tensor {name}" for name in found if name not in expected]
    for name in expected.keys() & found.keys():
        if tuple(found[name].shape) != expected[name]:
            problems.append(f"{name} is {tuple(found[name].shape)}, expected {expected[name]}")
        # NumPy's isfinite does not know every type of torch.
        elif not (found[name] - found[name] == 0).all():
            problems.append(f"{name} holds NaN or infinite values")
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise IncompatibleModelError(
            f"{path} does not fit its config.json: {'; '.join(sorted(problems)[:3])}{more}.",
            "Use weights and config of one and the same model.",
        )
    return found


def find_twin(folder: str | os.PathLike, config: ModelConfig) -> Path | None:
    """Return the path of `model.onnx` in a model folder; None where there is none.

    Raises:
        IncompatibleModelError: it was made from other weights.
    """
    path = Path(folder) / ONNX_NAME
    if not (path.is_file() and (Path(folder) / WEIGHTS_NAME).is_file()):
        return None
    made_from = config.onnx and (config.onnx.sha256, config.onnx.weights_sha256)
    if made_from != (sha256_of(path), weights_hash(folder)):
        raise IncompatibleModelError(
            f"{path} was not made from the {WEIGHTS_NAME} beside it.", f"Run: busi-unet export {folder}"
        )
    return path


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


def model_hash(folder: str | os.PathLike) -> str:
    """Return the SHA-256 of all that decides what a model answers: weights, and the config but its history.

    Metrics belong to this: another threshold or calibration gives others, `model.onnx` the same.
    """
    config = dataclasses.asdict(load_config(folder))
    del config["training"], config["onnx"]
    return sha256((weights_hash(folder) + json.dumps(config, sort_keys=True)).encode()).hexdigest()


def weights_hash(folder: str | os.PathLike) -> str:
    """Return the SHA-256 of a model folder's weights."""
    return sha256_of(Path(folder) / WEIGHTS_NAME)
