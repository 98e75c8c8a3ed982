"""What users say about parameters: the same objective, and an optimum within what was said."""

from pathlib import Path

import lmfit
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalefit.errors import FitError
from scalefit.fitting import Status, fit
from scalefit.fitting.parameters import constraints, parameters
from scalefit.laws import FORMS, Law
from scalefit.runs import Runs
from tests.conftest import as_runs, known_law, simulate

FORM = FORMS["chinchilla"]


def said(**entries: object) -> lmfit.Parameters:
    return parameters(FORM, **entries)


@pytest.mark.parametrize("name", ["E", "A", "B", "alpha", "beta"])
def test_fixing_any_parameter_at_its_truth_recovers_the_rest(
    name: str, surface: Law, tmp_path: Path
) -> None:
    runs = as_runs(simulate(surface), tmp_path)
    found = fit(runs, parameters=said(fix=[(name, surface.params[name])]), bootstrap=0)
    assert found.status is Status.CONVERGED
    for key, value in surface.params.items():
        assert found.law.params[key] == pytest.approx(value, rel=1e-5)
    assert found.law.params[name] == pytest.approx(surface.params[name], rel=1e-12)
    assert found.constraints.sentences() == (f"{name} = {surface.params[name]:g}",)


def test_fixing_a_parameter_at_its_own_optimum_changes_nothing(epoch: Runs) -> None:
    runs = epoch.without_highest(5)
    free = fit(runs, bootstrap=0)
    for name, value in free.law.params.items():
        held = fit(runs, parameters=said(fix=[(name, value)]), bootstrap=0)
        assert held.objective.value == pytest.approx(free.objective.value, rel=1e-10)


@settings(deadline=None, max_examples=15)
@given(value=st.floats(1.3, 2.05))
def test_a_fixed_floor_costs_and_the_rest_is_at_its_best(value: float) -> None:
    law = known_law("chinchilla")
    table = simulate(law, noise=0.01)
    columns = [table[c].to_numpy() for c in ("params", "tokens", "loss")]
    from scalefit.fitting.objective import huber
    from scalefit.fitting.optimum import find
    from scalefit.fitting.solver import minimise
    from scalefit.laws import Constraints

    held = Constraints(fixed={"E": value})
    ones = np.ones(len(table))
    models = FORM.models(*columns, constraints=held)
    found = find(models, huber(), ones, FORM.limits(held))
    assert found.value >= find(FORM.models(*columns), huber(), ones).value * (1 - 1e-12)
    start = np.random.default_rng(0).normal(found.theta, 0.3, size=(40, len(found.theta)))
    others = minimise(models[0], huber(), start, ones[None])
    assert found.value <= others.value.min() * (1 + 1e-9)


def test_the_tied_law_of_muennighoff(epoch: Runs) -> None:
    runs = epoch.without_highest(5)
    tied = fit(runs, parameters=said(tie=[("alpha", "beta")]), bootstrap=200)
    assert tied.law.params["alpha"] == tied.law.params["beta"]
    assert tied.intervals["a"].low == tied.intervals["a"].high == 0.5
    assert tied.objective.value > fit(runs, bootstrap=0).objective.value
    assert tied.certificate.agreeing == tied.certificate.starts


def test_misfittings_tied_fit_is_reached(published_path) -> None:
    from scalefit.runs import read

    runs = read(published_path("misfitting_final.parquet"))
    found = fit(runs, parameters=said(tie=[("alpha", "beta")]), bootstrap=0)
    assert found.objective.value <= 0.005243705787850472


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("alpha", 0.4, 0.9), ("beta", 0.1, 0.3), ("E", 1.9, 2.5), ("E", 0.0, 1.6), ("A", 600, 900)],
)
def test_a_bound_that_binds_is_hit_and_said(
    epoch: Runs, name: str, low: float, high: float
) -> None:
    found = fit(epoch.without_highest(5), parameters=said(bound=[(name, low, high)]), bootstrap=50)
    value = found.law.params[name]
    assert min(abs(value - low), abs(value - high)) < 1e-6 * high
    assert found.status is Status.BOUND_HIT
    assert name in found.certificate.bounds
    assert found.intervals[name].low >= low * (1 - 1e-9)
    assert found.intervals[name].high <= high * (1 + 1e-9)


def test_a_bound_that_does_not_bind_changes_nothing(epoch: Runs) -> None:
    runs = epoch.without_highest(5)
    free = fit(runs, bootstrap=0)
    held = fit(runs, parameters=said(bound=[("alpha", 0.1, 0.9), ("E", 1.0, 2.0)]), bootstrap=0)
    assert held.status is Status.CONVERGED
    assert held.objective.value == pytest.approx(free.objective.value, rel=1e-10)


@pytest.mark.parametrize("objective", ["huber-log", "lad-log", "mse-log", "mse", "asymmetric-mae"])
def test_constraints_work_with_every_objective(objective: str, tmp_path: Path) -> None:
    law = known_law("symmetric")
    runs = as_runs(simulate(law), tmp_path)
    wanted = said(fix=[("E", 1.69)], tie=[("alpha", "beta")])
    found = fit(runs, objective=objective, parameters=wanted, bootstrap=0)
    assert found.law.params["alpha"] == pytest.approx(0.31, rel=1e-6)


def test_lmfits_own_parameters_are_taken() -> None:
    wanted = lmfit.Parameters()
    wanted.add("E", value=1.7, vary=False)
    wanted.add("alpha", value=0.3, min=0.1, max=0.9)
    wanted.add("beta", expr="alpha")
    found = constraints(FORM, wanted)
    assert found.fixed == {"E": 1.7}
    assert found.bounds == {"alpha": (0.1, 0.9)}
    assert found.tied == {"beta": "alpha"}


def test_a_tie_follows_what_is_said_of_the_other(epoch: Runs) -> None:
    runs = epoch.without_highest(5)
    both = said(fix=[("alpha", 0.3)], tie=[("beta", "alpha")])
    found = fit(runs, parameters=both, bootstrap=0)
    assert found.law.params["alpha"] == found.law.params["beta"] == 0.3
    bounded = fit(
        runs, parameters=said(bound=[("alpha", 0.1, 0.3)], tie=[("beta", "alpha")]), bootstrap=0
    )
    assert bounded.law.params["beta"] == pytest.approx(0.3)
    assert bounded.objective.value == pytest.approx(found.objective.value, rel=1e-9)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"fix": [("gamma", 1.0)]}, "no parameter 'gamma'"),
        ({"fix": [("A", -1.0)]}, "must be positive"),
        ({"fix": [("E", np.nan)]}, "must be positive"),
        ({"fix": [("E", 1.0), ("E", 2.0)]}, "twice"),
        ({"bound": [("alpha", 0.5, 0.1)]}, "holds no value"),
        ({"tie": [("E", "A")]}, "cannot be fitted"),
        ({"tie": [("alpha", "beta"), ("beta", "alpha")]}, "not both"),
        ({"fix": [(n, 1.0) for n in FORM.parameters]}, "nothing to fit"),
    ],
)
def test_impossible_wishes_are_one_sentence(entries: dict[str, object], message: str) -> None:
    with pytest.raises(FitError, match=message):
        constraints(FORM, said(**entries))


def test_a_weight_of_zero_is_a_row_left_out(tmp_path: Path) -> None:
    table = simulate(known_law("chinchilla"), noise=0.01)
    table["w"] = np.random.default_rng(0).integers(0, 3, size=len(table))
    weighted = fit(as_runs(table, tmp_path), weights="w", bootstrap=20)
    repeated = table.loc[table.index.repeat(table["w"])].reset_index(drop=True)
    repeated["run"] = [f"r{i}" for i in range(len(repeated))]
    twice = fit(as_runs(repeated, tmp_path), bootstrap=0)
    assert weighted.objective.value == pytest.approx(twice.objective.value, rel=1e-9)
    assert weighted.used == (table["w"] > 0).sum()
    assert weighted.dropped[-1].reason == "weight 0"


@pytest.mark.parametrize("weights", ["missing", "zero", "negative", "text"])
def test_weights_that_mean_nothing(weights: str, tmp_path: Path) -> None:
    table = simulate(known_law("chinchilla"), noise=0.01)
    table = table.assign(zero=0.0, negative=-1.0, text="many")
    with pytest.raises(FitError, match="weigh"):
        fit(as_runs(table, tmp_path), weights=weights)


@pytest.mark.parametrize("interval", ["bootstrap", "wild", "hc3", "profile"])
@pytest.mark.parametrize("form", ["chinchilla", "generalised"])
def test_what_is_fixed_has_no_width(interval: str, form: str, tmp_path: Path) -> None:
    runs = as_runs(simulate(known_law("chinchilla"), noise=0.005), tmp_path)
    fixed = {"E": 1.8, "alpha": 0.3527}
    wished = parameters(FORMS[form], fix=[*fixed.items()])
    found = fit(runs, form=form, parameters=wished, interval=interval, bootstrap=40)
    for name, value in fixed.items():
        entry = found.intervals[name]
        assert entry.low == pytest.approx(value, rel=1e-12)
        assert entry.high == pytest.approx(value, rel=1e-12)
        assert entry.identified
