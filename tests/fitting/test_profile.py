"""Profile limits against fits with the quantity held there, t-intervals, and other optimisers."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import NonlinearConstraint, minimize

from scalefit.errors import FitError
from scalefit.fitting.bootstrap import by_size
from scalefit.fitting.objective import (
    ASYMMETRIC,
    LEAST_DEVIATIONS,
    LEAST_SQUARES,
    RAW_LEAST_SQUARES,
    Objective,
    huber,
)
from scalefit.fitting.optimum import Optimum, find
from scalefit.fitting.profile import profile
from scalefit.fitting.sandwich import sandwich
from scalefit.fitting.solver import value
from scalefit.fitting.targets import planned, target
from scalefit.laws import Constraints, Law, Model
from scalefit.runs import Runs
from tests.conftest import known_law, simulate

FORM = known_law("chinchilla").form
OBJECTIVES = [huber(), LEAST_DEVIATIONS, LEAST_SQUARES, RAW_LEAST_SQUARES, ASYMMETRIC]
COLUMNS = ("params", "tokens", "loss")


def columns(table: pd.DataFrame) -> tuple[np.ndarray, ...]:
    return tuple(table[c].to_numpy(dtype=float) for c in COLUMNS)


def fitted(
    table: pd.DataFrame, objective: Objective, said: Constraints | None = None
) -> tuple[tuple[Model, ...], Objective, Optimum]:
    models = FORM.models(*columns(table), constraints=said)
    best = find(models, objective, np.ones(len(table)), FORM.limits(said))
    return models, objective, best


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective.name)
def test_every_interval_holds_its_optimum_and_has_two_ends(
    epoch: Runs, objective: Objective
) -> None:
    found = fitted(epoch.without_highest(5).frame, objective)
    natural = found[2].natural
    goals = [target(FORM, name) for name in ("E", "A", "B", "alpha", "beta", "a", "b")]
    goals += [planned(FORM, name, 5.76e23) for name in ("params", "tokens", "loss")]
    for goal in goals:
        low, high = profile(*found, FORM, goal, 0.95)
        assert low < goal.of(natural) < high


@pytest.mark.parametrize("objective", [huber(), LEAST_SQUARES], ids=lambda o: o.name)
@pytest.mark.parametrize("name", ["alpha", "beta", "E", "A"])
def test_the_best_law_with_a_parameter_at_its_limit_lies_on_the_threshold(
    epoch: Runs, objective: Objective, name: str
) -> None:
    table = epoch.without_highest(5).frame
    found = fitted(table, objective)
    rises = []
    for limit in profile(*found, FORM, name, 0.95):
        held = fitted(table, objective, Constraints(fixed={name: limit}))
        rises.append(held[2].value - found[2].value)
    # One threshold on both sides, and the one that the sandwich says.
    assert rises[0] == pytest.approx(rises[1], rel=1e-4)
    local = sandwich(found[0], objective, found[2], None)
    slope = target(FORM, name).slope(local.model, local.theta[None])[0]
    inflation = slope @ local.covariance @ slope / (slope @ np.linalg.solve(local.bread, slope))
    assert rises[0] == pytest.approx(inflation * local.quantile(0.95) ** 2 / 2, rel=1e-4)


def test_nearly_without_noise_it_is_the_t_interval() -> None:
    table = simulate(known_law("chinchilla"), noise=1e-5, seed=1)
    found = fitted(table, LEAST_SQUARES)
    for goal in (target(FORM, "alpha"), target(FORM, "a"), planned(FORM, "params", 1e24)):
        straight = sandwich(found[0], LEAST_SQUARES, found[2], None).interval(goal, 0.95)
        width = straight[1] - straight[0]
        np.testing.assert_allclose(profile(*found, FORM, goal, 0.95), straight, atol=2e-3 * width)


@pytest.mark.parametrize("objective", [huber(), LEAST_SQUARES], ids=lambda o: o.name)
def test_limits_do_not_depend_on_how_the_quantity_is_written(objective: Objective) -> None:
    found = fitted(simulate(known_law("asymmetric"), noise=0.01, seed=4), objective)
    low, high = profile(*found, FORM, "a", 0.95)
    bent = profile(*found, FORM, lambda law: np.exp(5 * FORM.exponents(law)[..., 0]), 0.95)
    np.testing.assert_allclose(bent, np.exp([5 * low, 5 * high]), rtol=1e-6)
    turned = profile(*found, FORM, lambda law: 1 / FORM.exponents(law)[..., 0], 0.95)
    np.testing.assert_allclose(turned, [1 / high, 1 / low], rtol=1e-6)
    np.testing.assert_allclose(profile(*found, FORM, "b", 0.95), [1 - high, 1 - low], rtol=1e-6)


def test_limits_do_not_depend_on_the_coordinates_of_the_model(epoch: Runs) -> None:
    table = epoch.without_highest(5).frame
    # Saying something of A that does not bind puts the model into other coordinates.
    other = Constraints(bounds={"A": (1e-3, 1e9)})
    for name in ("alpha", "A", "a"):
        one, two = (
            profile(*fitted(table, huber(), said), FORM, name, 0.95, limits=FORM.limits(said))
            for said in (None, other)
        )
        np.testing.assert_allclose(one, two, rtol=1e-5)


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10**4), noise=st.floats(1e-3, 0.02))
def test_another_optimiser_finds_nothing_beyond_the_limits(seed: int, noise: float) -> None:
    models, objective, best = fitted(
        simulate(known_law("symmetric"), noise=noise, seed=seed), LEAST_SQUARES
    )
    goal = planned(FORM, "params", 1e23)
    limits = profile(models, objective, best, FORM, goal, 0.9)
    local = sandwich(models, objective, best, None)
    slope = goal.slope(local.model, local.theta[None])[0]
    naive = slope @ np.linalg.solve(local.bread, slope)
    threshold = slope @ local.covariance @ slope / naive * local.quantile(0.9) ** 2 / 2
    root = np.linalg.inv(np.linalg.cholesky(local.bread / (2 * threshold))).T

    def rise(z: np.ndarray) -> float:
        theta = (local.theta + root @ z)[None]
        return float(value(local.model, objective, theta, np.ones((1, 54)))[0] - best.value)

    for sign, limit in zip((1, -1), limits, strict=True):
        end = minimize(
            lambda z, sign=sign: (
                sign * goal.scaled(models[0].natural((local.theta + root @ z)[None]))[0]
            ),
            np.zeros(5),
            method="SLSQP",
            constraints=NonlinearConstraint(lambda z: rise(z) / threshold, -np.inf, 1.0),
            options={"maxiter": 300, "ftol": 1e-10},
        )
        assert sign * end.fun == pytest.approx(np.log(limit), abs=1e-4)


def test_a_floor_that_may_be_nothing_has_nothing_for_its_low_limit() -> None:
    law = Law(
        name="no floor",
        form=FORM,
        params={"E": 0.0, "A": 50.0, "B": 40.0, "alpha": 0.15, "beta": 0.12},
    )
    for seed in range(4):  # with the optimum inside as well as on the edge
        found = fitted(simulate(law, noise=0.01, seed=seed), huber())
        low, high = profile(*found, FORM, "E", 0.95)
        assert low == 0.0
        assert high > found[2].natural[0]
        low, high = profile(*found, FORM, "a", 0.95)
        assert low < found[2].natural[4] / found[2].natural[3:].sum() < high


def test_a_side_that_the_runs_leave_open_has_no_limit() -> None:
    table = simulate(known_law("chinchilla"), noise=0.03, seed=5)
    table = table[table["params"] > 2e9]  # hardly a difference in size is left
    low, high = profile(*fitted(table, LEAST_SQUARES), FORM, "alpha", 0.95)
    assert low is None or high is None


def test_too_few_clusters_leave_both_sides_open() -> None:
    table = simulate(known_law("chinchilla"), noise=0.01, sizes=3, per_size=8)
    units = by_size(table["params"].to_numpy())  # without one of them two sizes are left
    found = fitted(table, LEAST_SQUARES)
    assert profile(*found, FORM, "alpha", 0.95, cluster=units) == (None, None)


def test_what_is_fixed_has_its_value_for_limits() -> None:
    said = Constraints(fixed={"E": 1.8})
    found = fitted(simulate(known_law("chinchilla"), noise=0.01), huber(), said)
    assert profile(*found, FORM, "E", 0.95, limits=FORM.limits(said)) == (1.8, 1.8)


def test_a_bound_that_a_user_gives_is_a_limit() -> None:
    table = simulate(known_law("chinchilla"), noise=0.01)
    free = fitted(table, huber())
    low, high = profile(*free, FORM, "alpha", 0.95)
    most = (free[2].natural[3] + high) / 2
    said = Constraints(bounds={"alpha": (0.1, most)})
    bound = profile(*fitted(table, huber(), said), FORM, "alpha", 0.95, limits=FORM.limits(said))
    assert bound == pytest.approx((low, most), rel=1e-6)


@settings(deadline=None, max_examples=10)
@given(lower=st.floats(0.3, 0.9), more=st.floats(0.01, 0.09))
def test_a_higher_level_is_wider(lower: float, more: float) -> None:
    found = fitted(simulate(known_law("chinchilla"), noise=0.01, seed=3), huber())
    (low, high), (least, most) = (profile(*found, FORM, "a", x) for x in (lower, lower + more))
    assert least < low < high < most


def test_runs_without_noise_leave_nothing_to_profile_and_nothing_breaks() -> None:
    for objective in (huber(), LEAST_DEVIATIONS):
        found = fitted(simulate(known_law("chinchilla")), objective)
        limits = profile(*found, FORM, "alpha", 0.95)
        assert all(end is None or end == pytest.approx(0.35, abs=1e-6) for end in limits)


def test_noise_that_runs_share_widens_the_limits() -> None:
    table = simulate(known_law("chinchilla"), noise=0.003, seed=1, sizes=20, per_size=8)
    units = by_size(table["params"].to_numpy())
    table["loss"] *= np.exp(0.01 * np.random.default_rng(0).standard_normal(20))[units]
    found = fitted(table, huber())
    narrow = profile(*found, FORM, "alpha", 0.95)
    wide = profile(*found, FORM, "alpha", 0.95, cluster=units)
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])


def test_an_unknown_quantity_is_refused_in_a_sentence() -> None:
    found = fitted(simulate(known_law("chinchilla"), noise=0.01), huber())
    with pytest.raises(FitError, match="no quantity 'c'"):
        profile(*found, FORM, "c", 0.95)
