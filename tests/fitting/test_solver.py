"""The solver against finite differences, dense algebra and its own exact optima."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalefit.fitting.linalg import solve_positive
from scalefit.fitting.objective import Huber
from scalefit.fitting.solver import Problem, minimise
from scalefit.fitting.starts import starts
from tests.conftest import SURFACES, known_law, simulate


def problem_of(name: str, noise: float = 0.0, delta: float = 1e-3) -> Problem:
    law = known_law(name)
    table = simulate(law, noise=noise)
    terms = law.form.log_terms(
        *(table[column].to_numpy() for column in ("params", "tokens", "loss"))
    )
    return Problem(terms, Huber(delta=delta))


def test_a_batch_of_systems_is_solved_as_numpy_solves_each() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((20, 5, 5))
    matrix, vector = root @ root.swapaxes(1, 2) + 0.1 * np.eye(5), rng.standard_normal((20, 5))
    solution, positive = solve_positive(np.moveaxis(matrix, 0, -1), vector.T)
    assert positive.all()
    np.testing.assert_allclose(
        solution.T, np.linalg.solve(matrix, vector[..., None])[..., 0], rtol=1e-8
    )


def test_a_matrix_that_is_not_positive_definite_is_said_to_be_so() -> None:
    matrix = np.stack([np.diag([1.0, -1.0]), np.eye(2), np.ones((2, 2))], axis=-1)
    assert solve_positive(matrix, np.ones((2, 3)))[1].tolist() == [False, True, False]


@pytest.mark.parametrize("name", sorted(SURFACES))
@pytest.mark.parametrize("delta", [1e-3, 0.5])
def test_derivatives_agree_with_finite_differences(name: str, delta: float) -> None:
    # Away from the kinks of the slope at |r| = delta, where a difference would straddle them.
    problem = problem_of(name, noise=0.05, delta=delta)
    rng = np.random.default_rng(1)
    weights = rng.integers(0, 4, size=(1, problem.rows)).astype(float)
    theta = starts(problem, weights[0])[0] + 0.01 * rng.standard_normal(problem.size)
    exact = np.ones(1, dtype=bool)
    expansion = problem.expand(theta[None], weights, exact)
    h = 1e-7
    for i in range(problem.size):
        step = h * np.eye(problem.size)[i]
        above, below = (problem.expand((theta + s * step)[None], weights, exact) for s in (1, -1))
        slope = (above.value - below.value) / (2 * h)
        assert expansion.gradient[i] == pytest.approx(slope, rel=1e-5, abs=1e-9)
        bend = (above.gradient - below.gradient)[:, 0] / (2 * h)
        scale = np.abs(expansion.hessian).max()
        np.testing.assert_allclose(expansion.hessian[i, :, 0], bend, atol=1e-5 * scale)


@given(residual=st.floats(-1, 1), delta=st.floats(1e-4, 0.5))
def test_the_majorant_touches_the_loss_and_lies_above_it(residual: float, delta: float) -> None:
    huber = Huber(delta=delta)
    at = np.array(residual)
    other = np.linspace(-1, 1, 41)
    parabola = huber.value(at) + 0.5 * huber.majorant(at) * (other**2 - at**2)
    assert (huber.value(other) <= parabola + 1e-12).all()


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), noise=st.floats(1e-4, 0.1))
def test_every_start_ends_at_a_point_without_slope(seed: int, noise: float) -> None:
    law = known_law("chinchilla")
    table = simulate(law, noise=noise, seed=seed)
    terms = law.form.log_terms(*(table[c].to_numpy() for c in ("params", "tokens", "loss")))
    problem = Problem(terms, Huber())
    ones = np.ones((1, problem.rows))
    found = minimise(problem, starts(problem, ones[0])[:8], ones)
    assert found.converged.any()
    best = found.theta[found.converged & (found.value <= found.value.min() * (1 + 1e-12))]
    expansion = problem.expand(best, ones, np.ones(len(best), dtype=bool))
    inside = ((best > terms.lower) & (best < terms.upper)).T
    assert np.abs(expansion.gradient[inside]).max(initial=0.0) < 1e-8 * problem.rows


def test_no_step_from_random_starts_beats_the_scan() -> None:
    problem = problem_of("asymmetric", noise=0.02)
    ones = np.ones((1, problem.rows))
    ours = minimise(problem, starts(problem, ones[0])[:3], ones).value.min()
    rng = np.random.default_rng(3)
    low, high = problem.terms.lower + 33, problem.terms.upper
    random = low + (high - low) * rng.random((200, problem.size))
    assert ours <= minimise(problem, random, ones).value.min() * (1 + 1e-10)


def test_weights_count_rows_twice() -> None:
    law = known_law("chinchilla")
    table = simulate(law, noise=0.01)
    columns = [table[c].to_numpy() for c in ("params", "tokens", "loss")]
    rng = np.random.default_rng(4)
    weights = rng.integers(0, 3, size=len(table))
    doubled = [np.repeat(column, weights) for column in columns]
    weighted, repeated = (
        Problem(law.form.log_terms(*data), Huber()) for data in (columns, doubled)
    )
    some = minimise(
        weighted, starts(weighted, weights)[:3], weights[None].astype(float)
    ).value.min()
    ones = np.ones((1, repeated.rows))
    assert some == pytest.approx(
        minimise(repeated, starts(repeated, ones[0])[:3], ones).value.min(), rel=1e-9
    )
