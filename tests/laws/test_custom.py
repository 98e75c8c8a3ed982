"""A user's own function as a law: found as surely as ours, whatever it is written in."""

import lmfit
import numpy as np
import pytest
from scipy.special import xlogy

from scalefit.errors import FitError
from scalefit.fitting import Fit, fit
from scalefit.fitting.parameters import parameters
from scalefit.laws.custom import law_of
from scalefit.runs import Runs
from tests.laws.cases import CASES

RUNS = CASES[0].runs(noise=0.005)


def additive(N, D, E=1.5, A=100, B=100, alpha=0.3, beta=0.3):  # noqa: N803 - as users write it
    return E + A / N**alpha + B / D**beta


def by_scipy(N, D, E=1.5, A=100, B=100, alpha=0.3, beta=0.3):  # noqa: N803
    return E + A * np.exp(-xlogy(np.asarray(alpha, float), N)) + B / D**beta


@pytest.mark.parametrize("function", [additive, by_scipy])
def test_a_function_is_fitted_as_well_as_the_form_it_repeats(function) -> None:
    ours, theirs = fit(RUNS, bootstrap=0), fit(RUNS, form=law_of(function), bootstrap=0)
    assert theirs.objective.value == pytest.approx(ours.objective.value, rel=1e-9)
    for name, value in ours.law.params.items():
        assert theirs.law.params[name] == pytest.approx(value, rel=1e-4)
    assert theirs.certificate.agreeing >= 4


def test_the_published_optimum_is_reached_by_a_users_function(epoch: Runs) -> None:
    # 1.0182740178e-3 on the 240 points (peers' acceptance value 1), from starts far away.
    found = fit(epoch.without_highest(5), form=law_of(additive), bootstrap=0)
    assert found.objective.value == pytest.approx(1.0182740178006e-3, rel=1e-9)


def test_hints_of_an_lmfit_model_bound_and_start_its_constants() -> None:
    model = lmfit.Model(additive, independent_vars=["N", "D"])
    model.set_param_hint("alpha", min=0.45, max=0.9, value=0.5)
    found = fit(RUNS, form=law_of(model), bootstrap=0)
    assert found.law.params["alpha"] == pytest.approx(0.45, rel=1e-6)
    assert found.status == "bound_hit"


def test_wishes_are_kept_for_a_function_too() -> None:
    form = law_of(additive)
    wished = parameters(form, fix=[("E", 1.8)], tie=[("alpha", "beta")])
    found = fit(RUNS, form=form, parameters=wished, bootstrap=30)
    assert found.law.params["E"] == 1.8
    assert found.law.params["alpha"] == found.law.params["beta"]
    assert found.intervals["B"].low < found.law.params["B"] < found.intervals["B"].high


def test_a_constant_may_be_negative_where_it_starts_so() -> None:
    def bowl(N, level=1.0, slope=-0.1, bend=0.01):  # noqa: N803
        return level + slope * np.log(N) + bend * np.log(N) ** 2

    frame = RUNS.frame.assign(loss=bowl(RUNS.frame["params"].to_numpy(), 30.0, -2.9, 0.08))
    runs = Runs(frame=frame, source="bowl", params_kind="total")
    found = fit(runs, form=law_of(bowl), objective="mse", bootstrap=0)
    assert list(found.law.params.values()) == pytest.approx([30.0, -2.9, 0.08], rel=1e-5)


def test_a_fit_of_a_function_plans_and_is_read_back_with_it() -> None:
    import scalefit as sf

    form = law_of(additive)
    found = fit(RUNS, form=form, bootstrap=50)
    best = sf.plan(found, flops=1e21)
    assert best.params.value == pytest.approx(sf.plan(fit(RUNS), flops=1e21).params.value, rel=1e-3)
    assert Fit.from_json(found.to_json(), name="x", form=form).law.params == found.law.params
    with pytest.raises(FitError, match="no form is called 'additive'"):
        Fit.from_json(found.to_json(), name="x")


def test_what_is_no_law_is_refused_in_a_sentence() -> None:
    with pytest.raises(FitError, match="must be a function of N, D, C"):
        law_of(lambda x, y=1.0: x * y)
    with pytest.raises(FitError, match="does not say where alpha may lie"):
        law_of(lambda N, alpha: N**-alpha)  # noqa: N803 - as users write it
