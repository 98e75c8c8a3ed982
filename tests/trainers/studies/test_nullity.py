"""Flat directions at minima of small networks."""

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares

from trainers.studies import nullity
from trainers.studies.tools.curvature import flatten, unflatten
from trainers.studies.tools.mlp import draw_networks, with_parameters
from trainers.study import Ask

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table():
    return nullity.run(Ask(seeds=range(4)))


def test_many_parameters_leave_p_less_n_flat_directions_and_few_leave_none(table):
    found = nullity.nullities(table)
    many = found[found["params"] >= 50]
    assert (many["nullity"] == many["params"] - nullity.EXAMPLES).all()
    assert (many["rank"] == nullity.EXAMPLES).all()
    assert (many["mse"] < 1e-25).all()
    few = found[found["params"] <= 16]
    assert (few[["nullity", "negative"]] == 0).all(axis=None)
    assert few["minimum"].all()
    assert (few["mse"] > 1e-6).all()


def test_no_more_flat_directions_than_the_rank_leaves(table):
    found = nullity.nullities(table)
    exact = found[found["mse"] < 1e-25]
    assert (exact["nullity"] + exact["rank"] == exact["params"]).all()


def small(seeds=(0, 1)):
    drawn = draw_networks(seeds, (nullity.INPUTS, 2, 1), gain=1.0, activation=torch.tanh)
    networks = with_parameters(drawn, [one.double() for one in drawn.parameters])
    parts = zip(*(nullity.problem(seed) for seed in seeds), strict=True)
    return networks, *(torch.stack(part) for part in parts)


def test_the_jacobian_is_that_of_finite_differences():
    networks, inputs, targets = small()
    jacobian, left = nullity.linearised(networks, inputs, targets)
    rows = flatten(networks.parameters)
    for place in range(rows.shape[1]):
        step = torch.zeros_like(rows)
        step[:, place] = 1e-6
        ends = [
            nullity.linearised(
                with_parameters(networks, unflatten(rows + way * step, networks.parameters)),
                inputs, targets,
            )[1]
            for way in (1, -1)
        ]  # fmt: skip
        assert torch.allclose((ends[0] - ends[1]) / 2e-6, jacobian[:, :, place], atol=1e-8)
    assert torch.allclose(left, networks(inputs)[..., 0] - targets[..., 0])


def test_a_fit_is_no_worse_than_scipys_and_stands_still():
    networks, inputs, targets = small()
    found = nullity.fit(networks, inputs, targets, nullity.STEPS)
    jacobian, left = nullity.linearised(found, inputs, targets)
    for replica in range(2):

        def residuals(row, replica=replica):
            full = flatten(networks.parameters).clone()
            full[replica] = torch.from_numpy(row)
            moved = with_parameters(networks, unflatten(full, networks.parameters))
            return nullity.linearised(moved, inputs, targets)[1][replica].numpy()

        start = flatten(networks.parameters)[replica].numpy()
        ours, theirs = left[replica].square().sum(), least_squares(residuals, start, method="lm")
        assert ours <= 2 * theirs.cost * (1 + 1e-6)
        assert (left[replica] @ jacobian[replica]).norm() < 1e-7


def test_seeds_fitted_together_are_those_fitted_alone(table):
    alone = nullity._measured(2, [1])
    both = table[(table["seed"] == 1) & (table["params"] == 11)].reset_index(drop=True)
    assert alone["eigenvalue"].to_numpy() == pytest.approx(both["eigenvalue"], rel=1e-6)


def test_what_is_said_is_what_the_table_holds(table):
    finding = nullity.find(table)
    assert finding.showed
    assert finding.numbers["manifold"] == finding.numbers["isolated"] == 1.0
    assert "in 20 of 20 minima" in finding.text[0]
    assert len(nullity.draw(table).axes) == 2
    assert nullity.find(table[table["seed"] == 3]).showed


def test_one_flat_direction_too_many_is_told(table):
    flat = table.assign(eigenvalue=np.where(table["place"] == 0, 0.0, table["eigenvalue"]))
    finding = nullity.find(flat)
    assert not finding.showed
    assert finding.numbers["isolated"] == 0.0
    lost = table.assign(slope=1.0)
    assert not nullity.find(lost).showed
    assert "In 44 of 44 cases none" in nullity.find(lost).text[2]
    nullity.draw(lost)
