"""Polynomials of degree 1, 5 and 20."""

import numpy as np
import pytest
from numpy.polynomial import legendre

from scalefit.errors import StudyError
from trainers.studies import polynomials
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return polynomials.run(Ask(seeds=range(200)))


def test_degree_1_underfits_and_degree_20_explodes(table):
    one, five, twenty = (
        polynomials.parts_of_error(polynomials.fits(table, degree)) for degree in (1, 5, 20)
    )
    assert np.median(five.errors) < np.median(one.errors) / 5
    assert np.median(twenty.errors) > 1e3 * np.median(five.errors)
    assert five.bias < one.bias / 10
    assert five.variance > one.variance
    assert one.bias == pytest.approx(0.2, abs=0.02)


def test_the_mean_error_is_squared_bias_and_variance(table):
    for degree in (1, 5, 9):
        parts = polynomials.parts_of_error(polynomials.fits(table, degree))
        assert parts.errors.mean() == pytest.approx(parts.bias + parts.variance, rel=1e-12)


def test_against_noisy_examples_the_noise_comes_on_top():
    # E[(h - y)^2] = E[(h - E h)^2] + (E h - f)^2 + E[(y - f)^2], by a large sample at one place
    draw = np.random.default_rng(0)
    fits = 0.3 + 0.2 * draw.standard_normal(400_000)
    noisy = 0.5 + 0.1 * draw.standard_normal(400_000)
    parts = fits.var() + (fits.mean() - 0.5) ** 2 + ((noisy - 0.5) ** 2).mean()
    assert ((fits - noisy) ** 2).mean() == pytest.approx(parts, rel=0.01)
    without_noise = fits.var() + (fits.mean() - 0.5) ** 2
    assert parts > 1.1 * without_noise


def test_a_fit_is_the_least_squares_polynomial():
    x, y = polynomials.examples(range(3), 30)
    found = polynomials.fit(x, y, 4)
    for one in range(3):
        assert found[one] == pytest.approx(legendre.legfit(x[one], y[one], 4))


def test_the_nodes_integrate_the_square_of_a_fit_exactly():
    weights = np.random.default_rng(3).standard_normal(21)
    square = legendre.legval(polynomials.NODES, weights) ** 2
    exact = (weights**2 / (2 * np.arange(21) + 1)).sum()
    assert (square * polynomials.SHARES / 2).sum() == pytest.approx(exact)


def test_the_explosion_lies_beyond_the_outermost_examples(table):
    numbers = polynomials.find(table).numbers
    assert numbers["outside"] > 10 * numbers["inside"] > 10 * numbers["median_5"]


def test_what_is_said_is_what_the_table_holds(table):
    finding = polynomials.find(table)
    assert finding.showed
    errors = polynomials.parts_of_error(polynomials.fits(table, 5)).errors
    assert f"{np.median(errors):.4f}" in finding.text[0]
    assert f"{finding.numbers['bias_1']:.3f}" in finding.text[1]
    assert len(polynomials.draw(table).axes) == 4


def test_fits_of_one_degree_throughout_show_nothing(table):
    same = table.assign(value=table["seed"] % 3 + table["x"])
    assert not polynomials.find(same).showed


def test_one_draw_is_refused():
    with pytest.raises(StudyError, match="--seeds 2 or more"):
        polynomials.run(Ask(seeds=[0]))


def test_two_draws_are_enough_to_look():
    assert polynomials.draw(polynomials.run(Ask(seeds=[0, 1]))).axes
