"""No other N and D of the same cost is better, and none of the same loss is cheaper."""

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from scalefit.errors import PlanError
from scalefit.laws import FORMS, Law, published
from scalefit.laws.data_constrained import Limited
from scalefit.planning import Plan, plan
from scalefit.planning.problem import Problem, Terms

RIVALS = 400


def logarithmic(low: float, high: float) -> st.SearchStrategy[float]:
    """Floats that are as likely in every decade."""
    return st.floats(np.log(low), np.log(high)).map(lambda x: float(np.exp(x)))


ADDITIVE = {
    "E": st.floats(0.0, 3.0), "A": logarithmic(10, 1e4), "B": logarithmic(10, 1e4),
    "alpha": st.floats(0.1, 0.8), "beta": st.floats(0.1, 0.8),
}  # fmt: skip
KINDS = {
    "chinchilla": ADDITIVE,
    "generalised": ADDITIVE | {"k": logarithmic(0.6, 8)},
    "data-constrained": ADDITIVE | {"R_D": logarithmic(0.3, 100), "R_N": logarithmic(0.3, 100)},
    "overtraining": {
        "E": st.floats(0.0, 3.0), "A": logarithmic(10, 1e3), "B": logarithmic(10, 1e3),
        "eta": st.floats(0.08, 0.3),
    },
    "kaplan": {
        "N_c": logarithmic(1e10, 1e15), "D_c": logarithmic(1e10, 1e15),
        "alpha_N": st.floats(0.05, 0.3), "alpha_D": st.floats(0.05, 0.3),
    },
}  # fmt: skip
LAWS = st.one_of(
    *(
        st.fixed_dictionaries(constants).map(
            lambda params, name=name: Law(name=name, form=FORMS[name], params=params)
        )
        for name, constants in KINDS.items()
    )
)
FACTORS = st.none() | logarithmic(0.01, 100)


@st.composite
def questions(draw: st.DrawFn) -> tuple[Law, float, dict[str, float]]:
    """A law, a budget, and limits of the order of the N and D that it buys."""
    law, flops = draw(LAWS), draw(logarithmic(1e15, 1e26))
    scale = np.sqrt(flops / 6)
    names = ["max_params", "max_tokens", "inference_tokens"]
    said = {name: draw(FACTORS) for name in names}
    if law.form.name == "data-constrained":
        said["unique_tokens"] = draw(logarithmic(0.01, 100))
    return law, flops, {name: scale * x for name, x in said.items() if x is not None}


def surface(law: Law, limits: dict[str, float]) -> Problem:
    unique = limits.get("unique_tokens")
    terms = {name: x for name, x in limits.items() if name != "unique_tokens"}
    return Problem(form=law.form if unique is None else Limited(unique), terms=Terms(**terms))


def rivals(found: Plan, seed: int) -> np.ndarray:
    """Sizes far from the plan and near it, none beyond the limit."""
    rng = np.random.default_rng(seed)
    size = found.params.value
    far, near = np.exp(rng.normal(0, 4, RIVALS)), np.exp(rng.normal(0, 1e-3, RIVALS))
    return np.clip(size * np.concatenate([far, near]), 1.0, found.terms.max_params)


@settings(deadline=None, max_examples=60)
@given(question=questions(), seed=st.integers(0, 2**32))
def test_no_other_model_of_the_same_cost_is_better(
    question: tuple[Law, float, dict[str, float]], seed: int
) -> None:
    law, flops, limits = question
    found, problem = plan(law, flops=flops, **limits), surface(law, limits)
    assert found.params.value <= problem.terms.max_params
    assert found.tokens.value <= problem.terms.max_tokens
    assert found.flops <= flops * (1 + 1e-9)
    sizes = rivals(found, seed)
    tokens = np.minimum(problem.terms.tokens(flops, sizes), problem.terms.max_tokens)
    able = tokens >= 1
    others = problem.form.predict(law.theta, sizes[able], tokens[able])
    assert found.loss.value <= others.min(initial=np.inf) * (1 + 1e-11)


@settings(deadline=None, max_examples=60)
@given(question=questions(), seed=st.integers(0, 2**32))
def test_no_other_model_of_the_same_loss_is_cheaper(
    question: tuple[Law, float, dict[str, float]], seed: int
) -> None:
    law, flops, limits = question
    problem = surface(law, limits)
    target = float(plan(law, flops=flops, **limits).loss.value) * 1.02
    # Ask for no more than can be had, and for no less than what training is for.
    assume(target < float(problem.at(law.theta, 1.0, 1.0).loss) / 2)
    found = plan(law, loss=target, **limits)
    assert found.loss.value == pytest.approx(target, rel=1e-9)
    assert found.flops <= flops * (1 + 1e-9)
    sizes = rivals(found, seed)
    tokens = problem.tokens_for(law.theta, sizes, target)
    able = (tokens <= problem.terms.max_tokens) & (tokens >= 1)
    costs = problem.terms.cost(sizes[able], tokens[able])
    assert found.flops <= costs.min(initial=np.inf) * (1 + 1e-6)


@settings(deadline=None, max_examples=60)
@given(question=questions())
def test_a_plan_says_what_the_law_says_of_it(
    question: tuple[Law, float, dict[str, float]],
) -> None:
    law, flops, limits = question
    found, problem = plan(law, flops=flops, **limits), surface(law, limits)
    here = problem.form.predict(law.theta, found.params.value, found.tokens.value)
    assert found.loss.value == pytest.approx(float(here), rel=1e-12)
    assert found.flops == pytest.approx(
        6 * found.params.value * found.tokens.value
        + 2 * found.params.value * problem.terms.inference_tokens
    )


@settings(deadline=None, max_examples=60)
@given(question=questions())
@example((published("besiroglu2024"), 1e21, {}))
def test_two_amounts_lead_to_the_third_and_the_fourth(
    question: tuple[Law, float, dict[str, float]],
) -> None:
    law, flops, limits = question
    free = {name: x for name, x in limits.items() if not name.startswith("max")}
    best = plan(law, flops=flops, **free)
    n, d = best.params.value, best.tokens.value
    assume(d > 10 and n > 10)
    for amounts in ({"params": n, "tokens": d}, {"flops": flops, "params": n},
                    {"flops": flops, "tokens": d}):  # fmt: skip
        other = plan(law, **amounts, **free)
        assert other.params.value == pytest.approx(n, rel=1e-6)
        assert other.tokens.value == pytest.approx(d, rel=1e-6)
        assert other.band == ()


def test_the_optimum_for_a_size_and_for_an_amount_of_data_are_those_of_their_budget() -> None:
    law = published("besiroglu2024")
    best = plan(law, flops=1e22)
    for amounts in ({"params": best.params.value}, {"tokens": best.tokens.value}):
        other = plan(law, **amounts)
        assert other.flops == pytest.approx(1e22, rel=1e-9)
        assert other.regret.overhead.value == 0


def test_data_that_reach_a_loss_with_a_size_and_the_other_way_round() -> None:
    law = published("besiroglu2024")
    found = plan(law, loss=2.1, params=10e9)
    assert law.loss(10e9, found.tokens.value) == pytest.approx(2.1, rel=1e-12)
    back = plan(law, loss=2.1, tokens=found.tokens.value)
    assert back.params.value == pytest.approx(10e9, rel=1e-9)


def test_arrays_are_answered_one_by_one() -> None:
    law, budgets = published("besiroglu2024"), np.geomspace(1e18, 1e24, 7).reshape(7, 1)
    for terms in ({}, {"max_params": 1e9}, {"inference_tokens": 1e12}):
        whole = plan(law, flops=budgets, **terms)
        assert whole.params.value.shape == (7, 1)
        for i, budget in enumerate(budgets.ravel()):
            alone = plan(law, flops=budget, **terms)
            assert whole.params.value[i, 0] == pytest.approx(alone.params.value, rel=1e-6)
            assert whole.loss.value[i, 0] == pytest.approx(alone.loss.value, rel=1e-12)
            assert whole.band[1].params[1][i, 0] == pytest.approx(alone.band[1].params[1], rel=1e-6)


def test_nothing_is_asked_of_a_law_that_knows_its_optimum_only() -> None:
    frontier = published("porian2024")
    assert plan(frontier, flops=1e20, max_params=1e12).regret is None
    with pytest.raises(PlanError, match="knows its own optimum only, which these terms"):
        plan(frontier, flops=1e20, max_params=1e6)
    with pytest.raises(PlanError, match="knows its own optimum only, which these terms"):
        plan(frontier, flops=1e20, inference_tokens=1e12)
    with pytest.raises(PlanError, match=r"take a law of L\(N, D\)"):
        plan(frontier, flops=1e20, params=1e9)


def test_a_draw_that_never_reaches_the_loss_has_no_end_of_cost() -> None:
    law = published("besiroglu2024")
    theta = np.stack([law.theta, law.theta * [1.3, 1, 1, 1, 1]])
    found = Problem(form=law.form, terms=Terms()).cheapest(theta, 2.1)
    assert np.isfinite(found.flops[0])
    assert np.isinf(found.flops[1])
    assert (found.loss == 2.1).all()


def test_where_a_limit_holds_the_least_cost_is_not_just_any() -> None:
    # With N held the loss stops falling; the cost of its last digit is not what is meant.
    law = published("besiroglu2024")
    held = plan(law, flops=1e55, max_params=1e8)
    again = plan(law, loss=held.loss.value, max_params=1e8)
    assert again.flops < held.flops / 100
    assert again.bound == held.bound == ("max_params",)


def test_terms_are_arithmetic() -> None:
    terms = Terms(inference_tokens=2e12)
    assert terms.cost(1e9, 1e11) == 6e20 + 4e21
    assert terms.tokens(terms.cost(1e9, 1e11), 1e9) == pytest.approx(1e11)
    assert terms.params(terms.cost(1e9, 1e11), 1e11) == pytest.approx(1e9)
    assert not terms.limited
    assert dataclasses.replace(terms, max_tokens=1e12).limited
