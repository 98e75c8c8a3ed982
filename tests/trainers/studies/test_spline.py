"""Which of many perfect fits is the natural spline."""

import numpy as np
import pytest

from trainers.studies import spline
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return spline.run(Ask(seeds=range(20)))


@pytest.fixture
def knots():
    return spline.free_knots(range(8), 30)


def test_least_gamma_approaches_the_natural_spline_as_knots_grow_dense(table):
    away = spline.distances(table).groupby(["solver", "knots"])["distance"].median()
    assert away[spline.GAMMA, 1000] < 0.2
    assert away[spline.GAMMA, 1000] < 0.5 * away[spline.GAMMA, 100]
    assert away[spline.GAMMA].is_monotonic_decreasing


def test_the_least_norm_of_all_weights_does_not(table):
    away = spline.distances(table).groupby(["solver", "knots"])["distance"].median()
    assert away[spline.ALL].min() > 0.8
    assert away[spline.SMALL, 1000] > away[spline.SMALL, 100]


def test_gamma_squared_times_knots_approaches_the_bending_of_the_spline(table):
    rows = spline.distances(table)
    dense = rows[(rows["solver"] == spline.GAMMA) & (rows["knots"] == 1000)]
    assert (1000 * dense["gamma"] ** 2).mean() == pytest.approx(spline.bending(), rel=0.03)


def test_the_bending_is_the_integral_of_the_squared_second_derivative():
    x = np.linspace(0.0, 5.0, 50_001)
    assert spline.bending() == pytest.approx(
        5.0 * np.trapezoid(spline.SPLINE(x, 2) ** 2, x), rel=1e-6
    )


def test_every_solver_fits_the_points(knots):
    for weights in (
        spline.least_gamma(knots),
        spline.least_all(knots),
        spline.least_all(knots, spline.BY_TEN),
    ):
        passed = spline.heights(spline.POINTS, knots, weights)
        assert passed == pytest.approx(np.tile(spline.VALUES, (8, 1)), abs=1e-8)


def test_each_solver_has_least_of_what_it_is_named_for(knots):
    gamma, whole = spline.least_gamma(knots), spline.least_all(knots)
    bent = np.linalg.norm(gamma[:, 2:], axis=1), np.linalg.norm(whole[:, 2:], axis=1)
    assert (bent[0] < bent[1]).all()
    assert (np.linalg.norm(whole, axis=1) < np.linalg.norm(gamma, axis=1)).all()


def test_no_other_perfect_fit_has_less_gamma(knots):
    weights = spline.least_gamma(knots)
    basis = spline.design(spline.POINTS, knots)
    # whatever leaves the points where they are is orthogonal to gamma
    for one, design in zip(weights, basis, strict=True):
        silent = np.linalg.svd(design)[2][6:]
        assert silent[:, 2:] @ one[2:] == pytest.approx(np.zeros(len(silent)), abs=1e-8)


def test_scale_matters_to_the_least_norm_of_all_but_not_to_least_gamma(knots, monkeypatch):
    x = np.linspace(0.0, 5.0, 11)
    before = spline.heights(x, knots, spline.least_gamma(knots))
    apart = spline.least_all(knots) - spline.least_all(knots, spline.BY_TEN)
    monkeypatch.setattr(spline, "POINTS", spline.POINTS / 10)
    monkeypatch.setattr(spline, "VALUES", spline.VALUES / 100)
    small = spline.heights(x / 10, knots / 10, spline.least_gamma(knots / 10))
    assert 100 * small == pytest.approx(before, abs=1e-7)
    assert np.abs(apart).max() > 0.1


def test_what_is_said_is_what_the_table_holds(table):
    finding = spline.find(table)
    assert finding.showed
    assert f"{finding.numbers['near']:.3f}" in finding.text[0]
    assert f"{finding.numbers['far']:.2f}" in finding.text[1]
    assert len(spline.draw(table).axes) == 2


def test_a_table_in_which_nothing_approaches_says_so(table):
    still = table.assign(value=spline.SPLINE(table["x"]) + 0.5)
    assert not spline.find(still).showed


def test_one_seed_is_enough_to_look():
    alone = spline.run(Ask(seeds=[3]))
    assert spline.find(alone).numbers["near"] > 0
    assert spline.draw(alone).axes
