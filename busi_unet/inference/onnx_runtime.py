"""ONNX Runtime on the CPU: networks without torch."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime

from busi_unet.inference.prediction import RawOutput


def open_session(source: Path | bytes) -> onnxruntime.InferenceSession:
    """Return a network, from a file or its content; safe to share between threads."""
    options = onnxruntime.SessionOptions()
    # As PyTorch; 0 takes every core.
    options.intra_op_num_threads = int((os.environ.get("OMP_NUM_THREADS") or "0").split(",")[0])
    # Memory would be kept for the largest batch so far, and doubled as it grows.
    options.enable_cpu_mem_arena = False
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
        """Return what the network says of float32 (N, 1, S, S), in one forward pass."""
        names = ["probability", "class_logits", "class_activation_maps", "features"]
        arrays = self._session.run(names, {"image": batch})
        return [RawOutput(*of_one) for of_one in zip(*arrays, strict=True)]
