"""Basins: optimisers against PyTorch's, minima, and walks."""

import pytest
import torch

from trainers.studies.parts import basins
from trainers.studies.parts.basins import Crowd, Rule, Task
from trainers.studies.tools.mlp import draw_networks, squared

SIZES = (2, 3, 1)


def _task(replicas, decay=0.006):
    draw = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(2, replicas, 16, 2, generator=draw).unbind()
    return Task(inputs=inputs, targets=targets[..., :1], decay=decay)


def _networks(replicas):
    return draw_networks(range(replicas), SIZES, activation=torch.tanh)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("SGD", torch.optim.SGD), ("GD", torch.optim.SGD), ("Adam", torch.optim.Adam)],
)
def test_a_rule_among_others_moves_as_that_of_torch(name, kind):
    draw = torch.Generator().manual_seed(1)
    start = torch.randn(3, 2, 4, generator=draw)
    gradients = torch.randn(20, 3, 2, 4, generator=draw)
    rules = [Rule(optimiser="Adam", lr=0.3), Rule(optimiser=name, lr=0.01)]
    crowd = Crowd([start[:2]], [rules[0], rules[1]])
    leaf = start[1].clone().requires_grad_()
    optimiser = kind([leaf], lr=0.01)
    for gradient in gradients:
        crowd.step([gradient[:2]])
        leaf.grad = gradient[1]
        optimiser.step()
    torch.testing.assert_close(crowd.leaves[0][1].detach(), leaf.detach())


def test_gathering_moments_moves_nothing():
    crowd = Crowd([torch.ones(1, 1, 1)], [Rule(optimiser="Adam", lr=0.1)])
    crowd.step([torch.ones(1, 1, 1)], move=False)
    assert crowd.leaves[0].item() == 1.0
    assert crowd.means[0].item() == pytest.approx(0.1)


def test_descent_ends_where_the_penalised_loss_is_level():
    task = _task(4)
    reached = task.descend(_networks(4), 8000)
    start, _ = task.curved(_networks(4))
    end, curved = task.curved(reached)
    assert (end < start).all()
    loss = lambda parts: squared(reached(task.inputs), task.targets) + task.penalty(parts)  # noqa: E731
    parts = [one.requires_grad_() for one in reached.parameters]
    slopes = torch.autograd.grad(loss(parts).sum(), parts)
    assert max(slope.abs().max() for slope in slopes) < 0.01
    assert curved.shape == (4, 13, 13)


def test_the_penalty_is_in_the_hessian():
    task, networks = _task(2), _networks(2)
    more = Task(inputs=task.inputs, targets=task.targets, decay=task.decay + 0.5)
    difference = more.curved(networks)[1] - task.curved(networks)[1]
    torch.testing.assert_close(difference, 0.5 * torch.eye(13).expand(2, 13, 13))


def test_extremes_leave_out_what_is_no_minimum(monkeypatch):
    values = [[1.0, 2.0], [3.0, 9.0], [-1.0, 20.0], [0.5, 0.6], [-3.0, 1.0], [-2.0, 5.0]]
    blocks = torch.stack([torch.diag(torch.tensor(one)) for one in values])
    monkeypatch.setattr(Task, "curved", lambda task, networks: (None, blocks))
    places, traces = basins.extremes(_task(6), _networks(6), 3, 0.1)
    assert places[0].tolist() == [1, 0]
    assert traces[0].tolist() == [12.0, 3.0]
    assert places[1].tolist() == [3, 3]
    monkeypatch.setattr(Task, "curved", lambda task, networks: (None, blocks[[2, 4, 5]]))
    assert basins.extremes(_task(3), _networks(3), 3, 0.1)[0].tolist() == [[0, 0]]


def test_a_trial_has_the_same_batches_in_every_group_and_a_seed_its_own():
    many = basins.batches_of((3, 5), examples=50, batch=4, trials=2, groups=3)(7)
    assert many.shape == (7, 12, 4)
    first = many[:, :6].view(7, 3, 2, 4)
    assert torch.equal(first[:, 0], first[:, 2])
    assert not torch.equal(first[:, 0, 0], first[:, 0, 1])
    alone = basins.batches_of((5,), examples=50, batch=4, trials=2, groups=3)(7)
    assert torch.equal(many[:, 6:], alone)


def test_gradient_descent_on_a_walk_is_that_of_all_examples():
    task, networks = _task(1), _networks(1)
    rows = lambda steps: torch.zeros(steps, 1, 4, dtype=torch.long)  # noqa: E731
    rules = [Rule(optimiser="GD", lr=0.05)]
    found = list(basins.walks(task, networks, rules, rows, (1, 30), warm=5))
    assert [step for step, _, _ in found] == [1, 30]
    torch.testing.assert_close(found[0][1], task.curved(networks)[0])
    optimised = [one.clone().requires_grad_() for one in networks.parameters]
    optimiser = torch.optim.SGD(optimised, lr=0.05, weight_decay=task.decay)
    for _ in range(30):
        optimiser.zero_grad()
        outputs = basins.with_parameters(networks, optimised)(task.inputs)
        squared(outputs, task.targets).sum().backward()
        optimiser.step()
    for one, other in zip(found[1][2].parameters, optimised, strict=True):
        torch.testing.assert_close(one, other.detach())


def test_sgd_sees_only_its_batches():
    task, networks = _task(1), _networks(1)
    rows = lambda steps: torch.full((steps, 1, 4), 3)  # noqa: E731
    rules = [Rule(optimiser="SGD", lr=0.05)]
    ((_, level, reached),) = basins.walks(task, networks, rules, rows, (400,), warm=0)
    off = (reached(task.inputs) - task.targets)[0, :, 0].abs()
    assert off[3] < 0.05
    assert off.max() > 0.5
    assert level.item() < squared(reached(task.inputs), task.targets).item()
