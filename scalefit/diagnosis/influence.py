"""Influence: the rows, or whole runs, without which the fit says something else.

Every figure that is reported comes from an exact refit. A table is refitted without each row in
turn by giving that row no weight; where there are too many rows for that, one Newton step for each
picks those that are worth it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scalefit.diagnosis.residuals import unit_labels
from scalefit.errors import FitError
from scalefit.fitting.bootstrap import measure, measured
from scalefit.fitting.objective import OBJECTIVES
from scalefit.fitting.optimum import Optimum, find, refind
from scalefit.fitting.parametric import columns, fit
from scalefit.fitting.result import Fit
from scalefit.laws import Flags, FloatArray
from scalefit.linalg import solve_positive
from scalefit.runs import Runs

UNITS = ("row", "run", "size")
WORK = 30_000  # refits times rows at each step of the search: a few tenths of a second
LEAST_LEADERS = 16
TIE = 0.01  # in standard errors: removals that move the parameter equally


@dataclass(frozen=True, slots=True, kw_only=True)
class Removal:
    """What the fit says once these units are out, and those of every removal before it.

    Attributes:
        rows: positions in the frame of the runs, of what is removed at this step.
        estimates: the parameters and the exponents a and b, by name, refitted from scratch.
    """

    rows: tuple[int, ...]
    estimates: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Influence:
    """How far a parameter hangs on few rows.

    Attributes:
        parameter: which.
        unit: what is removed at once: "row", "run" or "size".
        estimates: the parameters with all rows, by name.
        stderr: the parameter's bootstrap standard error without what ``path`` removes: wild rows
            widen the error of a fit that holds them, and would so hide themselves.
        labels: the unit of each row, shape (rows,).
        alone: the parameter without each unit alone, shape (units,).
        exact: whether that is a refit or one Newton step, shape (units,).
        path: the removals that together move the parameter most, one unit at a time.
    """

    parameter: str
    unit: str
    estimates: Mapping[str, float]
    stderr: float
    labels: npt.NDArray[np.intp]
    alone: FloatArray
    exact: Flags
    path: tuple[Removal, ...]

    @property
    def removed(self) -> tuple[int, ...]:
        """Positions of all rows on the path."""
        return tuple(row for removal in self.path for row in removal.rows)

    @property
    def shift(self) -> float:
        """How far the whole path moves the parameter, in standard errors."""
        if not self.path or not self.stderr > 0:
            return 0.0
        moved = self.path[-1].estimates[self.parameter] - self.estimates[self.parameter]
        return moved / self.stderr


def influence(
    runs: Runs,
    fitted: Fit,
    *,
    parameter: str = "beta",
    drop: int = 5,
    unit: str = "row",
    seed: int = 0,
) -> Influence:
    """Find the units whose removal moves a parameter of the fit most.

    The search is greedy, once upwards and once downwards, and keeps the path that moves further;
    a greedy path may miss a set whose members hide each other. Removals that move the parameter
    equally, as those of far rows do under a robust loss, are told apart by distance from the law.

    Args:
        runs: the table.
        fitted: its fit, with bootstrap replicates.
        parameter: one of the law, or the exponent "a" or "b".
        drop: how many units to remove at most; fewer if what is left could not be fitted.
        unit: remove a "row", all rows of a "run", or all rows of a model "size" at once.
        seed: of the bootstrap without them.

    Raises:
        FitError: if the parameter or the unit is unknown.
    """
    refits = Refits(runs, fitted)
    if parameter not in refits.names:
        raise FitError(
            f"the fit has no parameter {parameter!r}; choose one of {', '.join(refits.names)}"
        )
    if unit not in UNITS:
        raise FitError(f"a unit of influence is {', '.join(UNITS)}, not {unit!r}")
    labels = unit_labels(runs, unit)
    which = refits.names.index(parameter)
    tie = TIE * float(refits.measure(fitted.draws)[:, which].std())
    alone, exact = _each_alone(refits, labels, which)
    walks = [tuple(_walk(refits, labels, which, sign, drop, tie)) for sign in (-1, 1)]
    start = fitted.intervals[parameter].value
    path = max(walks, key=lambda walk: abs(walk[-1].estimates[parameter] - start) if walk else 0.0)
    path, stderr = _supported(runs, fitted, path, parameter, seed)
    return Influence(
        parameter=parameter,
        unit=unit,
        estimates={name: entry.value for name, entry in fitted.intervals.items()},
        stderr=stderr,
        labels=labels,
        alone=alone,
        exact=exact,
        path=path,
    )


def without(runs: Runs, rows: tuple[int, ...], reason: str) -> Runs:
    """These runs but for the rows at these positions."""
    return runs.only(~np.isin(np.arange(len(runs)), rows), reason)


class Refits:
    """The fit of a table under any weights of its rows."""

    def __init__(self, runs: Runs, fitted: Fit) -> None:
        self.form = fitted.law.form
        self.models = self.form.models(*columns(self.form, runs))
        delta = fitted.objective.delta or np.nan  # objectives without a threshold ignore it
        self.objective = OBJECTIVES[fitted.objective.name](delta)
        self.names = measured(self.form)
        self.rows = len(runs)

    def measure(self, natural: FloatArray) -> FloatArray:
        """The numbers called ``names`` for constants (batch, parameters); (batch, names)."""
        return measure(self.form, natural)

    def find(self, weights: FloatArray) -> Optimum:
        """The global optimum for weights (rows,)."""
        return find(self.models, self.objective, weights)

    def refind(self, optimum: Optimum, weights: FloatArray) -> FloatArray:
        """What ``measure`` gives at the optima for weights (batch, rows), from a known one."""
        return self.measure(refind(self.models, self.objective, optimum, weights)[0])

    def step(
        self, optimum: Optimum, weights: FloatArray, labels: npt.NDArray[np.intp]
    ) -> FloatArray:
        """What ``measure`` gives one Newton step after each unit is removed; (units, names).

        The Hessian is that of the parabola above the loss, which no kink makes singular.
        """
        model, units = optimum.model, int(labels.max()) + 1
        law = model.expand(optimum.theta[None])
        relative = law.first[0] / law.value[0]
        residual = np.log(law.value[0]) - model.log_loss
        bend = weights * self.objective.majorant(residual)
        hessian = (relative * bend) @ relative.T
        member = np.zeros((self.rows, units))
        member[np.arange(self.rows), labels] = 1.0
        gradient = (relative * weights * self.objective.slope(residual)) @ member
        removed = np.einsum("in,jn,n,nu->iju", relative, relative, bend, member, optimize=True)
        step, positive = solve_positive(hessian[:, :, None] - removed, gradient)
        moved = np.clip(optimum.theta + step.T, model.lower, model.upper)
        values: FloatArray = np.where(positive[:, None], self.measure(model.natural(moved)), np.nan)
        return values


def _each_alone(
    refits: Refits, labels: npt.NDArray[np.intp], which: int
) -> tuple[FloatArray, Flags]:
    """The parameter without each unit, and whether exactly."""
    weights = np.ones(refits.rows)
    optimum = refits.find(weights)
    chosen = _leaders(refits, optimum, weights, labels, which)
    exact = np.zeros(int(labels.max()) + 1, dtype=bool)
    exact[chosen] = True
    alone = np.empty(len(exact))
    if not exact.all():
        alone = refits.step(optimum, weights, labels)[:, which]
    alone[chosen] = refits.refind(optimum, _removals(weights, labels, chosen))[:, which]
    return alone, exact


def _walk(
    refits: Refits, labels: npt.NDArray[np.intp], which: int, sign: int, drop: int, tie: float
) -> Iterator[Removal]:
    """Remove, one after another, the unit that moves the parameter most in one direction."""
    weights = np.ones(refits.rows)
    optimum = refits.find(weights)
    for _ in range(drop):
        left = _leaders(refits, optimum, weights, labels, which)
        moved = sign * refits.refind(optimum, _removals(weights, labels, left))[:, which]
        if not np.isfinite(moved).any():
            return
        level = left[moved >= np.nanmax(moved) - tie]
        unit = max(level, key=lambda one: _distance(optimum, labels == one))
        if (weights[labels != unit] > 0).sum() <= len(refits.form.parameters):
            return
        weights = np.where(labels == unit, 0.0, weights)
        optimum = refits.find(weights)
        values = dict(zip(refits.names, refits.measure(optimum.natural).tolist(), strict=True))
        yield Removal(rows=tuple(np.flatnonzero(labels == unit).tolist()), estimates=values)


def _leaders(
    refits: Refits,
    optimum: Optimum,
    weights: FloatArray,
    labels: npt.NDArray[np.intp],
    which: int,
) -> npt.NDArray[np.intp]:
    """Units worth an exact refit: all that are left, or those that one step moves furthest."""
    left = np.unique(labels[weights > 0])
    most = max(LEAST_LEADERS, WORK // refits.rows)
    if len(left) <= most:
        return left
    moved = refits.step(optimum, weights, labels)[left, which]
    order = np.argsort(moved)  # what has no step sorts last, and is refitted to be sure
    leaders: npt.NDArray[np.intp] = left[np.r_[order[: most // 2], order[-(most - most // 2) :]]]
    return leaders


def _removals(
    weights: FloatArray, labels: npt.NDArray[np.intp], units: npt.NDArray[np.intp]
) -> FloatArray:
    return np.where(labels == units[:, None], 0.0, weights)


def _distance(optimum: Optimum, rows: Flags) -> float:
    model = optimum.model
    residual = np.log(model.predict(optimum.theta[None])[0]) - model.log_loss
    return float(np.abs(residual[rows]).max())


def _supported(
    runs: Runs, fitted: Fit, path: tuple[Removal, ...], parameter: str, seed: int
) -> tuple[tuple[Removal, ...], float]:
    """The longest head of a path that leaves runs a fit accepts, and the standard error there."""
    which = list(fitted.intervals).index(parameter)
    for length in range(len(path), 0, -1):
        rows = tuple(row for removal in path[:length] for row in removal.rows)
        try:
            rest = fit(
                without(runs, rows, "most influential"),
                form=fitted.law.form.name,
                objective=fitted.objective.name,
                delta=fitted.objective.delta,
                bootstrap=len(fitted.draws),
                seed=seed,
            )
        except FitError:
            continue
        return path[:length], _stderr(rest, which)
    return (), _stderr(fitted, which)


def _stderr(fitted: Fit, which: int) -> float:
    return float(measure(fitted.law.form, fitted.draws)[:, which].std(ddof=1))
