"""Convolutional networks of PyTorch: training that is looked at, and how sharp a loss is there.

    losses = shown(network, images, labels, batch=128, seed=0)
    for step in walk(network, losses, rate=0.05, stops=range(390, 3901, 390)):
        loss, wrong = known(network, images, labels)
    sharpness(network, images[:1000], labels[:1000], probes=40, steps=25)

Losses are cross-entropy in nats. Wherever a network is measured, its norms read what they saw in
training, so that the loss is a function of parameters and images alone.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - so called everywhere
from torch import Tensor, nn

from trainers.studies.tools.curvature import flatten, top_eigenvalues, trace
from trainers.studies.tools.descent import descend, rows
from trainers.studies.tools.directions import layer_directions, plane
from trainers.studies.tools.plain import measured, outputs_at, parameters


def shown(
    network: nn.Module, images: Tensor, labels: Tensor, *, batch: int, seed: int
) -> Iterator[Tensor]:
    """The loss of each step's images, computed where the network stands when it is asked for."""
    for chosen in rows(len(images), batch, torch.Generator().manual_seed(seed)):
        here = chosen.to(images.device)
        yield F.cross_entropy(network(images[here]), labels[here])


def walk(
    network: nn.Module,
    losses: Iterator[Tensor],
    *,
    rate: float | Callable[[int], float],
    stops: Sequence[int],
    momentum: float = 0.0,
) -> Iterator[int]:
    """Train the network where it stands by SGD, and say at each stop that it is reached.

    Args:
        network: it may be measured at a stop, and goes on in training mode.
        losses: one a step.
        rate: of learning; or from the step, counted from 0, to it.
        stops: rising steps.
        momentum: of SGD.
    """
    optimiser = torch.optim.SGD(network.parameters(), lr=0.0, momentum=momentum)
    at = rate if callable(rate) else lambda _: rate
    return descend(network, optimiser, losses, rate=at, stops=stops)


def known(network: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """The loss of all these images, and the share of them that are given another class."""
    loss, wrong = measured(network.eval(), parameters(network), images, labels).tolist()
    return loss, wrong


def length(network: nn.Module) -> float:
    """Of all filters in a row; biases and norms have no part."""
    return float(flatten([one for one in parameters(network) if one.ndim > 2]).norm())


def sharpness(
    network: nn.Module, images: Tensor, labels: Tensor, *, probes: int, steps: int
) -> dict[str, float]:
    """Trace of the Hessian of these images' loss, its standard error, and the top eigenvalue.

    All images are passed at once and their graph is held, tens of megabytes an image for the
    largest networks. Where a loss is not finite, these are not either.

    Args:
        network: as it stands; all its parameters count.
        images: shape (images, colours, side, side).
        labels: their classes.
        probes: of Hutchinson's trace.
        steps: of Lanczos' recursion.
    """
    network.eval()

    def loss(place: tuple[Tensor, ...]) -> Tensor:
        return F.cross_entropy(outputs_at(network, place, images), labels)[None]

    mean, error = trace(loss, parameters(network), probes=probes)
    top = top_eigenvalues(loss, parameters(network), steps=steps)[:, 0]
    return {"trace": float(mean), "trace_error": float(error), "top": float(top)}


def noisy(
    network: nn.Module, images: Tensor, labels: Tensor, *, share: float, draws: int, seed: int
) -> float:
    """Share of images that are right under noise in every filter, `share` of the filter's length.

    Args:
        network: as it stands, and stays.
        images: shape (images, colours, side, side).
        labels: their classes.
        share: of the noise.
        draws: of noise, of which the mean is given.
        seed: of the draws.
    """
    place, found = parameters(network.eval()), list[float]()
    for number in range(draws):
        moved = plane(place, [layer_directions(place, [seed], number)])
        there = moved(torch.tensor([share], device=images.device))
        found.append(1.0 - float(measured(network, there, images, labels)[1]))
    return sum(found) / draws
