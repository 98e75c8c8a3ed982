"""Cuts through a loss: planes around a minimum, and ways from one minimum to another.

    directions = [filter_directions(networks, seed) for seed in (0, 1)]
    cut = plane(networks.parameters, directions)
    losses = along(cut, loss, places)                   # (places, replicas)

A curve goes from a place, one number or several, to the parameters that stand there. Replicas are
computed at once, places one after the other: with torch.func.vmap over places a slice of small
networks took twice as long, since it no longer fits into the caches.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from trainers.studies.tools.mlp import Networks

Parameters = tuple[Tensor, ...]
"""Tensors with a leading axis of replicas, as `Networks.parameters`."""
Curve = Callable[[Tensor], Parameters]
Values = Callable[[Parameters], Tensor]
"""From parameters to one value a replica, as a loss."""


def filter_directions(networks: Networks, seed: int) -> Parameters:
    """A random direction for each replica, every filter of it as long as the network's own.

    The filters of a fully connected layer are the weights into one unit. Biases have no part in
    the direction: they are 0 in it (Li et al. 2018, arXiv:1712.09913, section 4).

    Args:
        networks: whose filters are measured, with n replicas.
        seed: with a replica's own seed it draws the replica's direction.

    Returns:
        As `networks.parameters`.
    """
    drawn = [_normal(networks, replica, seed) for replica in range(len(networks.seeds))]
    weights = []
    for own, layer in zip(networks.weights, zip(*drawn, strict=True), strict=True):
        random = torch.stack(layer)
        weights.append(random * (own.norm(dim=1, keepdim=True) / random.norm(dim=1, keepdim=True)))
    return (*weights, *(torch.zeros_like(bias) for bias in networks.biases))


def layer_directions(parameters: Parameters, seeds: Sequence[int], seed: int) -> Parameters:
    """As `filter_directions`, of layers as PyTorch has them: convolutions too.

    A filter is what leads into one output channel, or unit. Biases have no part in the direction,
    nor have the scales of norms.

    Args:
        parameters: each (replicas, outputs, ...): weights; or (replicas, outputs): what rests.
        seeds: of the replicas.
        seed: with a replica's own seed it draws the replica's direction.

    Returns:
        As `parameters`.
    """
    generators = [_generator(own, seed) for own in seeds]
    return tuple(_as_long(one, generators) for one in parameters)


def _as_long(own: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Random filters as long as these, or zeros for a tensor without filters."""
    if own.dim() < 3:
        return torch.zeros_like(own)
    # drawn on the CPU, so that a seed gives one direction everywhere
    rows = [torch.randn(own.shape[1:], generator=one, dtype=own.dtype) for one in generators]
    random = torch.stack(rows).to(own.device)
    lengths: list[Tensor] = [one.flatten(2).norm(dim=2) for one in (own, random)]
    scale = lengths[0] / lengths[1]
    return random * scale.view(*scale.shape, *(1 for _ in own.shape[2:]))


def _normal(networks: Networks, replica: int, seed: int) -> list[Tensor]:
    """Normal numbers in the shape of one replica's weights."""
    generator = _generator(networks.seeds[replica], seed)
    return [
        torch.randn(layer.shape[1:], generator=generator, dtype=layer.dtype)
        for layer in networks.weights
    ]


def _generator(own: int, seed: int) -> torch.Generator:
    """One for each pair: seeds are small numbers."""
    return torch.Generator().manual_seed(own + 1_000_003 * (seed + 1))


def plane(centre: Parameters, directions: Sequence[Parameters]) -> Curve:
    """The centre plus a multiple of each direction: a place has one number a direction."""

    def at(place: Tensor) -> Parameters:
        return tuple(
            own + sum(step * part for step, part in zip(place, parts, strict=True))
            for own, *parts in zip(centre, *directions, strict=True)
        )

    return at


def line(start: Parameters, end: Parameters) -> Curve:
    """The straight way, from 0 to 1."""

    def at(place: Tensor) -> Parameters:
        return tuple((1 - place) * a + place * b for a, b in zip(start, end, strict=True))

    return at


def bend(start: Parameters, control: Parameters, end: Parameters) -> Curve:
    """The quadratic Bezier curve, from 0 to 1 (Garipov et al. 2018, arXiv:1802.10026, eq. 3)."""

    def at(place: Tensor) -> Parameters:
        back = 1 - place
        return tuple(
            back**2 * a + 2 * place * back * c + place**2 * b
            for a, c, b in zip(start, control, end, strict=True)
        )

    return at


def along(curve: Curve, values: Values, places: Tensor) -> Tensor:
    """Values on a curve, without gradients.

    Args:
        curve: from a place to parameters.
        values: from parameters to one value a replica.
        places: shape (places,), or (places, directions) for a plane.

    Returns:
        Shape (places, replicas).
    """
    with torch.no_grad():
        return torch.stack([values(curve(place)) for place in places])


def train_bend(
    start: Parameters, end: Parameters, loss: Values, *, steps: int, lr: float, seed: int = 0
) -> Parameters:
    """The control point of a bend on which the loss is low everywhere.

    Each step of Adam lowers the loss at one place of the bend, drawn evenly from 0 to 1, the same
    for all replicas (Garipov et al. 2018, section 3.2). It starts as the straight way; the ends
    stay where they are.

    Args:
        start: parameters at 0.
        end: parameters at 1.
        loss: to one value a replica.
        steps: updates.
        lr: learning rate.
        seed: of the places.

    Returns:
        The control point, as `start`.
    """
    middle = line(start, end)(torch.tensor(0.5, dtype=start[0].dtype))
    control = tuple(one.clone().requires_grad_() for one in middle)
    curve, optimiser = bend(start, control, end), torch.optim.Adam(control, lr=lr)
    generator = torch.Generator().manual_seed(seed)
    for place in torch.rand(steps, generator=generator, dtype=start[0].dtype):
        total = loss(curve(place)).sum()
        for leaf, slope in zip(control, torch.autograd.grad(total, control), strict=True):
            leaf.grad = slope
        optimiser.step()
    return tuple(one.detach() for one in control)
