"""Laws side by side: what each would train, and what it costs to follow the wrong one."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from scalefit.errors import PlanError
from scalefit.planning.near import behind, overhead
from scalefit.planning.result import SCHEMA, Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What one law says of another's plan.

    Attributes:
        judge: the law that is taken to be right.
        plan: the law whose plan is followed.
        overhead: compute of that plan over the least for the same loss, less 1.
        wasted: the part of its training compute, in FLOP, that could have been saved.
        cost: what that costs; None where nothing was said of prices.
    """

    judge: str
    plan: str
    overhead: float
    wasted: float
    cost: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rivals:
    """Plans for one question by several laws.

    Attributes:
        plans: one a law.
        judgements: of every law on every other's plan, where they count alike, dearest first.
        notes: who could not be judged by whom, and what to know of each plan, in words.
    """

    plans: tuple[Plan, ...]
    judgements: tuple[Judgement, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``scalefit plan --json`` with several laws."""
        return {
            "schema": SCHEMA,
            "plans": [plan.to_dict() for plan in self.plans],
            "judgements": [asdict(judgement) for judgement in self.judgements],
            "notes": list(self.notes),
        }

    def frame(self) -> pd.DataFrame:
        """A row a law."""
        return pd.concat([plan.frame() for plan in self.plans], ignore_index=True)


def rivals(plans: Sequence[Plan]) -> Rivals:
    """Hold the plans of several laws for the same question against each other.

    Raises:
        PlanError: if a plan is for several budgets at once.
    """
    if any(np.ndim(plan.params.value) for plan in plans):
        raise PlanError("laws are held against each other at one budget; give a single one")
    pairs = [(one, other) for one in plans for other in plans if one is not other]
    able = [(judge, plan) for judge, plan in pairs if judge.regret and _alike(judge, plan)]
    found = [_judged(judge, plan) for judge, plan in able]
    return Rivals(
        plans=tuple(plans),
        judgements=tuple(sorted(found, key=lambda judgement: -judgement.overhead)),
        notes=(*_unjudged(plans), *_of_each(plans)),
    )


def _of_each(plans: Sequence[Plan]) -> Iterator[str]:
    """The notes of the plans; what all share is said once."""
    shared = [note for note in plans[0].notes if all(note in plan.notes for plan in plans)]
    yield from shared
    for plan in plans:
        yield from (f"{plan.law.name}: {note}" for note in plan.notes if note not in shared)


def _alike(one: Plan, other: Plan) -> bool:
    """Whether N and C of both mean the same."""
    here, there = one.law.convention, other.law.convention
    return (here.params, here.flops) == (there.params, there.flops)


def _judged(judge: Plan, plan: Plan) -> Judgement:
    theta, problem = behind(judge)
    point = problem.at(theta, plan.params.value, plan.tokens.value)
    over = float(overhead(problem, theta, point)[0])
    share = over / (1 + over)
    cost = plan.bill.cost if plan.bill else None
    return Judgement(
        judge=judge.law.name,
        plan=plan.law.name,
        overhead=over,
        wasted=share * float(plan.flops),
        cost=share * float(cost.value) if cost else None,
    )


def _unjudged(plans: Sequence[Plan]) -> Iterator[str]:
    mute = [plan.law.name for plan in plans if plan.regret is None]
    if mute:
        yield (
            f"{', '.join(mute)}: knows nothing beside its own N* and D*, so it judges no plan; "
            "a law of L(N, D) would"
        )
    first = plans[0]
    odd = [plan.law.name for plan in plans[1:] if not _alike(first, plan)]
    if odd:
        yield (
            f"{', '.join(odd)} and {first.law.name} count N or C differently, so they do not judge "
            "each other; compare the models to build"
        )
