"""Broken lines through six points: errors by number of knots."""

import numpy as np
import pytest

from trainers.studies import knots, spline
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return knots.run(Ask(seeds=range(400)))


@pytest.fixture(scope="module")
def free(table):
    return table[table["drawn"] == knots.FREE]


@pytest.fixture(scope="module")
def worst(table):
    return table.loc[table["drawn"] == knots.ONE_A_GAP, "error"].to_numpy()


def test_the_mean_error_explodes_near_the_threshold(free):
    mean = free.groupby("knots")["error"].mean()
    assert mean[[3, 4, 5]].min() > 100 * mean[30]
    assert mean[1] < mean[3]


def test_the_median_error_shows_no_second_descent(free):
    assert free.groupby("knots")["error"].median().is_monotonic_decreasing


def test_without_knots_the_loss_is_the_variance_of_the_values(free):
    plateau = free.loc[free["knots"] == 0, "train"].to_numpy()
    assert plateau == pytest.approx(np.full(400, 0.0099556), abs=1e-6)
    assert plateau == pytest.approx(np.full(400, np.var(knots.VALUES / 100)))


def test_with_many_knots_every_draw_passes_through_every_point(free):
    assert free.loc[free["knots"] >= 20, "train"].max() < 1e-20
    few = free.loc[free["knots"] == 4, "train"] < 1e-9
    assert 0.2 < few.mean() < 0.6


def test_the_tail_at_the_threshold_has_no_mean(worst):
    assert len(worst) == 100_000
    assert 0.55 < knots.tail_index(worst) < 1.0


def test_the_index_of_the_tail_goes_to_one_as_three_factors_multiply():
    draw = np.random.default_rng(0)
    errors = knots.worst_at_knots(draw.uniform(size=(10**6, 4)) + np.arange(1.0, 5.0))
    near, far = knots.tail_index(errors, 0.1), knots.tail_index(errors, 1e-3)
    assert near < 0.68
    assert 0.74 < far < 1.0


def test_hill_finds_the_index_of_a_power():
    errors = np.random.default_rng(1).pareto(0.7, 200_000) + 1.0
    assert knots.tail_index(errors) == pytest.approx(0.7, rel=0.05)


def test_the_slope_between_knots_grows_by_gamma_at_each():
    at = spline.free_knots(range(5), 7)
    weights = np.random.default_rng(0).standard_normal((5, 9))
    ends, starts, slopes = knots.pieces(at, weights)
    order = np.argsort(at, axis=1)
    assert np.diff(slopes) == pytest.approx(np.take_along_axis(weights[:, 2:], order, axis=1))
    # the outermost slopes are beta less, and beta plus, half the sum of gamma
    half = weights[:, 2:].sum(axis=1) / 2
    assert slopes[:, 0] == pytest.approx(weights[:, 1] - half)
    assert slopes[:, -1] == pytest.approx(weights[:, 1] + half)
    for one in range(5):
        line = spline.heights(ends[one, :-1], at[one : one + 1], weights[one : one + 1])
        assert starts[one] == pytest.approx(line[0])


def test_the_mean_square_is_that_of_a_fine_grid():
    at = spline.free_knots(range(6), 9)
    weights = spline.least_gamma(at)
    x = np.linspace(0.0, 5.0, 400_001)
    for one in range(6):
        line = spline.heights(x, at[one : one + 1], weights[one : one + 1])[0]
        fine = np.trapezoid((line - spline.truth(x)) ** 2, x) / 5.0
        assert knots.mean_square(at, weights)[one] == pytest.approx(fine, rel=1e-5)


def test_with_a_knot_in_each_gap_the_solver_finds_the_one_line_there_is():
    gaps = np.random.default_rng(2).uniform(0.2, 0.8, (50, 4)) + np.arange(1.0, 5.0)
    weights = spline.least_gamma(gaps)
    assert np.abs(spline.heights(spline.POINTS, gaps, weights) - spline.VALUES).max() < 1e-8
    at_knots = np.stack(
        [
            spline.heights(one, one[None], weight[None])[0]
            for one, weight in zip(gaps, weights, strict=True)
        ]
    )
    assert np.abs(at_knots - spline.truth(gaps)).max(axis=1) == pytest.approx(
        knots.worst_at_knots(gaps)
    )


def test_what_is_said_is_what_the_table_holds(table, free):
    finding = knots.find(table)
    assert finding.showed
    mean, median = free.groupby("knots")["error"].mean(), free.groupby("knots")["error"].median()
    assert f"{mean[4]:.1e}" in finding.text[0]
    assert f"{median[30]:.3f}" in finding.text[1]
    assert f"{finding.numbers['index']:.2f}" in finding.text[2]
    assert "0.009956" in finding.text[3]
    assert len(knots.draw(table).axes) == 2


def test_errors_without_a_peak_are_not_said_to_have_one(table):
    assert not knots.find(table.assign(error=1.0 + table.index % 997)).showed


def test_one_seed_is_enough_to_look():
    alone = knots.run(Ask(seeds=[5]))
    assert len(knots.find(alone).text) == 4
    assert knots.draw(alone).axes
