"""Networks with weights left out: masks by magnitude or at random, and training under them.

    masks = by_magnitude(trained.weights, whole(trained.weights), (0.2, 0.2, 0.1))
    ticket = masked(networks, masks)                 # the first weights, but fewer of them
    ticket, history = mlp.train(ticket, ...)         # what is left out stays at 0

A mask has the shape of the weights of its layer, (replicas, inputs, outputs): 1 where a weight is
kept and 0 where it is not. Biases are always kept (Frankle & Carbin 2019, arXiv:1803.03635, prune
connections only).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from trainers.studies.tools.mlp import Networks

Masks = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked(Networks):
    """Networks that have only the weights their masks keep, also while they are trained.

    The loss is a function of weight times mask, so the gradient of every other weight is 0; such
    weights begin at 0, which neither momentum, nor Adam, nor weight decay moves.

    Attributes:
        masks: one a layer, shaped like the weights.
    """

    masks: Masks

    def __call__(self, inputs: Tensor, *, dropout: float = 0.0) -> Tensor:
        """Outputs of the masked networks, shape (replicas, examples, outputs)."""
        left = {field.name: getattr(self, field.name) for field in fields(Networks)}
        left["weights"] = _both(self.weights, self.masks)
        return Networks(**left)(inputs, dropout=dropout)


def masked(networks: Networks, masks: Masks) -> Masked:
    """These networks with the weights that the masks keep; the networks given stay as they are."""
    same = {field.name: getattr(networks, field.name) for field in fields(Networks)}
    return Masked(**(same | {"weights": _both(networks.weights, masks)}), masks=masks)


def joined(*arms: Masked) -> Masked:
    """All replicas side by side, to be trained together.

    Instead of seeds they carry their places, so that the first is 0, and with it the order of
    batches is the same whichever replicas stand here.
    """
    weights, biases, masks = (
        tuple(torch.cat(layer) for layer in zip(*(getattr(arm, name) for arm in arms), strict=True))
        for name in ("weights", "biases", "masks")
    )
    places = tuple(range(len(weights[0])))
    return replace(arms[0], seeds=places, weights=weights, biases=biases, masks=masks)


def whole(weights: Sequence[Tensor]) -> Masks:
    """Masks that keep everything."""
    return tuple(torch.ones_like(one) for one in weights)


def by_magnitude(weights: Sequence[Tensor], masks: Masks, shares: Sequence[float]) -> Masks:
    """Leave out the smallest of the weights that are still there, each layer for itself.

    Args:
        weights: one a layer, shape (replicas, inputs, outputs).
        masks: what is still there.
        shares: how much of that goes, one a layer, from 0 to 1 (rounded to whole weights).
    """
    found = []
    for weight, mask, share in zip(weights, masks, shares, strict=True):
        left = mask.flatten(1).sum(1)
        found.append(_largest(_sizes(weight, mask), (left * (1.0 - share)).round()).view_as(mask))
    return tuple(found)


def by_magnitude_overall(weights: Sequence[Tensor], masks: Masks, share: float) -> Masks:
    """Leave out this share of the weights that are still there, smallest first in all layers."""
    sizes = [_sizes(weight, mask) for weight, mask in zip(weights, masks, strict=True)]
    left = kept(masks).sum(1)
    chosen = _largest(torch.cat(sizes, 1), (left * (1.0 - share)).round())
    parts = torch.split(chosen, [one.shape[1] for one in sizes], 1)
    return tuple(part.view_as(mask) for part, mask in zip(parts, masks, strict=True))


def at_random(masks: Masks, seeds: Sequence[int]) -> Masks:
    """Masks that keep as many weights of each layer, drawn evenly; one seed a replica."""
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    found = []
    for mask in masks:
        size = mask[0].numel()
        drawn = torch.stack([torch.rand(size, generator=draw) for draw in draws])
        found.append(_largest(drawn.to(mask.device), mask.flatten(1).sum(1)).view_as(mask))
    return tuple(found)


def kept(masks: Masks) -> Tensor:
    """How many weights are kept, shape (replicas, layers)."""
    return torch.stack([mask.flatten(1).sum(1) for mask in masks], 1)


def _both(weights: Sequence[Tensor], masks: Masks) -> Masks:
    return tuple(weight * mask for weight, mask in zip(weights, masks, strict=True))


def _sizes(weight: Tensor, mask: Tensor) -> Tensor:
    """Magnitudes (replicas, weights); what is left out is smaller than any that is there."""
    return torch.where(mask > 0, weight.abs(), -1.0).flatten(1)


def _largest(sizes: Tensor, counts: Tensor) -> Tensor:
    """1 at the so many largest of each row (a count a row), 0 elsewhere."""
    ranks = sizes.argsort(1, descending=True).argsort(1)
    return (ranks < counts[:, None]).to(sizes.dtype)
