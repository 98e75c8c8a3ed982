"""What lies about a plan: sizes nearly as good, what it gives away, other ways to its loss."""

from collections.abc import Iterator, Sequence

import numpy as np

from scalefit.laws import Allocation, FloatArray
from scalefit.planning.problem import Problem
from scalefit.planning.result import Band, Choice, Plan, Regret, number, quantiles, quantity
from scalefit.planning.subject import Subject, subject

BISECTIONS = 60
WIDEST = np.log(1e6)  # how far from the optimum the edge of a band is looked for, in log N
NOTHING = 1e-6  # an overhead that is but rounding, which a loss near its floor magnifies
SIZES = (0.25, 0.5, 1.0, 2.0, 4.0)  # of other models of the same loss, over the planned one


def behind(plan: Plan) -> tuple[FloatArray, Problem]:
    """The constants and the problem that a plan answers."""
    about = subject(plan.law, unique_tokens=plan.unique_tokens, force=True)
    return about.theta, Problem(form=about.form, terms=plan.terms)


def bands(
    problem: Problem,
    theta: FloatArray,
    best: Allocation,
    overheads: Sequence[float],
    factor: float,
) -> tuple[Band, ...]:
    """The sizes that waste at most so much compute; none where the law knows the optimum only."""
    if not problem.form.surface:
        return ()
    return tuple(_band(problem, theta, best, overhead, factor) for overhead in overheads)


def _band(
    problem: Problem, theta: FloatArray, best: Allocation, overhead: float, factor: float
) -> Band:
    """Bisection in log N on each side of the optimum, along its cost and up to the limits."""
    terms, middle = problem.terms, np.log(best.params)
    target = problem.best(theta, best.flops / (1 + overhead)).loss
    least = np.maximum(terms.params(best.flops, terms.max_tokens), np.exp(middle - WIDEST))
    most = np.minimum(terms.max_params, np.exp(middle + WIDEST))
    ends = np.minimum(np.log(least), middle), np.maximum(np.log(most), middle)
    inner, outer = np.stack([middle, middle]), np.stack(ends)
    for _ in range(BISECTIONS):
        half = (inner + outer) / 2
        params = np.exp(half)
        tokens = terms.tokens(best.flops, params)
        with np.errstate(invalid="ignore"):  # serving a large model may leave nothing for training
            inside = problem.at(theta, params, tokens).loss <= target
        inner, outer = np.where(inside, half, inner), np.where(inside, outer, half)
    few, many = np.exp(inner)
    long, short = (terms.tokens(best.flops, n) for n in (few, many))
    return Band(
        overhead=overhead,
        loss=number(target * factor),
        params=(number(few), number(many)),
        tokens=(number(short), number(long)),
    )


def regret(
    problem: Problem, about: Subject, plan: Allocation, level: float, factor: float
) -> Regret:
    """What the plan wastes, by the law and by each of its draws."""
    over, cheapest = overhead(problem, about.theta, plan)
    drawn = overhead(problem, about.draws, plan)[0] if len(about.draws) else None
    limits = None if drawn is None else quantiles(drawn, level)
    return Regret(
        overhead=quantity(over, limits, level),
        cheapest=_choice(cheapest, factor),
        best=_choice(problem.best(about.theta, plan.flops), factor),
    )


def overhead(
    problem: Problem, theta: FloatArray, plan: Allocation
) -> tuple[FloatArray, Allocation]:
    """C over the least cost of the same loss, less 1, by every law theta (..., parameters)."""
    here = problem.at(theta, plan.params, plan.tokens)
    cheapest = problem.cheapest(theta, here.loss)
    with np.errstate(divide="ignore", invalid="ignore"):  # a loss may take no training at all
        over: FloatArray = here.flops / cheapest.flops - 1
    return np.where(over < NOTHING, 0.0, over), cheapest


def same_loss(
    problem: Problem, theta: FloatArray, plan: Allocation, factor: float
) -> tuple[Choice, ...]:
    """Smaller and larger models of the plan's loss: how much data each needs, and its cost."""
    return tuple(_choice(found, factor) for found in _others(problem, theta, plan))


def _others(problem: Problem, theta: FloatArray, plan: Allocation) -> Iterator[Allocation]:
    terms = problem.terms
    for size in SIZES:
        params = plan.params * size
        tokens = problem.tokens_for(theta, params, plan.loss) if size != 1 else plan.tokens
        if 0 < tokens <= terms.max_tokens and np.isfinite(tokens) and params <= terms.max_params:
            yield problem.at(theta, params, tokens)


def _choice(at: Allocation, factor: float) -> Choice:
    return Choice(
        params=float(at.params),
        tokens=float(at.tokens),
        loss=float(at.loss) * factor,
        flops=float(at.flops),
    )
