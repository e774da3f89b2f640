"""What runs the network: ONNX Runtime on the CPU, or PyTorch, which is imported once it is needed."""

from __future__ import annotations

import ctypes
import importlib.util
import os
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime

from busi_unet.config import ONNX_NAME, ModelConfig
from busi_unet.errors import IncompatibleModelError, MissingDependencyError, UsageError
from busi_unet.inference.prediction import RawOutput
from busi_unet.models.folder import find_twin, load_config, load_model, load_ood
from busi_unet.models.ood import OodDetector


class Runtime(Protocol):
    """What runs the network: `TorchRuntime` or `OnnxRuntime`."""

    def run(self, batch: np.ndarray) -> list[RawOutput]:
        """Return what the network says of preprocessed images float32 (N, 1, S, S)."""


def open_session(source: Path | bytes) -> onnxruntime.InferenceSession:
    """Return a network, from a file or its content; safe to share between threads."""
    options = onnxruntime.SessionOptions()
    # As PyTorch; 0 takes every core.
    options.intra_op_num_threads = int((os.environ.get("OMP_NUM_THREADS") or "0").split(",")[0])
    content = source if isinstance(source, bytes) else os.fspath(source)
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


class OnnxRuntime:
    """A `Runtime` of ONNX Runtime; safe to share between threads.

    Args:
        source: `model.onnx`, or its content; as `models.onnx_export.export_unet` makes it.

    Attributes:
        features: how many channels are pooled for each image.
    """

    def __init__(self, source: Path | bytes) -> None:
        self._session = open_session(source)
        shapes = {output.name: output.shape for output in self._session.get_outputs()}
        self.features: int = shapes["features"][1]

    def run(self, batch: np.ndarray) -> list[RawOutput]:
        """Return what the network says of float32 (N, 1, S, S), two at a time.

        On a processor, larger batches take as long, and memory for the largest would be kept.
        """
        names = ["probability", "class_logits", "class_activation_maps", "features"]
        outputs = []
        for start in range(0, len(batch), 2):
            arrays = self._session.run(names, {"image": batch[start : start + 2]})
            outputs += [RawOutput(*of_one) for of_one in zip(*arrays, strict=True)]
        return outputs


def load_runtime(
    folder: Path, runtime: str = "auto", device: str = "auto"
) -> tuple[Runtime, ModelConfig, OodDetector | None]:
    """Load the network of a model folder, its config, and its detector of images out of distribution.

    Args:
        folder: a model folder.
        runtime: "onnx", "torch", or "auto": ONNX Runtime where the folder holds `model.onnx`, unless there is
            a GPU of NVIDIA that PyTorch can use; else PyTorch.
        device: of PyTorch; "auto" takes CUDA, else MPS, else the CPU. ONNX Runtime is used on the CPU only.

    Raises:
        UsageError: there is no such runtime, or the device cannot be used.
        IncompatibleModelError: the folder does not hold a model of this package, its `model.onnx` is stale,
            or missing though asked for.
        MissingDependencyError: PyTorch is needed and not installed.
    """
    if runtime not in ("auto", "onnx", "torch"):
        raise UsageError(f"There is no runtime {runtime!r}.", "Use auto, onnx or torch.")
    on_cpu = device in ("auto", "cpu")
    if runtime == "onnx" and not on_cpu:
        raise UsageError(f"ONNX Runtime runs on the CPU alone, not on {device}.", "Leave the device at auto.")
    if runtime != "torch" and on_cpu:
        config = load_config(folder)
        twin = find_twin(folder, config)
        if twin is None and runtime == "onnx":
            raise IncompatibleModelError(f"{folder} holds no {ONNX_NAME}.", f"Run: busi-unet export {folder}")
        if twin and (runtime == "onnx" or device == "cpu" or not _has_cuda()):
            loaded = OnnxRuntime(twin)
            return loaded, config, load_ood(folder, config, loaded.features)
    try:
        from busi_unet.inference.torch_runtime import TorchRuntime
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        needed = f"{folder}, which holds no {ONNX_NAME}" if runtime == "auto" else "this runtime"
        raise MissingDependencyError(
            f"PyTorch is not installed; it is needed for {needed if on_cpu else f'the device {device}'}.",
            'Run: pip install "busi-unet[torch]"',
        ) from error
    model, config, ood = load_model(folder)
    return TorchRuntime(model, device), config, ood


def _has_cuda() -> bool:
    """Return whether PyTorch can use CUDA; it is not imported where there is no driver."""
    try:
        ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    if importlib.util.find_spec("torch") is None:
        return False
    from busi_unet.inference.torch_runtime import choose_device

    return choose_device("auto").type == "cuda"
