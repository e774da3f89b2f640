"""What makes several processes train like one: shared batch statistics, noise and decisions.

Everything here works without a process group too, and then costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F


def process_count() -> int:
    """1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def highest(values: Sequence[int], device: torch.device) -> list[int]:
    """Each value's maximum over the processes: what one of them wants or sees, all know."""
    return _reduce(values, device, torch.int64, "MAX")


def total(values: Sequence[float], device: torch.device) -> list[float]:
    """Each value's sum over the processes."""
    return _reduce(values, device, torch.float64, "SUM")


def collect(items: Sequence[Any]) -> list[Any]:
    """The items of all processes, in the order of the processes."""
    if process_count() == 1:
        return list(items)
    gathered: list[Any] = [None] * process_count()
    dist.all_gather_object(gathered, list(items))
    return [item for part in gathered for item in part]


def share_batches(model: nn.Module, device: torch.device) -> None:
    """Has the network treat the shares of the processes as one batch, in place.

    Batch norm then takes its statistics over all processes, and dropout draws one noise for all.
    Names and weights stay as they are, frozen ones frozen. The processes must have equal shares and equal
    random states.
    """
    if process_count() == 1:
        return
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            # torch's own refuses the CPU.
            kind = SharedBatchNorm2d if device.type == "cpu" else nn.SyncBatchNorm
            shared = kind(module.num_features, module.eps, module.momentum)
            shared.load_state_dict(module.state_dict())
            for own, former in zip(shared.parameters(), module.parameters(), strict=True):
                own.requires_grad_(former.requires_grad)
            model.set_submodule(name, shared)
        elif isinstance(module, nn.Dropout):
            model.set_submodule(name, SharedDropout(module.p))


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose mean and variance in training are those of the batch of all processes."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W), N equal on all processes, to the same shape."""
        if not self.training:
            return super().forward(x)
        processes, axes = process_count(), (0, 2, 3)
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        mean = _Sum.apply(values.mean(axes)) / processes
        centred = values - mean[:, None, None]
        # From the centred values: the mean of squares less the square of the mean would lose digits.
        variance = _Sum.apply(centred.square().mean(axes)) / processes
        with torch.no_grad():
            count = processes * x.numel() // x.shape[1]
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


class SharedDropout(nn.Dropout):
    """Dropout with this process's part of the noise that one process would draw for the whole batch."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...), N equal on all processes, to the same shape."""
        if not self.training:
            return x
        noise = F.dropout(x.new_ones(process_count() * len(x), *x.shape[1:]), self.p)
        return x * noise.chunk(process_count())[dist.get_rank()]


class _Sum(torch.autograd.Function):
    """Sum over the processes; each has its part in the losses of all, so gradients are summed too."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        result = x.contiguous().clone()
        dist.all_reduce(result)
        return result

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient)


def _reduce(values: Sequence, device: torch.device, dtype: torch.dtype, operation: str) -> list:
    if process_count() == 1:
        return list(values)
    tensor = torch.tensor(list(values), dtype=dtype, device=device)
    dist.all_reduce(tensor, op=getattr(dist.ReduceOp, operation))
    return tensor.tolist()
