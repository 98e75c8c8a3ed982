"""Linear students: their losses, and training by SGD against the exact recursion."""

import numpy as np
import pytest
import torch

from scalefit.errors import GridError
from scalefit.flops import LinearShape
from trainers.models.base import FAMILIES, Layout, build
from trainers.models.linear import Linear, expected_losses
from trainers.sources.base import source
from trainers.sources.regression import Regression


@pytest.fixture(scope="module")
def teacher():
    return source("regression", 1)


def trained(teacher, width, batch, rates, replicas):
    """Squared errors of all weights, as losses without their sampling noise (replicas,)."""
    model = Linear(LinearShape(width=width), range(replicas))
    count = batch * len(rates)
    data = np.stack([teacher.rows(seed, count)[:, [*range(width), -1]] for seed in range(replicas)])
    steps = torch.from_numpy(data).view(replicas, len(rates), batch, -1).unbind(1)
    for rows, rate in zip(steps, rates, strict=True):
        (gradient,) = torch.autograd.grad(model.losses(rows).mean((1, 2)).sum(), model.weight)
        with torch.no_grad():
            model.weight -= rate * gradient
    errors = (model.weight.detach().double() - 1).square().numpy()
    return errors @ teacher.variances()[:width] + teacher.noise + teacher.beyond(width)


@pytest.mark.parametrize(("width", "batch", "rate"), [(6, 1, 0.1), (24, 4, 0.15), (24, 8, 0.3)])
def test_sgd_has_the_loss_that_the_recursion_expects(teacher, width, batch, rate):
    rates = rate * np.append(np.ones(48), np.linspace(1, 0, 16))
    losses = trained(teacher, width, batch, rates, replicas=600)
    error = losses.std(ddof=1) / np.sqrt(len(losses))
    expected = expected_losses(teacher, width=width, batch=batch, rates=rates)
    assert len(expected) == 65
    assert error < 0.03 * expected[-1]
    assert losses.mean() == pytest.approx(expected[-1], abs=4 * error)


def test_the_recursion_begins_at_the_variance_of_the_value_and_ends_above_what_is_unread(teacher):
    losses = expected_losses(teacher, width=8, batch=16, rates=0.1 * np.linspace(1, 0, 4000))
    assert losses[0] == pytest.approx(np.pi**2 / 6 + 0.25)
    floor = teacher.beyond(8) + teacher.noise
    assert floor < losses[-1] < 1.01 * floor


def test_one_step_on_one_feature_is_the_one_worked_out_by_hand():
    """An error v = 1 of the weight becomes 1 - 2q x (x + r): its square, 1 - 4q + 4q^2 (3 + s)."""
    teacher = Regression(features=1)
    rest = np.pi**2 / 6 - 1 + 0.25
    losses = expected_losses(teacher, width=1, batch=1, rates=np.array([0.1]))
    assert losses[1] == pytest.approx(1 - 0.4 + 0.04 * (3 + rest) + rest)


def test_exponents_of_the_recursion_are_those_of_theory(teacher):
    """In the data with many features, in the features with much data."""
    wide = Regression(features=4096)
    ends = np.array([512, 2048])
    excess = []
    for steps in ends:
        cooled = 0.1 * np.minimum(1, np.arange(steps, 0, -1) / (0.2 * steps))
        excess.append(expected_losses(wide, width=4096, batch=4, rates=cooled)[-1] - wide.noise)
    slope = -np.diff(np.log(excess)) / np.log(4)
    assert slope == pytest.approx([teacher.beta], abs=0.03)


def test_losses_are_squared_errors_of_the_first_features():
    model = Linear(LinearShape(width=2), [0, 1])
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 2.0], [0.0, -1.0]]))
    batch = torch.tensor([[3.0, 4.0, 99.0, 10.0]]).expand(2, 1, 4)
    assert torch.equal(model.losses(batch), torch.tensor([[[1.0]], [[196.0]]]))


def test_replicas_do_not_touch_each_other():
    model = Linear(LinearShape(width=3), [0, 1])
    with torch.no_grad():
        model.weight[1] = torch.nan
    losses = model.losses(torch.ones(2, 5, 4))
    assert losses.shape == (2, 5, 1)
    losses[0].sum().backward()
    assert torch.all(losses[0] == 1)
    assert torch.all(losses[1].isnan())
    assert torch.all(model.weight.grad[0] == -10)


def test_the_family_builds_what_is_counted(teacher):
    layout = Layout(name="grid", depth=1, context=1, head_width=1)
    shape = FAMILIES["linear"].shape(layout, 128, teacher)
    model = build(shape, [3, 4])
    assert model.params() == shape.params()
    assert model.params().total == 128
    assert shape.training_flops_per_token() == 4 * 128
    assert [weight.shape for weight in model.groups()["embedding"]] == [(2, 128)]
    assert model.OPTIMISER == "sgd"


def test_a_width_beyond_the_features_is_refused(teacher):
    layout = Layout(name="grid", depth=1, context=1, head_width=1)
    with pytest.raises(GridError, match=r"grid: width 129 is more than the 128 features"):
        FAMILIES["linear"].shape(layout, 129, teacher)
