"""Addition modulo a prime, of which a network is shown a part: what studies of grokking share.

    shown, hidden = split(31, 0.5, seeds)               # (seeds, pairs, 2) each
    table = train(replicas, prime=31, share=0.5, hidden=128, steps=2000, every=20)
    found = delays(table)                               # steps to fit and to understand, by seed

The task is that of Power et al. 2022 (arXiv:2201.02177), the network that of Gromov 2023
(arXiv:2301.02679). Replicas stand on a leading axis and never meet: a seed gives the same run
whatever else stands beside it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.optim import AdamW
from trainers.studies.tools import mlp

FITTED, UNDERSTOOD = 0.99, 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """One training run.

    Attributes:
        seed: of the split and of the start.
        decay: weight decay, decoupled: a step takes rate * decay of each weight away.
        rate: learning rate of AdamW.
    """

    seed: int
    decay: float
    rate: float = 5e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Quadratic:
    """Networks of one hidden layer with squared activations, without biases.

    Attributes:
        prime: the modulus, and how many outputs there are.
        into: a row for each value of either summand, shape (replicas, 2 * prime, hidden).
        out: shape (replicas, hidden, prime).
    """

    prime: int
    into: Tensor
    out: Tensor

    def __call__(self, pairs: Tensor) -> Tensor:
        """One number a residue (replicas, pairs, prime), for pairs (replicas, pairs, 2)."""
        replicas, rows, hidden = self.into.shape
        # as rows of one table of all replicas, which is faster than to gather in each
        places = (torch.arange(replicas, device=pairs.device) * rows)[:, None, None] + pairs
        table = self.into.reshape(-1, hidden)
        first = table.index_select(0, places[..., 0].flatten())
        second = table.index_select(0, places[..., 1].flatten() + self.prime)
        return (first + second).square().view(replicas, -1, hidden).bmm(self.out)

    @property
    def parameters(self) -> tuple[Tensor, Tensor]:
        """All weights."""
        return self.into, self.out


Loss = Callable[[Quadratic, Tensor], Tensor]
"""From networks and pairs to one value a replica."""


def answers(pairs: Tensor, prime: int) -> Tensor:
    """The sum of each pair, as a residue."""
    return pairs.sum(-1) % prime


def split(prime: int, share: float, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Pairs that are shown and pairs that are not, shape (seeds, pairs, 2) each.

    Args:
        prime: the modulus.
        share: of all prime^2 ordered pairs, how many are shown (rounded down).
        seeds: each draws a split of its own.
    """
    pairs = torch.cartesian_prod(torch.arange(prime), torch.arange(prime))
    count = int(share * len(pairs))
    orders = [np.random.default_rng(seed).permutation(len(pairs)) for seed in seeds]
    both = torch.stack([pairs[torch.from_numpy(order)] for order in orders])
    return both[:, :count], both[:, count:]


def draw_quadratic(
    prime: int, hidden: int, seeds: Sequence[int], *, scale: float = 0.25
) -> Quadratic:
    """Networks at their start: normal weights, of deviation `scale` in, 1 / sqrt(hidden) out."""

    def normal(rows: int, columns: int, std: float) -> Tensor:
        draws = [torch.Generator().manual_seed(seed) for seed in seeds]
        return std * torch.stack([torch.randn(rows, columns, generator=draw) for draw in draws])

    into, out = normal(2 * prime, hidden, scale), normal(hidden, prime, hidden**-0.5)
    return Quadratic(prime=prime, into=into, out=out)


def squared(networks: Quadratic, pairs: Tensor) -> Tensor:
    """Squared error against a 1 among 0, mean over pairs and residues; shape (replicas,)."""
    off = networks(pairs) - functional.one_hot(answers(pairs, networks.prime), networks.prime)
    return off.square().mean((1, 2))


def cross_entropy(networks: Quadratic, pairs: Tensor) -> Tensor:
    """Cross-entropy in nats, mean over pairs; shape (replicas,)."""
    return mlp.cross_entropy(networks(pairs), answers(pairs, networks.prime))


def accuracy(networks: Quadratic, pairs: Tensor) -> Tensor:
    """Share of pairs whose largest output is the sum; shape (replicas,)."""
    right = networks(pairs).argmax(-1) == answers(pairs, networks.prime)
    return right.double().mean(1)


def norm(parameters: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of all weights of a replica; shape (replicas,)."""
    return torch.stack([one.flatten(1).square().sum(1) for one in parameters]).sum(0).sqrt()


def walk(
    networks: Quadratic,
    replicas: Sequence[Replica],
    shown: Tensor,
    *,
    steps: int,
    every: int,
    loss: Loss = squared,
) -> Iterator[tuple[int, Quadratic]]:
    """Train on all shown pairs at each step; the networks after each multiple of `every`.

    Args:
        networks: the start, which stays as it is.
        replicas: rate and decay of each.
        shown: pairs, shape (replicas, pairs, 2).
        steps: updates; 0 is looked at too.
        every: how many steps lie between two looks.
        loss: what is descended.
    """
    leaves = [nn.Parameter(one.clone()) for one in networks.parameters]
    walker = replace(networks, into=leaves[0], out=leaves[1])
    optimiser = AdamW({"all": leaves}, {"all": [one.rate for one in replicas]})
    optimiser.aim(1.0)
    decays = [1.0 - one.rate * one.decay for one in replicas]
    kept = torch.tensor(decays, device=shown.device)[:, None, None]
    for step in range(steps + 1):
        if step % every == 0:
            into, out = (leaf.detach().clone() for leaf in leaves)
            yield step, replace(networks, into=into, out=out)
        if step == steps:
            return
        # summed over replicas: the gradient of each is its own
        torch.autograd.backward(loss(walker, shown).sum())
        with torch.no_grad():
            for leaf in leaves:
                leaf.mul_(kept)
        optimiser.step()


def train(
    replicas: Sequence[Replica],
    *,
    prime: int,
    share: float,
    hidden: int,
    steps: int,
    every: int,
    scale: float = 0.25,
    loss: Loss = squared,
    stop: float | None = None,
) -> pd.DataFrame:
    """How well all replicas do on their way.

    Args:
        replicas: trained together.
        prime: the modulus.
        share: of pairs that are shown.
        hidden: width.
        steps: updates.
        every: steps between two looks.
        scale: deviation of the weights into the hidden layer at the start.
        loss: what is descended.
        stop: end as soon as both accuracies of all have been this high; never if not given.

    Returns:
        A row a replica and look: columns seed, decay, rate, step, train and test (accuracies), and
        norm (of all weights, from 1).
    """
    seeds = [one.seed for one in replicas]
    shown, other = split(prime, share, seeds)
    start = draw_quadratic(prime, hidden, seeds, scale=scale)
    settings = pd.DataFrame([(one.seed, one.decay, one.rate) for one in replicas])
    settings.columns = pd.Index(["seed", "decay", "rate"])
    looks, best = [], torch.zeros(len(replicas))
    for step, networks in walk(start, replicas, shown, steps=steps, every=every, loss=loss):
        right, rest = accuracy(networks, shown), accuracy(networks, other)
        length = norm(networks.parameters) / norm(start.parameters)
        looks.append(
            settings.assign(step=step, train=right.numpy(), test=rest.numpy(), norm=length.numpy())
        )
        best = torch.maximum(best, torch.minimum(right, rest))
        if stop is not None and bool((best >= stop).all()):
            break
    return pd.concat(looks, ignore_index=True)


def delays(
    table: pd.DataFrame,
    by: Sequence[str] = ("seed",),
    *,
    fitted: float = FITTED,
    understood: float = UNDERSTOOD,
) -> pd.DataFrame:
    """Steps that it takes to fit what is shown, and to understand what is not.

    Args:
        table: columns step, train, test and those of `by`, rows of a run in the order of steps.
        by: what tells runs apart.
        fitted: train accuracy at which the shown pairs count as fitted.
        understood: test accuracy at which the others count as understood.

    Returns:
        A row a run: columns `by`, fitted and understood (steps; NaN: never), before (test accuracy
        when the shown pairs were first fitted) and last (test accuracy at the end).
    """
    rows = []
    for key, part in table.groupby(list(by), sort=False):
        first = part["step"][part["train"] >= fitted].min()
        second = part["step"][part["test"] >= understood].min()
        before = part["test"][part["step"] == first].mean()
        rows.append((*key, first, second, before, part["test"].iloc[-1]))
    return pd.DataFrame(rows, columns=[*by, "fitted", "understood", "before", "last"])
