"""Processes that train one model together: each takes its share of every batch.

torchrun starts them and says in the environment who is who (RANK, WORLD_SIZE). Gradients are
averaged by DistributedDataParallel while the backward pass still runs (Li et al. 2020,
arXiv:2006.15704).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """This process's number among `size`."""

    rank: int = 0
    size: int = 1

    def share(self, batch: Tensor, axis: int) -> Tensor:
        """This process's part of a batch: every `size`-th example along an axis."""
        if self.size == 1:
            return batch
        mine = torch.arange(self.rank, batch.shape[axis], self.size, device=batch.device)
        return batch.index_select(axis, mine)

    def together(self, module: nn.Module) -> nn.Module:
        """The module, whose gradients become those of the whole batch."""
        return module if self.size == 1 else nn.parallel.DistributedDataParallel(module)

    def sum(self, part: Tensor) -> Tensor:
        """The sum over all processes, which each of them gets."""
        if self.size > 1:
            dist.all_reduce(part)
        return part

    def any(self, yes: bool, device: str) -> bool:
        """Whether any process says yes; all hear the same answer."""
        if self.size == 1:
            return yes
        return bool(self.sum(torch.tensor(float(yes), device=device)))


@contextmanager
def joined(device: str) -> Iterator[Crowd]:
    """Within, the processes that torchrun started know each other."""
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Crowd(rank=dist.get_rank(), size=dist.get_world_size())
    finally:
        dist.destroy_process_group()
