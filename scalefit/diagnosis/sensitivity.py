"""What a fit says under other choices that a careful person might have made."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from scalefit.diagnosis.influence import without
from scalefit.errors import FitError
from scalefit.fitting.objective import OBJECTIVES
from scalefit.fitting.parametric import fit
from scalefit.fitting.result import Fit, Status
from scalefit.runs import Runs

THRESHOLDS = (None, 1e-3, 1e-2)
"""Huber's: adapted to the noise, that of Hoffmann et al. 2022, and near least squares."""
REACH = 10.0
"""The plan is compared at so many times the largest compute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One fit of the table of choices.

    Attributes:
        objective, delta: what was minimised; delta is None for objectives without a threshold.
        rows: which rows were fitted, in words.
        used: how many they are.
        status: how the fit ended.
        value: the objective at the optimum, comparable only for the same objective and rows.
        estimates: the parameters and the exponents a and b, by name.
        optimum: N* at ``REACH`` times the largest compute of all rows.
    """

    objective: str
    delta: float | None
    rows: str
    used: int
    status: Status
    value: float
    estimates: Mapping[str, float]
    optimum: float


def sensitivity(
    runs: Runs, *, form: str, drop: int, influential: tuple[int, ...]
) -> tuple[Variant, ...]:
    """Fit every objective to all rows, without the highest losses, without the most influential.

    Args:
        runs: the table.
        form: name of the functional form.
        drop: how many of the highest losses to leave out.
        influential: positions of the rows to leave out instead.

    Rows that leave too little to fit are not in the table of choices.
    """
    flops = REACH * float(runs.frame["flops"].max())
    return tuple(
        _variant(fitted, rows, flops)
        for rows, subset in _subsets(runs, drop, influential)
        for fitted in _fits(subset, form)
    )


def _subsets(runs: Runs, drop: int, influential: tuple[int, ...]) -> Iterator[tuple[str, Runs]]:
    yield "all", runs
    highest = set(np.argsort(-runs.frame["loss"].to_numpy(), kind="stable")[:drop].tolist())
    same = highest == set(influential)
    if 0 < drop < len(runs):
        which = ", which are the most influential" if same else ""
        yield f"without the {drop} highest losses{which}", runs.without_highest(drop)
    if influential and not same:
        named = f"without the {len(influential)} most influential rows"
        yield named, without(runs, influential, "most influential")


def _fits(runs: Runs, form: str) -> Iterator[Fit]:
    for objective in OBJECTIVES:
        for delta in THRESHOLDS if objective == "huber-log" else THRESHOLDS[:1]:
            try:
                yield fit(runs, form=form, objective=objective, delta=delta, bootstrap=0)
            except FitError:  # these rows are too few, whatever the objective
                return


def _variant(fitted: Fit, rows: str, flops: float) -> Variant:
    return Variant(
        objective=fitted.objective.name,
        delta=fitted.objective.delta,
        rows=rows,
        used=fitted.used,
        status=fitted.status,
        value=fitted.objective.value,
        estimates={name: entry.value for name, entry in fitted.intervals.items()},
        optimum=float(fitted.law.optimum(flops).params),
    )
