"""Networks that read a symbol of scalefit's source markov and predict the next, many at once.

Replicas stand on a leading axis and never meet. The chain is known, so the loss is computed over
all symbols and not measured on some.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - so called everywhere
from torch import Tensor, nn

from trainers.sources.markov import load


def pairs() -> Tensor:
    """The chance of every two successive symbols, (symbols, symbols)."""
    source = load("markov", 1)
    return torch.from_numpy(source.stationary()[:, None] * source.transition)


def start(seeds: Sequence[int], width: int, symbols: int) -> list[nn.Parameter]:
    """A row a symbol, biases, the way out and its biases, one replica a seed."""
    drawn = []
    for seed in seeds:
        draw = torch.Generator().manual_seed(seed)
        into = torch.randn(symbols, width, generator=draw)
        out = torch.randn(width, symbols, generator=draw) / width**0.5
        drawn.append((into, torch.zeros(1, width), out, torch.zeros(1, symbols)))
    return [nn.Parameter(torch.stack(one)) for one in zip(*drawn, strict=True)]


def logits(weights: Sequence[Tensor], symbols: Tensor) -> Tensor:
    """Of the next symbol, (replicas, examples, symbols), from the last one (replicas, examples)."""
    into, bias, out, level = weights
    replicas, rows, width = into.shape
    # one table for all replicas, in which each looks up its own rows
    places = symbols + torch.arange(replicas)[:, None] * rows
    found = F.embedding(places, into.view(-1, width))
    return torch.baddbmm(level, torch.relu(found + bias), out)


@torch.no_grad()
def exact_loss(weights: Sequence[Tensor], chances: Tensor) -> Tensor:
    """Cross-entropy in nats over all symbols and what may follow them, (replicas,)."""
    symbols = torch.arange(len(chances)).expand(len(weights[0]), -1)
    found = logits(weights, symbols).log_softmax(-1).double()
    return -(found * chances).sum((1, 2))
