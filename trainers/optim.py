"""Optimisers of replicas: every replica at a learning rate of its own, all in one kernel.

A step calls PyTorch's fused kernels on lists of tensors. At small steps the time goes into starting
operations, and the bookkeeping of ``torch.optim`` is a good part of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

BETAS = (0.9, 0.95)
EPSILON = 1e-8


@dataclass(slots=True, kw_only=True)
class _Unit:
    """Tensors that share a rate: whole parameters, or the slices of one replica."""

    rate: float
    now: Tensor
    places: list[int]
    replica: int | None

    def of(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """These parameters of a list of all, cut to the replica."""
        chosen = [tensors[place] for place in self.places]
        return chosen if self.replica is None else [one[self.replica] for one in chosen]


class Sgd:
    """Gradient descent, w <- w - rate * gradient, without momentum.

    Args:
        groups: parameters, each with replicas as its leading axis, by the kind of their rate.
        rates: the peak rate of each replica (replicas,) by the same kinds.
    """

    def __init__(
        self,
        groups: Mapping[str, Sequence[nn.Parameter]],
        rates: Mapping[str, Sequence[float]],
    ) -> None:
        self.params = [one for group in groups.values() for one in group]
        self.units: list[_Unit] = []
        first = 0
        for kind, group in groups.items():
            places = list(range(first, first + len(group)))
            first += len(group)
            if places:
                self.units += _units(places, rates[kind], self.params[places[0]].device)

    def aim(self, factor: float) -> None:
        """Set every rate to this share of its peak."""
        for unit in self.units:
            unit.now.fill_(unit.rate * factor)

    def step(self) -> None:
        """Take a step along the gradients, and forget them."""
        with torch.no_grad():
            weights, gradients = self._weights(), self._gradients()
            for unit in self.units:
                self._move(unit, unit.of(weights), unit.of(gradients))
        for param in self.params:
            param.grad = None

    def state(self) -> list[Tensor]:
        """What a step reads besides weights and gradients."""
        return []

    def _move(self, unit: _Unit, weights: list[Tensor], gradients: list[Tensor]) -> None:
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.addcmul_(gradient, unit.now, value=-1.0)

    def _weights(self) -> list[Tensor]:
        return [param.data for param in self.params]

    def _gradients(self) -> list[Tensor]:
        return [param.grad for param in self.params if param.grad is not None]


class AdamW(Sgd):
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) without decay of weights."""

    def __init__(
        self,
        groups: Mapping[str, Sequence[nn.Parameter]],
        rates: Mapping[str, Sequence[float]],
    ) -> None:
        super().__init__(groups, rates)
        self.means = [torch.zeros_like(param) for param in self._weights()]
        self.squares = [torch.zeros_like(param) for param in self._weights()]
        device = self.params[0].device
        self.steps = [torch.zeros((), device=device) for _ in self.params]

    def step(self) -> None:
        """Take a step along the gradients, and forget them."""
        torch._foreach_add_(self.steps, 1.0)
        super().step()

    def state(self) -> list[Tensor]:
        """Both moments of every parameter, and the count of steps."""
        return [*self.means, *self.squares, *self.steps]

    def _move(self, unit: _Unit, weights: list[Tensor], gradients: list[Tensor]) -> None:
        torch._fused_adamw_(
            weights,
            gradients,
            unit.of(self.means),
            unit.of(self.squares),
            [],
            [self.steps[place] for place in unit.places],
            lr=unit.now,
            beta1=BETAS[0],
            beta2=BETAS[1],
            weight_decay=0.0,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )


OPTIMISERS = {"adamw": AdamW, "sgd": Sgd}


def _units(places: list[int], rates: Sequence[float], device: torch.device) -> list[_Unit]:
    """One for all replicas where they share their rate, else one a replica."""
    one = len(set(rates)) == 1
    return [
        _Unit(
            rate=rate,
            now=torch.zeros((), device=device),
            places=places,
            replica=None if one else replica,
        )
        for replica, rate in enumerate(rates[:1] if one else rates)
    ]
