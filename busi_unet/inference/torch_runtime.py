"""PyTorch on a device: the only module of inference that imports torch."""

from __future__ import annotations

import os

import numpy as np
import torch

from busi_unet.errors import UsageError
from busi_unet.inference.prediction import RawOutput
from busi_unet.models.unet import UNet


class TorchRuntime:
    """A `Runtime` of PyTorch; safe to share between threads.

    Args:
        model: moved to the device and put into evaluation mode.
        device: a torch device; "auto" takes CUDA, else MPS, else the CPU.

    Raises:
        UsageError: the device cannot be used on this machine.
    """

    def __init__(self, model: UNet, device: str = "auto") -> None:
        self.device = choose_device(device)
        # A fifth faster on CPUs, and made for tensor cores; MPS has had wrong results with it.
        self._layout = torch.contiguous_format if self.device.type == "mps" else torch.channels_last
        self.model = model.to(self.device, memory_format=self._layout).eval()

    def run(self, batch: np.ndarray) -> list[RawOutput]:
        """Return what the network says of float32 (N, 1, S, S), in one forward pass."""
        tensor = torch.from_numpy(batch).to(self.device, memory_format=self._layout)
        with torch.inference_mode():
            arrays = [part.float().cpu().numpy() for part in self.model.explain(tensor)]
        return [RawOutput(*of_one) for of_one in zip(*arrays, strict=True)]


def choose_device(device: str) -> torch.device:
    if device != "auto":
        try:
            return torch.empty(0, device=device).device
        except (RuntimeError, AssertionError) as error:
            raise UsageError(
                f"The device {device!r} cannot be used on this machine.", "Leave it at auto, or use cpu."
            ) from error
    if torch.cuda.is_available():
        # Processes that accelerate launch starts have a GPU each.
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK") or 0) % torch.cuda.device_count())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
