"""Laws: their optimum is one, and those of the literature are as printed."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalefit.errors import FitError, PlanError
from scalefit.laws import FORMS, Law, form_named, published
from tests.conftest import simulate

constants = st.fixed_dictionaries(
    {
        "E": st.floats(0.0, 3.0),
        "A": st.floats(1.0, 1e5),
        "B": st.floats(1.0, 1e5),
        "alpha": st.floats(0.05, 1.5),
        "beta": st.floats(0.05, 1.5),
    }
)


@given(params=constants, flops=st.floats(1e15, 1e27), factor=st.floats(1e-3, 1e3))
def test_no_other_split_of_the_compute_is_better(
    params: dict[str, float], flops: float, factor: float
) -> None:
    law = Law(name="any", form=FORMS["chinchilla"], params=params)
    best = law.optimum(flops)
    assert 6 * best.params * best.tokens == pytest.approx(flops, rel=1e-9)
    other = law.loss(best.params * factor, best.tokens / factor)
    assert best.loss <= other * (1 + 1e-12)


def test_the_optimum_takes_many_budgets_at_once(surface: Law) -> None:
    budgets = np.geomspace(1e18, 1e24, 7)
    together = surface.optimum(budgets)
    alone = [surface.optimum(budget).params for budget in budgets]
    np.testing.assert_allclose(together.params, alone)


def test_models_give_the_same_loss_as_the_law(surface: Law) -> None:
    table = simulate(surface)
    n, d, loss = (table[c].to_numpy() for c in ("params", "tokens", "loss"))
    ones = np.ones(len(table))
    for model in surface.form.models(n, d, loss):
        theta = model.starts(ones)
        natural = model.natural(theta)
        np.testing.assert_allclose(
            model.predict(theta), surface.form.predict(natural[:, None], n, d), rtol=1e-9
        )


@pytest.mark.parametrize("model_number", [0, 1])
def test_derivatives_of_models_agree_with_finite_differences(
    surface: Law, model_number: int
) -> None:
    table = simulate(surface)
    model = surface.form.models(*(table[c].to_numpy() for c in ("params", "tokens", "loss")))[
        model_number
    ]
    theta = model.starts(np.ones(len(table)))[20:21]
    law = model.expand(theta)
    np.testing.assert_allclose(law.value, model.predict(theta))
    size = theta.shape[1]
    h = 1e-6
    for i in range(size):
        step = h * np.eye(size)[i]
        above, below = model.expand(theta + step), model.expand(theta - step)
        slope = (above.value - below.value) / (2 * h)
        np.testing.assert_allclose(law.first[:, i], slope, rtol=1e-5, atol=1e-8)
        for j in range(size):
            second = (above.first[:, j] - below.first[:, j]) / (2 * h)
            known = law.second.get((min(i, j), max(i, j)), np.zeros_like(second))
            np.testing.assert_allclose(known, second, rtol=1e-4, atol=1e-6)


# planner_reference.csv names its laws in its own way.
REFERENCE = {
    "hoffmann2022_rounded": "hoffmann2022/rounded",
    "hoffmann2022_tex_precision": "hoffmann2022",
    "besiroglu2024": "besiroglu2024",
    "datablations_C4": "muennighoff2023",
}
OTHERS = {
    "epoch 240-pt global minimum": (1.8172181, 477.825868, 2143.41736, 0.347310499, 0.367172433),
    "kyo_takano": (1.70024083255, 184.691517382, 1633.47866408, 0.289007648443, 0.355794066005),
}  # fmt: skip


def test_the_published_planner_reference_holds_to_its_digits(
    published_path: Callable[[str], Path],
) -> None:
    with published_path("planner_reference.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    for row in rows:
        law = _reference_law(row["law"])
        best = law.optimum(float(row["C"]))
        assert float(best.params) == pytest.approx(float(row["N"]), rel=1e-5)
        assert float(best.tokens) == pytest.approx(float(row["D"]), rel=1e-5)
        assert float(best.tokens / best.params) == pytest.approx(float(row["D_over_N"]), rel=1e-3)
        assert float(best.loss) == pytest.approx(float(row["L"]), abs=1e-6)


def _reference_law(name: str) -> Law:
    if name in OTHERS:
        form = FORMS["chinchilla"]
        return Law(
            name=name, form=form, params=dict(zip(form.parameters, OTHERS[name], strict=True))
        )
    return published(REFERENCE[name.split(" ", maxsplit=1)[0]])


def test_hoffmanns_printed_plan_for_gopher_compute() -> None:
    # peers' acceptance value 7: closed form with the TeX coefficients.
    best = published("hoffmann2022").optimum(5.76e23)
    assert float(best.params) == pytest.approx(4.03609e10, rel=1e-5)
    assert float(best.tokens) == pytest.approx(2.37854e12, rel=1e-5)


def test_an_unknown_law_is_told_its_neighbours() -> None:
    with pytest.raises(PlanError, match="did you mean besiroglu2024"):
        published("besiroglu2023")
    with pytest.raises(FitError, match="there is chinchilla"):
        form_named("chinchila")
