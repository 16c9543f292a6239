"""Sums over the processes of a distributed training."""

import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """How many processes train together; 1 where none other is joined."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_ranks(values: Tensor) -> Tensor:
    """`values`, added over all processes in place."""
    if world_size() > 1:
        dist.all_reduce(values)
    return values
