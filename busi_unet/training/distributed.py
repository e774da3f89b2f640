"""What several processes count and decide together.

Everything here works without a process group too, and then costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist


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


def _reduce(values: Sequence, device: torch.device, dtype: torch.dtype, operation: str) -> list:
    if process_count() == 1:
        return list(values)
    tensor = torch.tensor(list(values), dtype=dtype, device=device)
    dist.all_reduce(tensor, op=getattr(dist.ReduceOp, operation))
    return tensor.tolist()
