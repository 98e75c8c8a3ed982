"""Gradient descent of networks of PyTorch: the one loop, and the rows of its batches.

order = rows(len(images), 128, torch.Generator().manual_seed(seed))
losses = (loss(images[chosen], labels[chosen]) for chosen in order)
for step in descend(network, optimiser, losses, rate=lambda step: 0.1, stops=(100, 200)):
...                                         # the network may be measured here
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


def rows(count: int, batch: int, draw: torch.Generator, *, rest: bool = False) -> Iterator[Tensor]:
    """Rows of each step without end: parts of a new order every epoch.

    Args:
        count: examples there are.
        batch: rows a step; all of them where there are fewer.
        draw: on the CPU, so that every device sees the same order.
        rest: whether what is left over at the end of an epoch is a smaller batch; otherwise it is
            dropped, since the noise of a step goes with its size.
    """
    batch = min(batch, count)
    whole = count if rest else count // batch * batch
    while True:
        yield from torch.split(torch.randperm(count, generator=draw)[:whole], batch)


def descend(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    losses: Iterator[Tensor],
    *,
    rate: Callable[[int], float],
    stops: Sequence[int],
) -> Iterator[int]:
    """Train, and say at each stop that it is reached.

    Args:
        network: is in training mode at every step, also where it was measured at a stop.
        optimiser: of what is trained, which need not be the network's own parameters.
        losses: one a step, computed when it is asked for.
        rate: of learning, from the step, counted from 0.
        stops: rising steps.
    """
    for begin, end in pairwise((0, *stops)):
        network.train()
        for step in range(begin, end):
            optimiser.param_groups[0]["lr"] = rate(step)
            optimiser.zero_grad()
            torch.autograd.backward(next(losses))
            optimiser.step()
        yield end
