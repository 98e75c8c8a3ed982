"""What to know of a plan before believing it, in words."""

from collections.abc import Iterator

import numpy as np

from scalefit.laws import Allocation
from scalefit.planning.problem import Problem
from scalefit.planning.question import Question
from scalefit.planning.result import Number
from scalefit.planning.subject import Subject

APART = 0.1  # of log(C of the plan over the budget), beyond which N*, D* and C are not bound
FAR = 10.0  # beyond this many times the largest run, the law's form is the larger doubt
LEFT = 0.01  # of the budget, unspent
MANY_EPOCHS = 4.0  # Muennighoff et al. 2023, arXiv:2305.16264, figure 5: until here as good as new


def notes(
    about: Subject,
    problem: Problem,
    question: Question,
    best: Allocation,
    extrapolation: Number | None,
    interval: str,
) -> tuple[str, ...]:
    """All that applies."""
    return (
        *_far(extrapolation, interval),
        *_below(about, best),
        *_sure(about, interval),
        *([about.note] if about.note else []),
        *_repeated(about, best),
        *_apart(problem, question, best),
    )


def _far(extrapolation: Number | None, interval: str) -> Iterator[str]:
    most = None if extrapolation is None else float(np.max(extrapolation))
    if most is None or most <= FAR:
        return
    covers = (
        "the interval covers sampling error only, not the form of the law"
        if interval
        else "no interval covers that"
    )
    yield f"{most:.2g} times the largest run behind the law; {covers}"


def _below(about: Subject, best: Allocation) -> Iterator[str]:
    seen = about.fit.domain.get("flops") if about.fit else None
    least = float(np.min(best.flops))
    if seen and least * FAR < seen[0]:
        yield f"{seen[0] / least:.2g} times below the smallest run; no interval covers that"


def _sure(about: Subject, interval: str) -> Iterator[str]:
    if not interval:
        yield "no interval: this law comes without its draws; fit runs to have one"
    fit = about.fit
    if fit is None:
        return
    if fit.status != "converged":
        status = fit.status.replace("_", " ")
        yield f"the fit is not to be trusted as it is: its status is {status}"
    loose = [name for name, entry in fit.intervals.items() if not entry.identified]
    if loose:
        yield f"not identified by these runs: {', '.join(loose)}"


def _repeated(about: Subject, best: Allocation) -> Iterator[str]:
    if about.unique_tokens is None:
        return
    most = float(np.max(best.tokens)) / about.unique_tokens
    if most > MANY_EPOCHS:
        yield f"{most:.3g} epochs; up to about {MANY_EPOCHS:g}, repeats are nearly as good as new"


def _apart(problem: Problem, question: Question, best: Allocation) -> Iterator[str]:
    """Said of N* and D* that were fitted separately, or whose limits leave a budget unspent."""
    if "flops" not in question.given:
        return
    share = float(np.min(problem.terms.cost(best.params, best.tokens) / question.given["flops"]))
    if problem.terms.limited and share < 1 - LEFT:
        yield f"the limits leave {1 - share:.0%} of the budget unspent"
    elif abs(np.log(share)) > APART:
        yield (f"6ND is {share:.3g} times the budget: this law's N*, D* and C are not bound by it")
