"""Where Adam ends, beside the least norm."""

import numpy as np
import pytest
import torch

from trainers.studies import adam_norm, spline
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return adam_norm.run(Ask(seeds=range(20)))


def test_without_knots_adam_stops_at_the_variance_of_the_values(table):
    flat = table[(table["knots"] == 0) & (table["step"] >= 500)]
    assert (flat["loss"] - 0.0099556).abs().max() < 1e-6
    assert (flat["alpha"] - 7 / 60).abs().max() < 1e-6


def test_adam_fits_every_point_and_keeps_more_norm_than_the_least(table):
    last = adam_norm.settled(table)
    many = last[last["knots"] > 0]
    assert many["loss"].max() < 1e-5
    assert many["norm"].min() > 1.005
    medians = many.groupby("knots")["norm"].median()
    assert medians.is_monotonic_increasing


def test_the_steps_are_those_of_the_lecture_s_own_model():
    steps = range(0, 41, 10)
    losses, weights = adam_norm.adam(np.zeros((1, 0)), steps)
    alpha, beta = torch.zeros(1, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.Adam([alpha, beta], lr=0.01)
    x, y = torch.arange(6.0) / 10, torch.tensor([25.0, 9, 1, 1, 9, 25]) / 100
    seen = []
    for _ in range(41):
        optimiser.zero_grad()
        loss = torch.nn.functional.mse_loss(alpha + beta * x, y)
        seen.append((loss.item(), alpha.item() * 100, beta.item() * 10))
        loss.backward()
        optimiser.step()
    found = np.column_stack([losses[:, 0], weights[:, 0]])
    assert found == pytest.approx(np.array([seen[step] for step in steps]), rel=1e-4)


def test_what_adam_has_above_the_least_norm_does_not_touch_the_points():
    knots = spline.free_knots(range(4), 100)
    _, weights = adam_norm.adam(knots, [1500])
    extra = weights[-1] - spline.least_all(knots, spline.BY_TEN)
    moved = np.einsum("dpk,dk->dp", spline.design(spline.POINTS, knots), extra)
    assert np.abs(moved).max() < 1e-2
    assert np.linalg.norm(extra, axis=1).min() > 0.1


def test_gradient_descent_from_zero_ends_at_the_least_norm():
    knots = spline.free_knots([0], 200)
    basis = spline.design(spline.POINTS / 10, knots / 10)[0]
    wanted, weights = spline.VALUES / 100, np.zeros(202)
    rate = np.linalg.norm(basis, 2) ** -2.0
    # in the six directions of the points gradient descent is a 6 by 6 recursion: doubled 40 times
    step = np.eye(6) - rate * basis @ basis.T
    for _ in range(40):
        step = step @ step
    weights = basis.T @ np.linalg.solve(basis @ basis.T, (np.eye(6) - step) @ wanted)
    least = spline.least_all(knots, spline.BY_TEN)[0]
    assert spline.unscaled(weights[None], spline.BY_TEN)[0] == pytest.approx(least, abs=1e-6)


def test_what_is_said_is_what_the_table_holds(table):
    finding = adam_norm.find(table)
    assert finding.showed
    assert "0.009956" in finding.text[0]
    assert f"{finding.numbers['norm']:.3f}" in finding.text[1]
    assert len(adam_norm.draw(table).axes) == 2


def test_a_table_of_least_norms_shows_nothing(table):
    assert not adam_norm.find(table.assign(norm=1.0)).showed
