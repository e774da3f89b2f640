"""`model.onnx`, the twin of `model.safetensors` for ONNX Runtime: made, compared with PyTorch, written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
from scipy.special import softmax

from busi_unet.config import ONNX_NAME, OnnxTwin
from busi_unet.errors import IncompatibleModelError
from busi_unet.inference.prediction import RawOutput
from busi_unet.inference.predictor import Predictor
from busi_unet.inference.runtime import OnnxRuntime
from busi_unet.inference.torch_runtime import TorchRuntime
from busi_unet.io.decode import ImageSource, read_image
from busi_unet.io.files import replace_file
from busi_unet.models.folder import load_model, save_config, weights_hash
from busi_unet.models.onnx_export import export_unet

EXAMPLES = sorted((Path(__file__).parents[1] / "app" / "examples").glob("*.[jp][pn]g"))
LARGEST_DIFFERENCE = 1e-3


def write_twin(folder: str | os.PathLike, images: Sequence[ImageSource] = ()) -> OnnxTwin:
    """Write `model.onnx` into a model folder, once it answers as PyTorch does; return what is said of it.

    Args:
        folder: of a model; its `config.json` then names the twin.
        images: compared on these too, besides the examples of the app.

    Raises:
        IncompatibleModelError: the folder does not hold a model, or a probability differs by more than
            `LARGEST_DIFFERENCE`; then nothing is written.
        UnreadableImageError: not an image.
    """
    model, config, _ = load_model(folder)
    content = export_unet(model, config.preprocess.size)
    compared = [*EXAMPLES, *images]
    runtimes = (TorchRuntime(model, "cpu"), OnnxRuntime(content))
    difference = largest_difference([Predictor(runtime, config) for runtime in runtimes], compared)
    # As a NaN would be.
    if not difference <= LARGEST_DIFFERENCE:
        raise IncompatibleModelError(
            f"ONNX Runtime's probabilities differ from PyTorch's by up to {difference:.1g}, more than "
            f"{LARGEST_DIFFERENCE:g}; no {ONNX_NAME} was written.",
            "Use the model with PyTorch.",
        )
    twin = OnnxTwin(sha256(content).hexdigest(), weights_hash(folder), difference, len(compared))
    replace_file(Path(folder) / ONNX_NAME, lambda file: file.write(content))
    save_config(folder, replace(config, onnx=twin))
    return twin


def largest_difference(predictors: Sequence[Predictor], images: Sequence[ImageSource]) -> float:
    """Return by how much two predictors' probabilities of lesion and uncalibrated class differ at most."""
    differences = []
    for image in images:
        pixels = [read_image(image).pixels]
        one, other = (_probabilities(predictor.run(pixels)[0]) for predictor in predictors)
        differences.append(np.abs(one - other).max())
    return float(np.max(differences))


def _probabilities(raw: RawOutput) -> np.ndarray:
    return np.concatenate([raw.probability.ravel(), softmax(raw.class_logits)])
