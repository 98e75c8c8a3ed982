"""Many small networks trained at once: replicas stand on a leading axis of every tensor.

    networks = draw_networks(seeds, (64, 48, 10))
    networks, history = train(networks, inputs, targets, loss=squared, steps=500, lr=0.01)
    outputs = networks(test_inputs)                     # (replicas, examples, 10)

Replicas never meet: the loss is summed over them, and Adam and SGD act on each weight alone. One
seed gives the same network whatever else stands beside it.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]
Measure = Callable[["Networks"], dict[str, Tensor]]
HE = 2.0**0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """Multi-layer perceptrons of one shape.

    Attributes:
        seeds: one a replica.
        weights: one a layer, shape (replicas, inputs of the layer, outputs of the layer).
        biases: one a layer, shape (replicas, 1, outputs of the layer).
        activation: between the layers; the last one is linear.
    """

    seeds: tuple[int, ...]
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    activation: Callable[[Tensor], Tensor]

    def __call__(self, inputs: Tensor, *, dropout: float = 0.0) -> Tensor:
        """Outputs, shape (replicas, examples, outputs).

        Args:
            inputs: shape (examples, inputs), the same for all, or (replicas, examples, inputs).
            dropout: share of hidden units that are set to 0, as in training; torch's generator.
        """
        state = inputs if inputs.ndim == 3 else inputs.expand(len(self.seeds), *inputs.shape)
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            state = torch.baddbmm(bias, state, weight)
            if layer < last:
                state = self.activation(state)
                state = functional.dropout(state, dropout) if dropout else state
        return state

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """Weights, then biases."""
        return (*self.weights, *self.biases)

    @property
    def size(self) -> int:
        """Parameters of one replica."""
        return sum(one[0].numel() for one in self.parameters)


def draw_networks(
    seeds: Sequence[int],
    sizes: Sequence[int],
    *,
    gain: float = HE,
    activation: Callable[[Tensor], Tensor] = torch.relu,
) -> Networks:
    """Networks at their start: weights normal with deviation gain / sqrt(inputs), biases 0.

    Args:
        seeds: one a replica.
        sizes: inputs, hidden widths, outputs.
        gain: sqrt(2) is He's choice for ReLU (He et al. 2015, arXiv:1502.01852).
        activation: between the layers.
    """
    drawn = [_draw(seed, sizes, gain) for seed in seeds]
    weights = tuple(torch.stack(layer) for layer in zip(*drawn, strict=True))
    biases = tuple(torch.zeros(len(drawn), 1, size) for size in sizes[1:])
    return Networks(seeds=tuple(seeds), weights=weights, biases=biases, activation=activation)


def _draw(seed: int, sizes: Sequence[int], gain: float) -> list[Tensor]:
    """The weights of one replica."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(a, b, generator=generator) * gain / a**0.5 for a, b in pairwise(sizes)]


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    """Squared error, summed over outputs, mean over examples; shape (replicas,)."""
    return (outputs - targets).square().sum(-1).mean(-1)


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy in nats of labels (replicas or 1, examples), mean over examples."""
    wanted = targets.expand(outputs.shape[:2])
    lost = functional.cross_entropy(outputs.flatten(0, 1), wanted.flatten(), reduction="none")
    return lost.view(outputs.shape[:2]).mean(1)


def wrong(outputs: Tensor, labels: Tensor) -> Tensor:
    """Share of examples whose largest output is another class; shape (replicas,)."""
    return (outputs.argmax(-1) != labels).double().mean(-1)


def train(
    networks: Networks,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss: Loss,
    steps: int,
    lr: float,
    measure: Measure | None = None,
    at: Collection[int] = (),
    **options: Any,
) -> tuple[Networks, pd.DataFrame]:
    """Train all replicas for the same steps; the networks given stay as they are.

    Args:
        networks: the start.
        inputs: shape (examples, inputs) or (replicas, examples, inputs).
        targets: what `loss` compares with, shape (replicas or 1, examples, ...).
        loss: from outputs and targets to a value for each replica.
        steps: updates.
        lr: learning rate.
        measure: from the networks to a value for each replica, by name.
        at: after how many steps it is measured; 0 is the start.
        options: the others of `walk`.

    Returns:
        The trained networks, without gradients, and what was measured: columns seed, step and
        the names of `measure`, one row for each replica and step.
    """
    history, reached = [], networks
    stops = {step for step in at if step <= steps} | {steps}
    for step, reached in walk(
        networks, inputs, targets, loss=loss, lr=lr, stops=sorted(stops), **options
    ):
        if measure is not None and step in at:
            with torch.no_grad():
                values = {name: value.numpy() for name, value in measure(reached).items()}
            history.append(pd.DataFrame({"seed": networks.seeds, "step": step, **values}))
    return reached, pd.concat(history, ignore_index=True) if history else pd.DataFrame()


def walk(
    networks: Networks,
    inputs: Tensor,
    targets: Tensor,
    *,
    loss: Loss,
    lr: float,
    stops: Sequence[int],
    adam: bool = True,
    momentum: float = 0.0,
    decay: float = 0.0,
    batch: int | None = None,
    dropout: float = 0.0,
) -> Iterator[tuple[int, Networks]]:
    """The networks at each stop on their way, and after how many steps that is.

    Args:
        networks: the start.
        inputs: shape (examples, inputs) or (replicas, examples, inputs).
        targets: what `loss` compares with, shape (replicas or 1, examples, ...).
        loss: from outputs and targets to a value for each replica.
        lr: learning rate.
        stops: steps that are looked at, rising; it ends at the last.
        adam: AdamW; otherwise SGD.
        momentum: of SGD.
        decay: weight decay, decoupled for Adam.
        batch: examples a step, drawn anew each epoch from the first seed, the same rows for all
            replicas; all of the examples if none is given.
        dropout: share of hidden units dropped while training.
    """
    leaves = [one.detach().clone().requires_grad_() for one in networks.parameters]
    walker = with_parameters(networks, leaves)
    optimiser = _optimiser(leaves, lr=lr, adam=adam, momentum=momentum, decay=decay)
    rows, step = _batches(inputs.shape[-2], batch, networks.seeds[0]), 0
    for stop in stops:
        for chosen in islice(rows, stop - step):
            outputs = walker(inputs[..., chosen, :], dropout=dropout)
            total = loss(outputs, targets[:, chosen]).sum()
            for leaf, slope in zip(leaves, torch.autograd.grad(total, leaves), strict=True):
                leaf.grad = slope
            optimiser.step()
        step = stop
        yield step, with_parameters(networks, [leaf.detach().clone() for leaf in leaves])


def with_parameters(networks: Networks, parameters: Sequence[Tensor]) -> Networks:
    """The same networks with these weights, then biases."""
    layers = len(networks.weights)
    return replace(networks, weights=tuple(parameters[:layers]), biases=tuple(parameters[layers:]))


def _optimiser(
    leaves: list[Tensor], *, lr: float, adam: bool, momentum: float, decay: float
) -> torch.optim.Optimizer:
    """AdamW or SGD, all tensors in one call."""
    if adam:
        return torch.optim.AdamW(leaves, lr=lr, weight_decay=decay, foreach=True)
    return torch.optim.SGD(leaves, lr=lr, momentum=momentum, weight_decay=decay, foreach=True)


def _batches(examples: int, batch: int | None, seed: int) -> Iterator[slice | Tensor]:
    """Rows of each step: all of them, or parts of a permutation (what is left over is dropped)."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        if batch is None or batch >= examples:
            yield slice(None)
            continue
        order = torch.randperm(examples, generator=generator)
        yield from torch.split(order[: examples - examples % batch], batch)
