"""Minima of small networks, and walks out of them under many optimisers at once.

task = Task(inputs=inputs, targets=targets, decay=0.006)    # a row of each a replica
networks = task.descend(networks, steps)                    # to the minimum of its basin
for check, level, networks in walks(task, networks, rules, batches, checks): ...
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from trainers.studies.tools.curvature import hessian
from trainers.studies.tools.mlp import Networks, squared, walk, with_parameters

BETAS, EPSILON = (0.9, 0.999), 1e-8


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An optimiser ("GD" on all examples, "SGD" or "Adam" on batches) and its learning rate."""

    optimiser: str
    lr: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Squared error with a penalty of decay / 2 times the square of the weights.

    Attributes:
        inputs: shape (replicas, examples, inputs).
        targets: shape (replicas, examples, outputs).
        decay: what a step of gradient descent takes off the weights, by rate; 0.02 at most or so.
    """

    inputs: Tensor
    targets: Tensor
    decay: float

    def at(self, places: Tensor) -> "Task":
        """The task of these replicas."""
        return Task(inputs=self.inputs[places], targets=self.targets[places], decay=self.decay)

    def penalty(self, parameters: Sequence[Tensor]) -> Tensor:
        """What is added to the error of each replica."""
        sums = [one.square().sum((1, 2)) for one in parameters]
        return self.decay / 2 * torch.stack(sums).sum(0)

    def descend(self, networks: Networks, steps: int, *, lr: float = 0.02) -> Networks:
        """Where gradient descent comes, with momentum 0.9, so that it arrives."""
        ((_, reached),) = walk(
            networks, self.inputs, self.targets, loss=squared, lr=lr, adam=False, momentum=0.9,
            decay=self.decay, stops=(steps,),
        )  # fmt: skip
        return reached

    def curved(self, networks: Networks) -> tuple[Tensor, Tensor]:
        """Loss with its penalty (replicas,) and Hessian (replicas, weights, weights)."""

        def loss(parameters: tuple[Tensor, ...]) -> Tensor:
            outputs = with_parameters(networks, parameters)(self.inputs)
            return squared(outputs, self.targets) + self.penalty(parameters)

        return loss(networks.parameters), hessian(loss, networks.parameters)


def chosen(networks: Networks, places: Tensor) -> Networks:
    """These replicas of the networks."""
    return Networks(
        seeds=tuple(networks.seeds[place] for place in places.tolist()),
        weights=tuple(one[places] for one in networks.weights),
        biases=tuple(one[places] for one in networks.biases),
        activation=networks.activation,
    )


def extremes(task: Task, networks: Networks, each: int, least: float) -> tuple[Tensor, Tensor]:
    """The sharpest and the flattest of every `each` networks in a row, by trace of the Hessian.

    Args:
        task: of every network.
        networks: at the end of their descent.
        each: how many belong together.
        least: smallest eigenvalue that a minimum has, so that saddles and valleys are left out; if
            none has it, the one that comes nearest is both.

    Returns:
        Places, shape (networks / each, 2), and their traces.
    """
    values = torch.linalg.eigvalsh(task.curved(networks)[1])
    bottom, trace = values[:, 0].view(-1, each), values.sum(1).view(-1, each)
    fit = bottom >= bottom.amax(1, keepdim=True).clamp(max=least)
    ends = trace.where(fit, -torch.inf).argmax(1), trace.where(fit, torch.inf).argmin(1)
    places = torch.stack(ends, 1)
    return places + torch.arange(len(trace))[:, None] * each, trace.gather(1, places)


def batches_of(
    seeds: Sequence[int], *, examples: int, batch: int, trials: int, groups: int
) -> Callable[[int], Tensor]:
    """Draws rows of batches, shape (steps, replicas, batch), of each seed's own.

    Args:
        seeds: one for groups * trials replicas in a row.
        examples: rows that are drawn from, with replacement.
        batch: examples a step.
        trials: replicas that draw apart, one after the other.
        groups: how often these come; a trial has the same batches in every group.
    """
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]

    def batches(steps: int) -> Tensor:
        shape = (steps, 1, trials, batch)
        rows = [torch.randint(examples, shape, generator=draw) for draw in draws]
        return torch.cat([one.expand(-1, groups, -1, -1).flatten(1, 2) for one in rows], dim=1)

    return batches


def walks(
    task: Task,
    networks: Networks,
    rules: Sequence[Rule],
    batches: Callable[[int], Tensor],
    checks: Sequence[int],
    *,
    warm: int,
) -> Iterator[tuple[int, Tensor, Networks]]:
    """All replicas at once, each under its rule: step, mean loss of batches since, networks.

    Args:
        task: of every replica.
        networks: where they start.
        rules: one a replica.
        batches: rows of so many steps, shape (steps, replicas, examples of a batch).
        checks: steps at which they are looked at, rising.
        warm: gradients that are gathered at the start before a step is taken.
    """
    examples = task.inputs.shape[1]
    whole = torch.tensor([rule.optimiser == "GD" for rule in rules])[:, None]
    crowd, last = Crowd(networks.parameters, rules), -warm
    for check in checks:
        total = torch.zeros(len(rules))
        for step, rows in enumerate(batches(check - last), start=last):
            share = functional.one_hot(rows, examples).float().mean(1)
            share = torch.where(whole, 1 / examples, share)
            off = with_parameters(networks, crowd.leaves)(task.inputs) - task.targets
            lost = (off.square().sum(-1) * share).sum(-1) + task.penalty(crowd.leaves)
            crowd.step(torch.autograd.grad(lost.sum(), crowd.leaves), move=step >= 0)
            if step >= 0:
                total += lost.detach()
        now = [leaf.detach().clone() for leaf in crowd.leaves]
        yield check, total / (check - max(last, 0)), with_parameters(networks, now)
        last = check


class Crowd:
    """Replicas under rules of their own; SGD has no momentum.

    Args:
        parameters: where they start, each (replicas, ...).
        rules: one a replica.
    """

    def __init__(self, parameters: Sequence[Tensor], rules: Sequence[Rule]) -> None:
        self.leaves = [one.detach().clone().requires_grad_() for one in parameters]
        self.means = [torch.zeros_like(one) for one in parameters]
        self.squares = [torch.zeros_like(one) for one in parameters]
        self.lr = torch.tensor([rule.lr for rule in rules])[:, None, None]
        self.adam = torch.tensor([rule.optimiser == "Adam" for rule in rules])[:, None, None]
        self.steps = 0

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor], *, move: bool = True) -> None:
        """Take the gradients into Adam's moments (Kingma & Ba 2014, arXiv:1412.6980), and move."""
        self.steps += 1
        corrections = [1.0 - beta**self.steps for beta in BETAS]
        moments = zip(self.leaves, gradients, self.means, self.squares, strict=True)
        for leaf, gradient, mean, square in moments:
            mean.lerp_(gradient, 1.0 - BETAS[0])
            square.lerp_(gradient.square(), 1.0 - BETAS[1])
            if move:
                scale = (square / corrections[1]).sqrt_().add_(EPSILON)
                adapted = mean / corrections[0] / scale
                leaf.sub_(self.lr * torch.where(self.adam, adapted, gradient))
