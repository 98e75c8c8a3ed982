"""A one-layer transformer that adds modulo a prime, many of them at once on a leading axis.

    adder = draw_adder(seeds, Shape(prime=31))
    for walker in walk(adder, shown, rate=3e-3, decay=1.0, steps=1000):
        outputs = walker.adder(pairs)                   # (seeds, pairs, prime)

It reads a, b and "=", and the sum stands at "=": the network of Nanda et al. 2023
(arXiv:2301.05217), without layer norm and biases. As there is one layer, only the last position
is computed, and what it sees of a summand is one of `prime` rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.studies.tools.modular import answers, norm

BETAS = (0.9, 0.98)
WARM = 10
"""Steps in which the learning rate rises, as in Nanda et al."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The size of an adder: its prime, the width of its states, heads and hidden units."""

    prime: int
    width: int = 64
    heads: int = 4
    hidden: int = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Adder:
    """Adders of one shape.

    Attributes:
        shape: their size.
        embed: a row a residue and one for "=", shape (seeds, prime + 1, width).
        place: a row a position, shape (seeds, 3, width).
        query, key, value, merge: of the attention, shape (seeds, width, width).
        into, back: of the ReLU network, shapes (seeds, width, hidden), (seeds, hidden, width).
        unembed: one output a residue, shape (seeds, width, prime).
    """

    shape: Shape
    embed: Tensor
    place: Tensor
    query: Tensor
    key: Tensor
    value: Tensor
    merge: Tensor
    into: Tensor
    back: Tensor
    unembed: Tensor

    @property
    def weights(self) -> dict[str, Tensor]:
        """All of them by name."""
        return {name: getattr(self, name) for name in WEIGHTS}

    def with_weights(self, weights: Sequence[Tensor]) -> "Adder":
        """The same shape with other weights, in the order of `weights`."""
        return Adder(shape=self.shape, **dict(zip(WEIGHTS, weights, strict=True)))

    def __call__(self, pairs: Tensor) -> Tensor:
        """One output a residue, shape (seeds, pairs, prime), for `one_hot` pairs."""
        asking = self.embed[:, -1:] + self.place[:, 2:]
        mixed = self._attend(pairs, asking)
        state = asking + mixed.bmm(self.merge)
        state = torch.baddbmm(state, state.bmm(self.into).relu_(), self.back)
        return state.bmm(self.unembed)

    def _attend(self, pairs: Tensor, asking: Tensor) -> Tensor:
        """What the heads read at a, b and "=", shape (seeds, pairs, width)."""
        seeds, heads, each = len(asking), self.shape.heads, self.shape.width // self.shape.heads
        query = (asking @ self.query).view(seeds, 1, heads, each)
        values, scores = [], []
        for place, one in enumerate((pairs[0], pairs[1], None)):
            seen = self.embed[:, -1:] if one is None else self.embed[:, :-1]
            seen = seen + self.place[:, place : place + 1]
            value, key = seen @ self.value, (seen @ self.key).view(seeds, -1, heads, each)
            score = (key * query).sum(-1) / each**0.5
            both = torch.cat([value, score], 2)
            if one is not None:
                both = one.bmm(both)
            read = both[..., : self.shape.width]
            values.append(read.view(*read.shape[:2], heads, each))
            scores.append(both[..., self.shape.width :].expand(-1, pairs.shape[2], -1))
        looks = torch.stack(scores).softmax(0)[..., None]
        mixed: Tensor = looks[0] * values[0] + looks[1] * values[1] + looks[2] * values[2]
        return mixed.flatten(2)


WEIGHTS = ("embed", "place", "query", "key", "value", "merge", "into", "back", "unembed")


def draw_adder(seeds: Sequence[int], shape: Shape, device: str = "cpu") -> Adder:
    """Adders at their start: normal weights of deviation width^-1/2, at the end prime^-1/2."""
    width, hidden = shape.width, shape.hidden
    sizes = [(shape.prime + 1, width), (3, width), *[(width, width)] * 4]
    sizes += [(width, hidden), (hidden, width), (width, shape.prime)]
    scales = [width**-0.5] * (len(sizes) - 1) + [shape.prime**-0.5]
    drawn = []
    for seed in seeds:
        draw = torch.Generator().manual_seed(seed)
        drawn.append([torch.randn(size, generator=draw) for size in sizes])
    weights = [
        (scale * torch.stack(layer)).to(device)
        for scale, layer in zip(scales, zip(*drawn, strict=True), strict=True)
    ]
    return Adder(shape=shape, **dict(zip(WEIGHTS, weights, strict=True)))


def one_hot(pairs: Tensor, prime: int) -> Tensor:
    """Rows that pick a and b, shape (2, seeds, pairs, prime), for pairs (seeds, pairs, 2)."""
    return functional.one_hot(pairs.movedim(-1, 0), prime).float()


def loss(outputs: Tensor, sums: Tensor, *, exact: bool = True) -> Tensor:
    """Cross-entropy in nats, mean over pairs, shape (seeds,).

    Args:
        outputs: shape (seeds, pairs, prime).
        sums: shape (seeds, pairs).
        exact: in float64, as Nanda et al. compute it. In float32 the probability that is left for
            the other residues is rounded to a multiple of 6e-8, at last to 0.
    """
    outputs = outputs.double() if exact else outputs
    lost = functional.cross_entropy(outputs.flatten(0, 1), sums.flatten(), reduction="none")
    return lost.view(sums.shape).mean(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Others:
    """Pairs that an adder was not shown.

    Attributes:
        rows: as `one_hot`.
        sums: shape (seeds, pairs).
        new: 1 for a pair (a, b) of which (b, a) was not shown either, shape (seeds, pairs).
    """

    rows: Tensor
    sums: Tensor
    new: Tensor

    @torch.no_grad()
    def known(self, adder: Adder) -> dict[str, Tensor]:
        """Share that is right, of all as "test" and of the new ones as "new", shape (seeds,)."""
        right = (adder(self.rows).argmax(-1) == self.sums).double()
        return {"test": right.mean(1), "new": (right * self.new).sum(1) / self.new.sum(1)}


def others(pairs: Tensor, prime: int) -> Others:
    """All pairs that were not shown, shape (seeds, pairs, 2), to be asked for."""
    hidden = torch.zeros(len(pairs), prime * prime, device=pairs.device, dtype=torch.float64)
    first, second = pairs.unbind(-1)
    hidden.scatter_(1, first * prime + second, 1.0)
    new = hidden.gather(1, second * prime + first)
    return Others(rows=one_hot(pairs, prime), sums=answers(pairs, prime), new=new)


def spectrum(embed: Tensor) -> Tensor:
    """Share of each frequency in the energy of an embedding of residues, without its mean.

    Args:
        embed: a row a residue, shape (seeds, prime, width).

    Returns:
        Shape (seeds, (prime - 1) / 2), rows that sum to 1.
    """
    energy = torch.fft.rfft(embed.double(), dim=1).abs().square().sum(2)[:, 1:]
    shares: Tensor = energy / energy.sum(1, keepdim=True)
    return shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Walker:
    """Adders on their way.

    Attributes:
        step: updates so far.
        adder: with the weights of now; they change with the next step.
        loss: on the shown pairs, shape (seeds,).
        right: share of the shown pairs that is right, shape (seeds,).
    """

    step: int
    adder: Adder
    loss: Tensor
    right: Tensor


def walk(
    adder: Adder,
    shown: Tensor,
    *,
    steps: int,
    rate: float,
    decay: float = 0.0,
    epsilon: float = 1e-8,
    hold: Tensor | None = None,
    exact: bool = True,
) -> Iterator[Walker]:
    """Train by AdamW on all shown pairs at once; the adders given stay as they are.

    Args:
        adder: the start.
        shown: pairs, shape (seeds, pairs, 2).
        steps: updates; the start and every state after one are given out.
        rate: learning rate.
        decay: weight decay, decoupled.
        epsilon: of AdamW.
        hold: length (seeds,) that all weights are brought back to before the first step and after
            each one, if it is held (Liu et al. 2022, arXiv:2210.01117).
        exact: of `loss`.
    """
    leaves = [nn.Parameter(one.detach().clone()) for one in adder.weights.values()]
    adder = adder.with_weights(leaves)
    optimiser = torch.optim.AdamW(
        leaves, lr=rate, betas=BETAS, eps=epsilon, weight_decay=decay, foreach=True
    )
    prime = adder.shape.prime
    rows, sums = one_hot(shown, prime), answers(shown, prime)
    _hold(leaves, hold)
    for step in range(steps + 1):
        outputs = adder(rows)
        lost = loss(outputs, sums, exact=exact)
        right = (outputs.detach().argmax(-1) == sums).double().mean(1)
        yield Walker(step=step, adder=adder, loss=lost.detach(), right=right)
        if step == steps:
            return
        slopes = torch.autograd.grad(lost.sum(), leaves)
        for leaf, slope in zip(leaves, slopes, strict=True):
            leaf.grad = slope
        optimiser.param_groups[0]["lr"] = rate * min(1.0, (step + 1) / WARM)
        optimiser.step()
        _hold(leaves, hold)


@torch.no_grad()
def _hold(leaves: Sequence[Tensor], length: Tensor | None) -> None:
    if length is not None:
        factor = (length / norm(leaves))[:, None, None]
        for leaf in leaves:
            leaf.mul_(factor)
