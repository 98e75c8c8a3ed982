"""Kaplan's laws of two variables and of the critical batch, against what the paper says of them."""

import numpy as np
import pytest

from scalefit.fitting import fit
from scalefit.laws import FORMS
from scalefit.laws.form import Form
from scalefit.runs import read
from tests.laws.cases import CASES
from tests.laws.test_power import published_rows

KAPLAN, STEPS, BATCH = (FORMS[name] for name in ("kaplan", "kaplan-steps", "critical-batch"))
EQUATION_1_5 = np.array([6.4e13, 1.8e13, 0.076, 0.103])  # Kaplan et al. 2020, table 2
N = np.geomspace(1e6, 1e12, 7)


@pytest.mark.parametrize(
    ("row", "form", "inputs", "expected"),
    [
        (
            "kaplan_L_N_D",
            KAPLAN,
            (1e9, 1e10),
            lambda N_c, D_c, alpha_N, alpha_D: (  # noqa: N803 - as in the table
                ((N_c / 1e9) ** (alpha_N / alpha_D) + D_c / 1e10) ** alpha_D
            ),
        ),
        (
            "kaplan_L_N_S",
            STEPS,
            (1e9, 1e5),
            lambda N_c, S_c, alpha_N, alpha_S: (  # noqa: N803
                (N_c / 1e9) ** alpha_N + (S_c / 1e5) ** alpha_S
            ),
        ),
        (
            "kaplan_B_crit",
            BATCH,
            (3.0,),
            lambda B_star, alpha_B: B_star / 3.0 ** (1 / alpha_B),  # noqa: N803
        ),
    ],
)
def test_published_constants_give_the_published_equations(
    published_path, row: str, form: Form, inputs, expected
) -> None:
    constants = published_rows(published_path("published_laws.csv"))[row, "language"]
    theta = np.array([constants[name] for name in form.parameters])
    assert form.predict(theta, *inputs) == pytest.approx(expected(**constants), rel=1e-12)


def test_without_one_shortage_the_other_alone_is_left() -> None:
    size, data, alpha_n, alpha_d = EQUATION_1_5
    np.testing.assert_allclose(
        KAPLAN.predict(EQUATION_1_5, N, 1e60),
        FORMS["power-n"].predict(np.array([size, alpha_n]), N),
    )
    np.testing.assert_allclose(
        KAPLAN.predict(EQUATION_1_5, 1e80, N),
        FORMS["power-d"].predict(np.array([data, alpha_d]), N),
    )


def test_data_that_grow_as_the_paper_asks_keep_the_loss_within_two_percent() -> None:
    # Equation 4.4: D of 5e3 N^0.74 keeps overfitting about as small as noise between seeds, 0.02.
    excess = KAPLAN.predict(EQUATION_1_5, N, 5e3 * N**0.74) / KAPLAN.predict(EQUATION_1_5, N, 1e60)
    np.testing.assert_allclose(excess - 1, 0.02, atol=0.003)


def test_the_critical_batch_doubles_with_thirteen_percent_of_the_loss() -> None:
    # Figure 10 of the paper.
    batch = BATCH.predict(np.array([2.1e8, 0.21]), np.array([3.0, 3.0 * 0.87]))
    assert batch[1] / batch[0] == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("case", [c for c in CASES if c.form == "kaplan"], ids=str)
def test_the_closed_optimum_is_the_one_that_a_search_finds(case) -> None:
    theta, budgets = case.theta(), np.geomspace(1e18, 1e24, 4)
    closed, searched = KAPLAN.optimum(theta, budgets), Form.optimum(KAPLAN, theta, budgets)
    np.testing.assert_allclose(closed.params, searched.params, rtol=1e-5)
    np.testing.assert_allclose(closed.loss, searched.loss, rtol=1e-12)
    a, b = KAPLAN.exponents(theta)
    assert a + b == pytest.approx(1.0, rel=1e-14)
    growth = np.diff(np.log([closed.params, closed.tokens])) / np.diff(np.log(budgets))
    np.testing.assert_allclose(growth, np.array([[a], [b]]).repeat(3, axis=1), rtol=1e-9)


def test_the_optimum_of_equation_1_5_grows_more_slowly_than_the_papers_frontier() -> None:
    # C = 6ND here; N* ~ C_min^0.73 in the paper rests on eq. 1.6.
    assert KAPLAN.exponents(EQUATION_1_5)[0] == pytest.approx(0.103 / 0.179, rel=1e-12)
    assert KAPLAN.exponents(EQUATION_1_5)[0] < 0.73


def test_many_replicates_plan_at_once() -> None:
    many = EQUATION_1_5 * np.random.default_rng(0).uniform(0.9, 1.1, (50, 4))
    best = KAPLAN.optimum(many[:, None], np.array([1e20, 1e22]))
    assert best.params.shape == best.loss.shape == (50, 2)
    assert np.isfinite(best.loss).all()


def test_steps_and_batches_are_read_by_their_usual_names(tmp_path) -> None:
    for form, names, inputs in (
        (STEPS, ("model_size", "training_steps"), np.meshgrid(N, np.geomspace(1e3, 1e6, 5))),
        (BATCH, ("val_loss",), [np.geomspace(2, 6, 12)]),
    ):
        theta = next(case for case in CASES if case.form == form.name).theta()
        columns = dict(zip(names, (values.ravel() for values in inputs), strict=True))
        response = form.predict(theta, *columns.values())
        named = "tokens_per_batch" if form is BATCH else "final_loss"
        rows = np.column_stack([*columns.values(), response])
        header = ",".join([*columns, named])
        path = tmp_path / f"{form.name}.csv"
        np.savetxt(path, rows, delimiter=",", header=header, comments="", fmt="%.17g")
        found = fit(read(path, needed=form.quantities), form=form, bootstrap=0)
        np.testing.assert_allclose(found.law.theta, theta, rtol=1e-5)
