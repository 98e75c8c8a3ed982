"""Routed models against Clark et al. 2022 (arXiv:2202.01169): their curves and their Table 3."""

from dataclasses import replace

import numpy as np
import pytest

from scalefit.fitting import Fit, fit
from scalefit.fitting.parameters import parameters
from scalefit.fitting.parametric import columns
from scalefit.laws import FORMS
from scalefit.runs import Runs, read
from tests.laws.expected import assert_near, every_row

FORM = FORMS["routed"]
TABLE_3 = {
    "S-Base": (-0.082, -0.108, 0.009, 1.104, 1.847, 314.478),
    "RL-R": (-0.083, -0.126, 0.012, 1.111, 1.880, 469.982),
    "Hash": (-0.087, -0.136, 0.012, 1.157, 4.175, 477.741),
}
# What their curves give at full precision, and the runs behind it
FITTED = {
    "S-Base": (58, (-0.083, -0.118, 0.0099, 1.1136, 2.07, 238.7)),
    "RL-R": (59, (-0.0827, -0.1234, 0.0112, 1.107, 1.722, 470.05)),
    "Hash": (56, (-0.0874, -0.1384, 0.0126, 1.1595, 4.27, 427.3)),
}


@pytest.fixture(scope="module")
def final(published_path) -> Runs:
    """The last losses of the runs that their figures use."""
    where = "k == 1 and seed == 42 and routing_frequency == 0.5"
    path = published_path("routing_curves.parquet")
    runs = read(path, where=where, needed=FORM.quantities)
    last = runs.frame.groupby("run")["step"].transform("max")
    return runs.only((runs.frame["step"] == last).to_numpy(), "not the last of their run")


def routers(final: Runs, *names: str) -> Runs:
    return final.only(final.frame["router_type"].isin(names).to_numpy(), "another router")


@pytest.fixture(scope="module")
def fits(final: Runs) -> dict[str, Fit]:
    return {
        name: fit(routers(final, name, "Dense"), form=FORM, objective="mse-log", bootstrap=0)
        for name in TABLE_3
    }


def rmse(value: float, rows: int) -> float:
    """In log10, from the sum of squares in log."""
    return float(np.sqrt(value / rows) / np.log(10))


@every_row("routing_curves", 4)
def test_every_row_of_the_expected_answers(row, request: pytest.FixtureRequest) -> None:
    name = row["quantity"].partition(":")[2]
    if name:
        found = request.getfixturevalue("fits")[name]
        assert_near(rmse(found.objective.value, found.used), row)
        return
    assert row["quantity"] == "alpha_N_dense"
    dense = routers(request.getfixturevalue("final"), "Dense")
    assert len(dense) == 5
    found = fit(dense, form="power-n", objective="mse-log", bootstrap=0)
    assert_near(found.law.params["alpha"], row)


def test_what_rounding_costs_their_printed_constants(final: Runs) -> None:
    *inputs, loss = columns(FORM, routers(final, "S-Base", "Dense"))
    residual = np.log10(FORM.predict(np.array(TABLE_3["S-Base"]), *inputs) / loss)
    assert np.sqrt((residual**2).mean()) == pytest.approx(0.00369, abs=5e-6)


@pytest.mark.parametrize("name", TABLE_3)
def test_the_fit_beats_the_printed_constants(name: str, final: Runs, fits) -> None:
    *inputs, loss = columns(FORM, routers(final, name, "Dense"))
    printed = (np.log(FORM.predict(np.array(TABLE_3[name]), *inputs) / loss) ** 2).sum()
    found = fits[name]
    assert found.status == "converged"
    assert found.certificate.agreeing == found.certificate.starts
    assert found.objective.value < printed
    rows, values = FITTED[name]
    assert found.used == rows
    np.testing.assert_allclose(found.law.theta, values, rtol=6e-3)


def test_a_dense_model_counts_as_e_start_and_endless_experts_as_e_max() -> None:
    a, b, c, d, first, last = theta = np.array(TABLE_3["Hash"])
    for experts, counted in ((1.0, first), (1e15, last)):
        at = a * 8 + b * np.log10(counted) + c * 8 * np.log10(counted) + d
        found = FORM.predict(theta, np.array(1e8), np.array(experts))
        assert np.log10(found) == pytest.approx(at, rel=1e-9)


def test_experts_that_are_worth_no_more_than_one_are_no_division_by_zero() -> None:
    theta = np.array([-0.08, -0.1, 0.01, 1.1, 5.0, 5.0])
    found = FORM.predict(theta, np.array(1e8), np.array([1.0, 64.0]))
    assert found[0] == found[1]


def test_constants_below_zero_may_be_fixed_and_bounded(final: Runs, fits) -> None:
    runs = routers(final, "Hash", "Dense")
    wanted = parameters(FORM, fix=[("a", -0.087)], bound=[("b", -0.12, -0.05)])
    found = fit(runs, form=FORM, objective="mse-log", parameters=wanted, bootstrap=50)
    assert found.law.params["a"] == -0.087
    assert found.law.params["b"] == pytest.approx(-0.12)
    assert found.certificate.bounds == ("b",)
    assert found.objective.value > fits["Hash"].objective.value
    assert (found.draws[:, 1] >= -0.12 - 1e-9).all()


def test_a_loss_in_other_units_moves_d_alone(final: Runs, fits) -> None:
    runs = routers(final, "Hash", "Dense")
    bits = replace(runs, frame=runs.frame.assign(loss=runs.frame["loss"] / np.log(2)))
    found = fit(bits, form=FORM, objective="mse-log", bootstrap=0).law.theta
    shift = np.array([0, 0, 0, -np.log10(np.log(2)), 0, 0])
    np.testing.assert_allclose(found, fits["Hash"].law.theta + shift, rtol=1e-5)
