"""The instant intervals against textbook formulas, derivatives by hand, and the bootstrap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalefit.errors import FitError
from scalefit.fitting.bootstrap import by_size, replicate
from scalefit.fitting.objective import LEAST_DEVIATIONS, LEAST_SQUARES, huber
from scalefit.fitting.optimum import Optimum, find
from scalefit.fitting.sandwich import _stiffness, _window, sandwich
from scalefit.fitting.targets import planned, target
from scalefit.laws import Model
from scalefit.runs import Runs
from tests.conftest import known_law, simulate

FORM = known_law("chinchilla").form
COLUMNS = ("params", "tokens", "loss")


def fitted(table, objective=LEAST_SQUARES) -> tuple[tuple[Model, ...], Optimum]:
    models = FORM.models(*(table[c].to_numpy(dtype=float) for c in COLUMNS))
    return models, find(models, objective, np.ones(len(table)))


def design(model: Model, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of log m (rows, p) and log residuals (rows,)."""
    law = model.expand(theta[None])
    return (law.first[0] / law.value[0]).T, np.log(law.value[0]) - model.log_loss


def test_for_least_squares_it_is_hc3() -> None:
    models, best = fitted(simulate(known_law("chinchilla"), noise=0.01, seed=2))
    x, residual = design(models[0], best.theta)
    inverse = np.linalg.inv(x.T @ x)
    leverage = np.einsum("ni,ij,nj->n", x, inverse, x)
    meat = x.T @ (x * (residual / (1 - leverage))[:, None] ** 2)
    found = sandwich(models, LEAST_SQUARES, best, None)
    np.testing.assert_allclose(found.covariance, inverse @ meat @ inverse, rtol=1e-6)
    assert found.freedom == 54 - 5


def test_for_clusters_it_is_what_leaving_each_out_moves_the_linear_fit() -> None:
    table = simulate(known_law("chinchilla"), noise=0.01, seed=2)
    models, best = fitted(table)
    x, residual = design(models[0], best.theta)
    moved = []
    for size in sorted(set(table["params"])):
        rest = (table["params"] != size).to_numpy()
        moved.append(np.linalg.lstsq(x[rest], -residual[rest], rcond=None)[0])
    expected = np.array(moved).T @ np.array(moved)
    found = sandwich(models, LEAST_SQUARES, best, by_size(table["params"].to_numpy()))
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-6)
    assert found.freedom == 9 - 1


def test_the_slopes_of_targets_agree_with_those_by_hand() -> None:
    models, best = fitted(simulate(known_law("asymmetric"), noise=0.01))
    model, theta = models[0], best.theta
    alpha, beta = theta[3:]
    by_alpha, by_beta = -beta / (alpha + beta) ** 2, alpha / (alpha + beta) ** 2
    slope = target(FORM, "a").slope(model, theta[None])[0]
    np.testing.assert_allclose(slope, [0, 0, 0, by_alpha, by_beta], atol=1e-10)
    # log A = log of the slope in N - log alpha + alpha * mean log N
    slope = target(FORM, "A").slope(model, theta[None])[0]
    np.testing.assert_allclose(slope, [0, 1, 0, model.centre[0] - 1 / alpha, 0], atol=1e-8)
    best_spent = FORM.optimum(best.natural, np.array(1e22))
    slope = planned(FORM, "loss", 1e22).slope(model, theta[None])[0]
    # At the optimum N and D do not matter to the first order: only the law's value there moves.
    h = 1e-6
    for i in range(5):
        shift = h * np.eye(5)[i]
        around = model.natural(np.stack([theta + shift, theta - shift]))
        rise = FORM.predict(around, best_spent.params, best_spent.tokens)
        by_hand = (rise[0] - rise[1]) / (2 * h) / best_spent.loss
        assert slope[i] == pytest.approx(by_hand, abs=1e-7)


@pytest.mark.parametrize("clustered", [False, True])
def test_near_absolute_deviations_it_agrees_with_the_bootstrap(
    epoch: Runs, clustered: bool
) -> None:
    # The density of the residuals at 0, pooled over all runs, would give half of it.
    table = epoch.without_highest(5).frame
    models, best = fitted(table, huber())
    cluster = by_size(table["params"].to_numpy()) if clustered else None
    draws = replicate(models, huber(), best, cluster, count=600, seed=0)
    found = sandwich(models, huber(), best, cluster)
    for name in ("E", "A", "B", "alpha", "beta", "a"):
        goal = target(FORM, name)
        assert found.error(goal) == pytest.approx(goal.scaled(draws).std(), rel=0.3)


@settings(deadline=None, max_examples=20)
@given(scale=st.floats(1e-4, 1.0), seed=st.integers(0, 1000))
def test_expected_curvature_is_twice_the_density_at_zero_for_absolute_deviations(
    scale: float, seed: int
) -> None:
    residual = scale * np.random.default_rng(seed).standard_normal(4000)
    window = _window(residual)
    density = 1 / (np.sqrt(2 * np.pi) * scale)
    assert _stiffness(LEAST_DEVIATIONS, residual, window).mean() == pytest.approx(
        2 * density, rel=0.15
    )
    np.testing.assert_allclose(_stiffness(LEAST_SQUARES, residual, window), 2.0)


def test_rows_of_weight_two_count_as_they_are() -> None:
    models, best = fitted(simulate(known_law("chinchilla"), noise=0.01))
    plain = sandwich(models, LEAST_SQUARES, best, None)
    heavy = sandwich(models, LEAST_SQUARES, best, None, base=np.full(54, 2.0))
    np.testing.assert_allclose(heavy.covariance, plain.covariance)
    np.testing.assert_allclose(heavy.bread, 2 * plain.bread)


def test_three_clusters_of_size_leave_the_size_term_open() -> None:
    table = simulate(known_law("chinchilla"), noise=0.01, sizes=3, per_size=8)
    models, best = fitted(table)
    found = sandwich(models, LEAST_SQUARES, best, by_size(table["params"].to_numpy()))
    assert found.interval(target(FORM, "alpha"), 0.95) == (None, None)


def test_a_floor_never_goes_below_nothing_and_a_plan_stays_positive() -> None:
    table = simulate(known_law("chinchilla"), noise=0.15, seed=3)
    models, best = fitted(table)
    found = sandwich(models, LEAST_SQUARES, best, None)
    assert found.interval(target(FORM, "E"), 0.95)[0] == 0.0
    low, high = found.interval(planned(FORM, "params", 1e24), 0.95)
    assert 0 < low < high < np.inf


def test_a_noise_free_table_has_no_error() -> None:
    models, best = fitted(simulate(known_law("chinchilla")), huber())
    low, high = sandwich(models, huber(), best, None).interval(target(FORM, "alpha"), 0.95)
    assert (low, high) == pytest.approx((0.35, 0.35), rel=1e-6)


def test_unknown_quantities_are_refused_in_a_sentence() -> None:
    with pytest.raises(FitError, match="no quantity 'gamma'; it has E, A, B, alpha, beta, a, b"):
        target(FORM, "gamma")
    with pytest.raises(FitError, match="no quantity 'N'; it has params, tokens, loss"):
        planned(FORM, "N", 1e21)
