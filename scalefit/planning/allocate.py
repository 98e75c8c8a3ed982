"""The compute-optimal N and D for a budget, with intervals from the joint draws of the fit."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from scalefit.errors import PlanError
from scalefit.fitting import Fit
from scalefit.laws import Allocation, FloatArray, Law
from scalefit.laws.literature import planners

SCHEMA = 1
OVERHEADS = (0.01, 0.05, 0.2)
"""Compute wasted at the edges of the near-optimal bands."""
APART = 0.1  # of log(6ND/C), beyond which it is said that the law's N* and D* are separate
FAR = 10.0  # beyond this many times the largest run, the law's form is the larger doubt
BISECTIONS = 60
WIDEST = np.log(1e6)  # how far from the optimum the edge of a band is looked for, in log N


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """A planned number with its interval; a limit is None where it is unknown or unbounded."""

    value: float
    low: float | None
    high: float | None
    level: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """The sizes whose loss at the budget equals the optimum of a budget smaller by ``overhead``.

    Attributes:
        overhead: the part of the compute that is wasted at the edges of the band.
        loss: at the edges.
        params, tokens: (low, high); the largest N goes with the smallest D.
    """

    overhead: float
    loss: float
    params: tuple[float, float]
    tokens: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to train for ``flops``.

    Attributes:
        law: the law that answers.
        flops: the budget C in FLOP.
        params, tokens, loss, tokens_per_param: the optimum with intervals; loss is None where the
            law does not say it.
        band: near-optimal sizes, narrowest first; empty where the law says nothing beside N*, D*.
        extrapolation: the budget over the largest run behind the law; None where unknown.
        notes: what to know before believing it.
    """

    law: Law
    flops: float
    params: Quantity
    tokens: Quantity
    loss: Quantity | None
    tokens_per_param: Quantity
    band: tuple[Band, ...]
    extrapolation: float | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """The JSON object of ``scalefit plan --json``."""
        return {
            "schema": SCHEMA,
            "law": self.law.name,
            "convention": asdict(self.law.convention),
            "flops": self.flops,
            "params": asdict(self.params),
            "tokens": asdict(self.tokens),
            "loss": asdict(self.loss) if self.loss else None,
            "tokens_per_param": asdict(self.tokens_per_param),
            "band": [asdict(band) for band in self.band],
            "extrapolation": self.extrapolation,
            "notes": list(self.notes),
        }


def plan(law: Law | Fit, *, flops: float, level: float = 0.95) -> Plan:
    """The N and D of least loss for a compute budget, under the law's own convention.

    Args:
        law: a law, or a fit, whose bootstrap draws give the intervals.
        flops: the budget C in FLOP.
        level: confidence of the intervals.

    Raises:
        PlanError: if the budget is not positive and finite, or the law has no optimum or says
            nothing of it; of a law of the literature the message names those that do.
    """
    if not 0 < flops < np.inf:
        raise PlanError(f"a budget of {flops} FLOP cannot be planned; give a positive number")
    if not 0 < level < 1:
        raise PlanError(f"the level is {level}; it must lie between 0 and 1, like 0.95")
    fit = law if isinstance(law, Fit) else None
    law = law.law if isinstance(law, Fit) else law
    best = _optimum(law, flops)
    drawn = law.form.optimum(fit.draws, np.asarray(flops)) if fit and len(fit.draws) else None
    extrapolation = flops / law.flops_seen if law.flops_seen else None
    return Plan(
        law=law,
        flops=float(flops),
        params=_quantity(best, drawn, level, lambda at: at.params),
        tokens=_quantity(best, drawn, level, lambda at: at.tokens),
        loss=_quantity(best, drawn, level, lambda at: at.loss) if best.loss > 0 else None,
        tokens_per_param=_quantity(best, drawn, level, lambda at: at.tokens / at.params),
        band=tuple(_band(law, best, overhead) for overhead in OVERHEADS if law.form.surface),
        extrapolation=extrapolation,
        notes=(*_notes(fit, extrapolation, drawn is not None), *_apart(best)),
    )


def _optimum(law: Law, flops: float) -> Allocation:
    try:
        best = law.optimum(flops)
    except PlanError as error:
        others = planners(law.name)
        instead = f"; plan with {' or '.join(others)}" if others else ""
        raise PlanError(f"{law.name}: {error}{instead}") from error
    if not (np.isfinite(best.params) and np.isfinite(best.tokens) and best.params > 0):
        raise PlanError(
            f"{law.name} has no compute-optimal size: its term in "
            f"{'D' if best.params > 0 else 'N'} is absent; fit runs that span more sizes and "
            "token counts"
        )
    return best


def _quantity(
    best: Allocation,
    drawn: Allocation | None,
    level: float,
    of: Callable[[Allocation], FloatArray],
) -> Quantity:
    value = float(of(best))
    if drawn is None:
        return Quantity(value=value, low=None, high=None, level=None)
    # Draws in which a term is absent have an infinite optimum; observed quantiles carry that.
    tail = (1 - level) / 2
    limits = np.quantile(of(drawn), [tail, 1 - tail], method="closest_observation")
    low, high = (float(limit) if np.isfinite(limit) else None for limit in limits)
    return Quantity(value=value, low=low, high=high, level=level)


def _band(law: Law, best: Allocation, overhead: float) -> Band:
    """Bisection in log N on each side of the optimum, along C = 6ND."""
    target = law.optimum(best.flops / (1 + overhead)).loss
    sides = np.array([-1.0, 1.0])
    inner, outer = np.zeros(2), np.full(2, WIDEST)
    for _ in range(BISECTIONS):
        middle = (inner + outer) / 2
        shift = np.exp(sides * middle)
        inside = law.loss(best.params * shift, best.tokens / shift) <= target
        inner, outer = np.where(inside, middle, inner), np.where(inside, outer, middle)
    shift = np.exp(sides * inner)
    low, high = (best.params * shift).tolist()
    few, many = (best.tokens / shift[::-1]).tolist()
    return Band(overhead=overhead, loss=float(target), params=(low, high), tokens=(few, many))


def _notes(fit: Fit | None, extrapolation: float | None, intervals: bool) -> tuple[str, ...]:
    notes = []
    if extrapolation is not None and extrapolation > FAR:
        covers = (
            "the interval covers sampling error only, not the form of the law"
            if intervals
            else "no interval covers that"
        )
        notes.append(f"{extrapolation:.2g} times the largest run behind the law; {covers}")
    if not intervals:
        notes.append("no interval: this law comes without its draws; fit runs to have one")
    if fit and fit.status != "converged":
        notes.append(f"the fit is not to be trusted as it is: its status is {fit.status}")
    if fit:
        loose = [name for name, entry in fit.intervals.items() if not entry.identified]
        if loose:
            notes.append(f"not identified by these runs: {', '.join(loose)}")
    return tuple(notes)


def _apart(best: Allocation) -> tuple[str, ...]:
    """Said of N* and D* that were fitted separately, or under another count of compute."""
    ratio = float(6 * best.params * best.tokens / best.flops)
    if abs(np.log(ratio)) < APART:
        return ()
    return (f"6ND is {ratio:.3g} times the budget: this law's N*, D* and C are not bound by it",)
