"""Laws: their optimum is one, and those of the literature are as printed."""

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


def test_an_unknown_law_is_told_its_neighbours() -> None:
    with pytest.raises(PlanError, match="did you mean besiroglu2024"):
        published("besiroglu2023")
    with pytest.raises(FitError, match="there is chinchilla"):
        form_named("chinchila")
