"""The law of repeated data against Muennighoff et al. 2023 (arXiv:2305.16264) and their code."""

import numpy as np
import pytest

from scalefit.errors import PlanError
from scalefit.fitting import fit
from scalefit.fitting.objective import huber
from scalefit.fitting.parameters import parameters
from scalefit.fitting.parametric import columns
from scalefit.fitting.solver import descend
from scalefit.laws import FORMS, Constraints
from scalefit.laws.data_constrained import Limited
from scalefit.runs import Runs, read
from tests.laws.cases import CASES
from tests.laws.expected import assert_near, every_row

FORM, BASE = FORMS["data-constrained"], FORMS["chinchilla"]
# utils/parametric_fit.ipynb, cells 7 and 29: a, b, e, alpha = beta, R_D, R_N
A, B, E, ALPHA = 6.255414, 7.3049974, 0.6254804, 0.3526596
PUBLISHED = np.array([np.exp(E), np.exp(A), np.exp(B), ALPHA, ALPHA, 15.387756, 5.309743])
FROZEN = dict(zip(FORM.parameters[:5], PUBLISHED[:5].tolist(), strict=True))
LINEAR = 1e12  # decays so slow that every token and every parameter counts


@pytest.fixture(scope="module")
def runs(published_path) -> Runs:
    path = published_path("datablations.parquet")
    return read(path, where="in_published_fit", needed=FORM.quantities)


@pytest.fixture(scope="module")
def fitted(runs):
    """R_D and R_N fitted, the base law as published."""
    wanted = parameters(FORM, fix=FROZEN.items())
    return fit(runs, form=FORM, parameters=wanted, bootstrap=200)


def scores(runs: Runs, theta: np.ndarray) -> tuple[float, float]:
    """R squared of the losses, and the objective."""
    *inputs, loss = columns(FORM, runs)
    predicted = FORM.predict(theta, *inputs)
    unexplained = ((loss - predicted) ** 2).sum() / ((loss - loss.mean()) ** 2).sum()
    return float(1 - unexplained), float(huber(1e-3).value(np.log(predicted / loss)).sum())


@every_row("datablations", 8)
def test_every_row_of_the_expected_answers(row, request: pytest.FixtureRequest) -> None:
    assert_near(ours(row["quantity"], request), row)


def ours(quantity: str, request: pytest.FixtureRequest) -> float:
    if quantity == "N_opt_base@5.76e23":
        return float(BASE.optimum(PUBLISHED[:5], np.array(5.76e23)).params)
    if quantity == "U_N@100M":
        return float(FORM.suited(PUBLISHED, np.array(1e8)))
    if quantity == "objective_better_optimum":
        return request.getfixturevalue("fitted").objective.value
    runs = request.getfixturevalue("runs")
    assert len(runs) == 182
    if quantity.startswith("local"):
        return local_optimum(runs)["R_D" if "RD" in quantity else "R_N"]
    theta = PUBLISHED.copy()
    if quantity == "R2_no_repetition_term":
        theta[5:] = LINEAR
    return scores(runs, theta)[quantity.startswith("objective")]


def local_optimum(runs: Runs) -> dict[str, float]:
    """Straight downhill from the published point."""
    (model,) = FORM.models(*columns(FORM, runs), constraints=Constraints(fixed=FROZEN))
    start, weights = model.coordinates(PUBLISHED[None]), np.ones((1, model.rows))
    end = descend(model, huber(1e-3), start, weights)
    assert end.converged.all()
    return dict(zip(FORM.parameters, model.natural(end.theta)[0].tolist(), strict=True))


def test_both_optima_are_told(runs: Runs, fitted) -> None:
    # The published point lies in a basin of its own, 0.13 % above the best of a flat valley.
    assert fitted.law.params["R_D"] == pytest.approx(95.4, abs=0.1)
    assert fitted.law.params["R_N"] == pytest.approx(1.71, abs=0.01)
    assert fitted.objective.value < scores(runs, PUBLISHED)[1] * 0.9988
    assert 1 < fitted.certificate.second_basin < 1.0005
    assert fitted.certificate.gradient < 1e-6


def test_how_slowly_the_worth_of_repeats_decays_is_open(runs: Runs, fitted) -> None:
    assert fitted.status == "not_identified"
    assert not fitted.intervals["R_D"].identified
    assert fitted.intervals["R_D"].low < 15.4
    wanted = parameters(FORM, fix=FROZEN.items())
    profile = fit(runs, form=FORM, parameters=wanted, interval="profile", bootstrap=0)
    assert profile.intervals["R_D"].high is None
    assert profile.intervals["R_D"].low == pytest.approx(5.9, abs=0.5)


@pytest.mark.parametrize(
    ("params", "tokens", "loss"),
    [(6.34e9, 242e9, 2.2256440889984477), (8.67e9, 178e9, 2.2269634075087867)],
)
def test_the_losses_printed_in_their_readme(params: float, tokens: float, loss: float) -> None:
    found = FORM.predict(PUBLISHED, *(np.array(x) for x in (params, tokens, 25e9)))
    assert found == pytest.approx(loss, rel=1e-12)


def test_the_best_use_of_25_billion_unique_tokens() -> None:
    # Their grid of 500 steps finds 2.222129283251 at 237.337 billion tokens.
    best = Limited(25e9).optimum(PUBLISHED, np.array(1e22))
    assert best.loss <= 2.2221292833
    assert best.params == pytest.approx(7.02616e9, rel=1e-5)
    assert best.tokens == pytest.approx(2.372088e11, rel=1e-5)


def test_enough_data_leave_the_law_as_it_was() -> None:
    budgets = np.array([1e19, 1e22, 1e25])
    plain, best = BASE.optimum(PUBLISHED[:5], budgets), Limited(1e14).optimum(PUBLISHED, budgets)
    np.testing.assert_allclose(best.params, plain.params, rtol=1e-5)
    np.testing.assert_allclose(best.loss, plain.loss, rtol=1e-12)


def test_less_data_are_never_better() -> None:
    amounts = np.geomspace(1e8, 1e13, 20)
    loss = [float(Limited(unique).optimum(PUBLISHED, np.array(1e22)).loss) for unique in amounts]
    assert (np.diff(loss) <= 1e-12).all()


def test_tokens_that_are_not_seen_are_no_unique_data() -> None:
    few = FORM.predict(PUBLISHED, *(np.array(x) for x in (1e8, 1e9, 1e9)))
    assert FORM.predict(PUBLISHED, *(np.array(x) for x in (1e8, 1e9, 1e12))) == few


def test_starts_that_constraints_make_one_count_once(runs: Runs) -> None:
    (model,) = FORM.models(*columns(FORM, runs), constraints=Constraints(fixed=FROZEN))
    starts = model.starts(np.ones(model.rows))
    assert starts.shape == (36, 2)
    assert len(np.unique(starts, axis=0)) == 36


def test_a_plan_asks_for_the_unique_data() -> None:
    with pytest.raises(PlanError, match="unique data"):
        FORM.optimum(PUBLISHED, np.array(1e22))


def test_a_bound_that_a_user_sets_is_where_the_profile_ends() -> None:
    (case,) = (case for case in CASES if str(case) == "data-constrained-published")
    wanted = parameters(FORM, bound=[("R_D", 1.0, 16.0)])
    found = fit(
        case.runs(noise=0.02, seed=4), form=FORM, objective="mse-log", parameters=wanted,
        interval="profile", bootstrap=0,
    )  # fmt: skip
    assert found.intervals["R_D"].high == pytest.approx(16.0)
