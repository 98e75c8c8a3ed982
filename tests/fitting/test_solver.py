"""The solver against finite differences, dense algebra and its own exact optima."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalefit.fitting.objective import huber
from scalefit.fitting.optimum import POSITIVE, find, refind
from scalefit.fitting.solver import expand, minimise, value
from scalefit.laws import Model
from scalefit.laws.affine import within
from scalefit.linalg import solve_positive
from tests.conftest import SURFACES, known_law, simulate

HUBER = huber()


def models_of(name: str, *, noise: float = 0.0, seed: int = 0) -> tuple[Model, ...]:
    law = known_law(name)
    table = simulate(law, noise=noise, seed=seed)
    return law.form.models(*(table[c].to_numpy() for c in ("params", "tokens", "loss")))


def test_a_batch_of_systems_is_solved_as_numpy_solves_each() -> None:
    rng = np.random.default_rng(0)
    root = rng.standard_normal((20, 5, 5))
    matrix, vector = root @ root.swapaxes(1, 2) + 0.1 * np.eye(5), rng.standard_normal((20, 5))
    solution, positive = solve_positive(np.moveaxis(matrix, 0, -1), vector.T)
    assert positive.all()
    expected = np.linalg.solve(matrix, vector[..., None])[..., 0]
    np.testing.assert_allclose(solution.T, expected, rtol=1e-8)


def test_a_matrix_that_is_not_positive_definite_is_said_to_be_so() -> None:
    matrix = np.stack([np.diag([1.0, -1.0]), np.eye(2), np.ones((2, 2))], axis=-1)
    assert solve_positive(matrix, np.ones((2, 3)))[1].tolist() == [False, True, False]


@given(residual=st.floats(-1, 1), delta=st.floats(1e-4, 0.5))
def test_the_majorant_touches_the_loss_and_lies_above_it(residual: float, delta: float) -> None:
    loss = huber(delta)
    at, other = np.array(residual), np.linspace(-1, 1, 41)
    parabola = loss.value(at) + 0.5 * loss.majorant(at) * (other**2 - at**2)
    assert (loss.value(other) <= parabola + 1e-12).all()


@settings(deadline=None, max_examples=20)
@given(
    name=st.sampled_from(sorted(SURFACES)), seed=st.integers(0, 10**4), noise=st.floats(1e-4, 0.1)
)
def test_the_optimum_has_no_slope_left(name: str, seed: int, noise: float) -> None:
    models = models_of(name, noise=noise, seed=seed)
    found = find(models, HUBER, np.ones(models[0].rows))
    assert found.converged
    local = expand(
        found.model, HUBER, found.theta[None], np.ones((1, models[0].rows)), np.ones(1, dtype=bool)
    )
    inside = (found.theta > found.model.lower) & (found.theta < found.model.upper)
    assert np.abs(local.gradient[inside, 0]).max(initial=0.0) < 1e-7 * models[0].rows


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**4), noise=st.floats(1e-3, 0.05))
def test_no_random_start_ends_lower(seed: int, noise: float) -> None:
    models = models_of("asymmetric", noise=noise, seed=seed)
    ones = np.ones((1, models[0].rows))
    ours = find(models, HUBER, ones[0])
    rng = np.random.default_rng(seed)
    for model in models:
        scanned = model.starts(ones[0])
        low, high = scanned.min(axis=0) - 1, scanned.max(axis=0) + 1
        random = low + (high - low) * rng.random((40, len(low)))
        end = minimise(model, HUBER, random, ones)
        fine = within(model.natural(end.theta), *POSITIVE)
        assert ours.value <= end.value[fine].min(initial=np.inf) * (1 + 1e-9)


def test_a_weight_of_two_is_a_row_twice() -> None:
    law = known_law("chinchilla")
    table = simulate(law, noise=0.01)
    weights = np.random.default_rng(4).integers(0, 3, size=len(table))
    columns = [table[c].to_numpy() for c in ("params", "tokens", "loss")]
    weighted = find(law.form.models(*columns), HUBER, weights.astype(float))
    doubled = law.form.models(*(np.repeat(column, weights) for column in columns))
    assert weighted.value == pytest.approx(find(doubled, HUBER, np.ones(weights.sum())).value)


@pytest.mark.parametrize("noise", [0.002, 0.01, 0.03])
@pytest.mark.parametrize("drawn", ["resampled", "left out"])
def test_replicates_reach_the_optimum_that_a_full_search_finds(noise: float, drawn: str) -> None:
    # With noise beyond four thresholds the replicates pass through wider ones first.
    law = known_law("chinchilla")
    table = simulate(law, noise=noise)
    n, d, loss = (table[c].to_numpy() for c in ("params", "tokens", "loss"))
    models = law.form.models(n, d, loss)
    full = find(models, HUBER, np.ones(54))
    weights = np.ones((54, 54)) - np.eye(54)
    if drawn == "resampled":
        rng = np.random.default_rng(5)
        weights = rng.multinomial(54, np.full(54, 1 / 54), size=54).astype(float)
    natural, converged = refind(models, HUBER, full, weights)
    assert converged.all()
    residual = np.log(law.form.predict(natural[:, None], n, d)) - np.log(loss)
    reached = (weights * HUBER.value(residual)).sum(axis=1)
    for value_reached, weight in zip(reached, weights, strict=True):
        assert value_reached <= find(models, HUBER, weight).value * (1 + 1e-8)


def test_points_where_the_law_is_negative_have_an_infinite_objective() -> None:
    model = models_of("chinchilla")[0]
    theta = np.array([[0.0, 0.0, 0.0, 0.3, 0.3]])
    assert value(model, HUBER, theta, np.ones((1, model.rows))) == np.inf
