"""Minima of profiles: against NumPy, SciPy and exhaustive search."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.interpolate import Akima1DInterpolator
from scipy.optimize import least_squares

from scalefit.frontiers.budgets import Profile
from scalefit.frontiers.joint import BOX, STARTS, Fitted, Joint, Table
from scalefit.frontiers.vertices import CUBIC, PARABOLA, Akima, corrected
from tests.conftest import known_law

BUDGETS = np.array([6e18, 3e19, 1e20, 6e20, 3e21])


def profile(log_n: np.ndarray, loss: np.ndarray, flops: float = 1e20) -> Profile:
    rows = np.arange(len(log_n))
    return Profile(
        flops=flops, rows=rows, log_params=log_n, log_tokens=np.log(flops / 6) - log_n, loss=loss,
        size=rows, run=rows,
    )  # fmt: skip


def noisy(noise: float, seed: int = 0, law: str = "chinchilla") -> list[Profile]:
    rng, truth = np.random.default_rng(seed), known_law(law)
    found = []
    for flops in BUDGETS:
        n = truth.optimum(flops).params * np.geomspace(1 / 6, 6, 9)
        loss = truth.loss(n, flops / 6 / n) * np.exp(noise * rng.standard_normal(9))
        found.append(profile(np.log(n), loss, flops))
    return found


@pytest.mark.parametrize("variant", [PARABOLA, CUBIC])
def test_polynomials_are_those_of_numpy(variant) -> None:
    many = noisy(0.003)
    losses = [p.loss * np.exp(np.linspace(-0.01, 0.01, 4))[:, None] for p in many]
    found = variant.vertices(many, losses)
    assert found.log_params.shape == (4, 5)
    for k, p in enumerate(many):
        for row, loss in enumerate(losses[k]):
            middle = p.log_params.mean()
            curve = np.poly1d(np.polyfit(p.log_params - middle, loss, variant.degree))
            roots = curve.deriv().roots
            place = next(x.real for x in roots if curve.deriv(2)(x.real) > 0)
            assert found.log_params[row, k] == pytest.approx(middle + place, abs=1e-9)
            assert found.log_loss[row, k] == pytest.approx(np.log(curve(place)), abs=1e-9)


@pytest.mark.parametrize("variant", [PARABOLA, CUBIC, Akima()])
@pytest.mark.parametrize(
    ("loss", "end"),
    [([5.0, 4, 3, 2, 1], 1), ([1.0, 2, 3, 4, 5], 0), ([1.0, 2, 2.3, 2, 1.5], 0)],
    ids=["falling", "rising", "bent down"],
)
def test_without_a_minimum_inside_the_lower_end_is_found(variant, loss, end) -> None:
    given = profile(np.linspace(18, 22, 5), np.array(loss))
    found = variant.vertices([given], [given.loss[None]])
    assert found.log_params[0, 0] == given.ends[end]


def test_akimas_minimum_is_that_of_a_fine_scan() -> None:
    for given in noisy(0.004, seed=1):
        found = Akima().vertices([given], [given.loss[None]])
        places = np.linspace(*given.ends, 200_001)
        curve = Akima1DInterpolator(given.log_params, np.log(given.loss))(places)
        assert found.log_params[0, 0] == pytest.approx(places[curve.argmin()], abs=2e-3)
        assert found.log_loss[0, 0] == pytest.approx(curve.min(), abs=5e-6)


def test_corrected_residuals_have_the_variance_of_the_noise() -> None:
    squares = [np.concatenate(PARABOLA.noise(noisy(0.01, seed)).errors) ** 2 for seed in range(300)]
    assert np.mean(squares, axis=0) == pytest.approx(np.full(45, 1e-4), rel=0.35)
    assert np.mean(squares) == pytest.approx(1e-4, rel=0.03)
    assert PARABOLA.noise(noisy(0.01)).freedom == 45 - 5 * 3


def test_a_row_that_decides_its_curve_takes_the_noise_of_the_others() -> None:
    three = profile(np.linspace(19, 21, 3), np.array([3.1, 3.0, 3.1]))
    nine = noisy(0.01)
    found = PARABOLA.noise([*nine, three])
    pooled = np.sqrt(sum((np.log(p.loss / v) ** 2).sum()
                         for p, v in zip(nine, found.values, strict=False)) / 30)  # fmt: skip
    assert found.errors[-1] == pytest.approx(np.full(3, pooled))
    alone = corrected([three.loss], [np.zeros(3)], [np.ones(3)], 0)
    assert alone.errors[0].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("seed", range(6))
def test_the_joint_shape_is_the_best_there_is(seed: int) -> None:
    many = noisy(0.003, seed)
    table = Table(many)
    loss, found = table.loss, table.fit(table.loss)

    def residual(theta: np.ndarray) -> np.ndarray:
        level, depth = table._linear(table._g(theta[None])[0], loss)
        at = Fitted(theta=theta[None], level=level, depth=depth, cost=np.zeros(1))
        return table._residual(at, loss).ravel()

    middle = found.theta[0, 2:]
    bounds = [*([BOX[0]] * 2), -50.0, -5.0], [*([BOX[1]] * 2), 50.0, 5.0]
    others = [
        least_squares(
            residual, [*shape, *(middle + shift)], bounds=bounds, x_scale="jac",
            ftol=1e-12, xtol=1e-12, gtol=1e-12,
        ).cost
        for shape, shift in zip(STARTS[::2], (0.0, 0.05, -0.05, 0.1, 0.0), strict=True)
    ]  # fmt: skip
    assert found.cost[0] <= 2 * min(others) * (1 + 1e-7)


def test_replicates_of_the_joint_shape_are_each_at_their_best() -> None:
    many = noisy(0.003)
    rng = np.random.default_rng(0)
    losses = [p.loss * np.exp(0.003 * rng.standard_normal((20, 9))) for p in many]
    together = Joint().vertices(many, losses).log_params
    for row in range(20):
        table = Table(many)
        alone = table.fit(table.padded([loss[row][None] for loss in losses]))
        assert together[row] == pytest.approx(table.line(alone.theta)[0], abs=1e-4)


def test_the_joint_residuals_leave_each_profile_its_own_minimum() -> None:
    quiet, rng = noisy(1e-4, law="asymmetric"), np.random.default_rng(1)
    moved = [replace(p, log_params=p.log_params + 0.1 * rng.standard_normal()) for p in quiet]
    still, loose = Joint().noise(quiet), Joint().noise(moved)
    # a level, a depth and a minimum for each of five budgets, and the shape
    assert still.freedom == 45 - 17
    # noise of 1e-4 either way, to first order in how far the minima were moved
    rms = [np.sqrt(np.mean(np.concatenate(n.errors) ** 2)) for n in (still, loose)]
    assert 0.5e-4 < rms[0] < 1.5e-4
    assert rms[1] < 5e-4
    own = Joint().vertices(moved, [p.loss[None] for p in moved])
    assert np.std(own.own - own.log_params) > 0.05
