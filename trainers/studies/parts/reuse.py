"""Networks of growing width that inherit the weights of the one before (arXiv:1812.11118).

Belkin et al. 2019 train one hidden layer on the squared error by SGD. Below the threshold, where
there are fewer parameters than outputs to fit, a network starts from the trained one before it, its
step size falls with time, and it stops once it misses no label. Above, each starts at random.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainers.studies.tools.digits import CLASSES
from trainers.studies.tools.mlp import Networks, draw_networks, squared, with_parameters, wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """The paper's appendix, for MNIST; `rate` and `batch`, which it does not give, are ours.

    Attributes:
        examples: training images.
        widths: hidden units; from the paper's counts of parameters, 4000 to 800 000.
        epochs: at most.
        every: epochs between two changes of the step size below the threshold.
        decay: what is left of it then.
        momentum: of SGD.
        rate: step size, for the error summed over classes.
        batch: images a step.
        spread: deviation of the weights that a network does not inherit.
    """

    examples: int = 4000
    widths: Sequence[int] = (
        *(5, 6, 9, 13, 15, 25, 30, 34, 38, 41, 44, 47, 48, 49, 50, 51),
        *(57, 63, 88, 107, 252, 314, 1006),
    )
    epochs: int = 6000
    every: int = 500
    decay: float = 0.9
    momentum: float = 0.95
    rate: float = 0.01
    batch: int = 128
    spread: float = 0.1


PAPER = Paper()


def trained(
    seeds: Sequence[int], inputs: Tensor, labels: Tensor, paper: Paper
) -> Iterator[Networks]:
    """The networks of each width in turn, one a seed, side by side.

    Args:
        seeds: one a replica.
        inputs: shape (replicas, examples, inputs), on the device that computes.
        labels: shape (replicas, examples).
        paper: the setting.
    """
    last: Networks | None = None
    for width in paper.widths:
        networks = glorot(seeds, (inputs.shape[-1], width, CLASSES))
        below = networks.size < paper.examples * CLASSES
        if below and last is not None:
            networks = grown(last, networks, paper.spread)
        last = descend(networks, inputs, labels, paper, below=below)
        yield last


def glorot(seeds: Sequence[int], sizes: Sequence[int]) -> Networks:
    """Uniform weights of variance 2 / (inputs + outputs of the layer), biases 0."""
    networks = draw_networks(seeds, sizes)
    for weight in networks.weights:
        side = (6.0 / sum(weight.shape[1:])) ** 0.5
        for seed, one in zip(seeds, weight, strict=True):
            one.uniform_(-side, side, generator=torch.Generator().manual_seed(seed))
    return networks


def grown(last: Networks, networks: Networks, spread: float) -> Networks:
    """Networks whose first units are those of `last`; the others' weights are small at random."""
    draws = [torch.Generator().manual_seed(seed) for seed in networks.seeds]
    weights = []
    for old, new in zip(last.weights, networks.weights, strict=True):
        drawn = [torch.randn(new.shape[1:], generator=draw) for draw in draws]
        weight = spread * torch.stack(drawn)
        weight[:, : old.shape[1], : old.shape[2]] = old.cpu()
        weights.append(weight)
    hidden = torch.zeros_like(networks.biases[0])
    hidden[..., : last.biases[0].shape[-1]] = last.biases[0].cpu()
    return replace(networks, weights=tuple(weights), biases=(hidden, last.biases[1].cpu()))


def descend(
    networks: Networks, inputs: Tensor, labels: Tensor, paper: Paper, *, below: bool
) -> Networks:
    """SGD with momentum; below the threshold slower with time, and until no label is missed."""
    leaves = [one.to(inputs.device).clone().requires_grad_() for one in networks.parameters]
    networks = with_parameters(networks, leaves)
    speeds = [torch.zeros_like(leaf) for leaf in leaves]
    moving = torch.ones(len(networks.seeds), 1, 1, device=inputs.device)
    targets = torch.eye(CLASSES, device=inputs.device)[labels]
    draw = torch.Generator().manual_seed(networks.seeds[0])  # one order of rows for all replicas
    for epoch in range(paper.epochs):
        rate = paper.rate * paper.decay ** (epoch // paper.every if below else 0)
        order = torch.randperm(inputs.shape[1], generator=draw).to(inputs.device)
        for chosen in torch.split(order, paper.batch):
            total = squared(networks(inputs[:, chosen]), targets[:, chosen]).sum()
            slopes = torch.autograd.grad(total, leaves)
            with torch.no_grad():
                for leaf, speed, slope in zip(leaves, speeds, slopes, strict=True):
                    speed.mul_(paper.momentum).add_(slope)
                    leaf.sub_(rate * moving * speed)
        if below:
            with torch.no_grad():
                moving *= (wrong(networks(inputs), labels) > 0).float()[:, None, None]
            if not moving.any():
                break
    return with_parameters(networks, [leaf.detach() for leaf in leaves])
