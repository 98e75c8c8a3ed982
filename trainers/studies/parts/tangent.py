"""The tangent kernel of a network, the network that is linear in its weights, a Hessian's norm.

Weights are a tuple of tensors with replicas on a leading axis, as in `curvature`; a model gives
the outputs of every replica from them.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.func import grad, vjp

from trainers.studies.tools.curvature import flatten, hessian_products

Weights = tuple[Tensor, ...]
Model = Callable[[Weights], Tensor]
"""From weights to outputs, (replicas, examples)."""


def draw_weights(seeds: Sequence[int], sizes: Sequence[int], device: str = "cpu") -> Weights:
    """Normal weights, one tensor (seeds, inputs, outputs) a layer."""

    def layers(seed: int) -> Iterator[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        for ends in pairwise(sizes):
            yield torch.randn(*ends, generator=generator)

    drawn = zip(*(list(layers(seed)) for seed in seeds), strict=True)
    return tuple(torch.stack(layer).to(device) for layer in drawn)


def outputs(weights: Weights, inputs: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
    """One number an example, (replicas, examples); every layer is over the root of its inputs."""
    state = inputs.expand(len(weights[0]), *inputs.shape)
    for layer, weight in enumerate(weights):
        state = (activation(state) if layer else state) @ weight / weight.shape[1] ** 0.5
    return state[..., 0]


def descend(model: Model, weights: Weights, targets: Tensor, *, rate: float, steps: int) -> Weights:
    """After steps of gradient descent on half the mean squared error of the shown examples."""

    def loss(weights: Weights) -> Tensor:
        half: Tensor = (model(weights)[:, : len(targets)] - targets).square().mean(1).sum() / 2.0
        return half

    for _ in range(steps):
        slopes = grad(loss)(weights)
        weights = tuple(w.sub(g, alpha=rate) for w, g in zip(weights, slopes, strict=True))
    return weights


def kernel(model: Model, weights: Weights, shown: int) -> Tensor:
    """K between all examples and the first `shown`, (replicas, examples, shown).

    Column k is J g_k with the gradient g_k of example k, so that J need not be kept.
    """
    found, pull = vjp(model, weights)[:2]
    # J v as the slope of J' u, which is linear in u: torch warns where it differentiates forwards
    push = vjp(lambda cotangents: pull(cotangents)[0], torch.zeros_like(found))[1]
    columns = []
    for place in range(shown):
        pick = torch.zeros_like(found)
        pick[:, place] = 1.0
        columns.append(push(pull(pick)[0])[0])
    return torch.stack(columns, dim=-1)


def linear(kernel: Tensor, first: Tensor, targets: Tensor, *, rate: float, steps: int) -> Tensor:
    """Outputs of the network that is linear in its weights after gradient descent, exactly.

    The loss is half the mean squared error of the shown examples, whose errors every step
    multiplies by I - rate K / shown (Lee et al. 2019, arXiv:1902.06720, equation 8, in steps).

    Args:
        kernel: at the start, (replicas, examples, shown).
        first: outputs at the start, (replicas, examples).
        targets: (shown,).
        rate: of gradient descent.
        steps: of it.
    """
    count = len(targets)
    rates, modes = torch.linalg.eigh(kernel[:, :count].double() * (rate / count))
    error = modes.mT @ (targets - first[:, :count]).double()[..., None]
    # the sum of (1 - rate)^t over steps, also where the rate is 0
    summed = torch.where(rates.abs() < 1e-9, steps, (1.0 - (1.0 - rates) ** steps) / rates)
    pushed = modes @ (summed[..., None] * error)
    moved: Tensor = (kernel.double() @ pushed)[..., 0] * (rate / count)
    return first + moved


def hessian_norm(value: Model, weights: Weights, *, steps: int = 40) -> Tensor:
    """The largest |eigenvalue| of the Hessian of a value, (replicas,), by power iteration.

    It needs the room of two vectors, Lanczos that of all. The length of H v is looked at, since an
    output of a network has eigenvalues of both signs alike. It comes from below.

    Args:
        value: one a replica.
        weights: where.
        steps: products with the Hessian.
    """
    product, generator = hessian_products(value, weights), torch.Generator().manual_seed(0)
    rows = flatten(weights)
    vectors: Tensor = torch.randn(rows.shape[1], generator=generator).to(rows).expand_as(rows)
    length: Tensor = vectors.norm(dim=1, keepdim=True)
    for _ in range(steps):
        vectors = product(vectors / length)
        length = vectors.norm(dim=1, keepdim=True)
    return length[:, 0]
