"""The global optimum of a form over runs: scan, polish, and keep to what a law may be."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scalefit.fitting.kink import finish
from scalefit.fitting.objective import Objective
from scalefit.fitting.solver import Minimum, descend, minimise, residuals, value
from scalefit.laws import Flags, FloatArray, Model
from scalefit.laws.affine import within

Limits = tuple[FloatArray, FloatArray]
POSITIVE: Limits = (np.array(0.0), np.array(np.inf))  # no term of a law is negative

MANY = 4000  # rows that a search needs; more only sharpen what it finds
FEW = 100  # units drawn; with more, every resample tried ended where a full search does
FOLLOWED = 8
POLISHED = 8  # of the points scanned, for each model; on real tables the first 3 agree
DIRECT = 16  # of them that are also followed without wider thresholds
BETTER = 1e-9  # relative


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimum:
    """The best fit of a form and everything the search for it saw.

    Attributes:
        model: the model in whose coordinates the optimum lies.
        theta: there, shape (p,).
        natural: the law's parameters, shape (parameters,).
        value: the objective.
        slope: of a loss with a kink, what the best multipliers leave of the gradient; else None.
        converged: whether the solver settled.
        values: objectives of the polished starts of that model that settled at an admissible law.
        bests: for each model its best point, admissible or not, or the best point scanned if it
            was not searched: where resamples start.
    """

    model: Model
    theta: FloatArray
    natural: FloatArray
    value: float
    slope: FloatArray | None
    converged: bool
    values: FloatArray
    bests: tuple[FloatArray, ...]


def find(
    models: Sequence[Model],
    objective: Objective,
    weights: FloatArray,
    limits: Limits = POSITIVE,
    *,
    direct: bool = False,
) -> Optimum:
    """Polish the best scanned starts; the least admissible objective wins.

    The models after the first lie on the edges of what is admissible, so they are searched only
    where the best point of the first lies beyond them. With ``direct`` more starts are also
    followed without wider thresholds: a flat valley holds several minima, to one of which the wider
    thresholds bring all starts. What is found so counts only where it is better.
    """
    sample = _sample(weights)
    starts = [_ranked(model.take(sample), objective, weights[sample]) for model in models]
    ends, costs = [], []
    for model, start in zip(models, starts, strict=True):
        end = _polish(model, objective, start, weights, sample, direct)
        fine = admissible(model.natural(end.theta), limits)
        ends.append(end)
        costs.append(np.where(fine, end.value, np.inf))
        if len(ends) == 1 and fine[end.value.argmin()]:
            break
    which = int(np.argmin([cost.min() for cost in costs]))
    best = int(costs[which].argmin())
    model, theta, least = models[which], ends[which].theta[best], float(costs[which][best])
    polished = [end.theta[int(end.value.argmin())] for end in ends]
    slope = None
    if objective.kinked:
        vertex = finish(model, objective, theta, weights)
        theta, slope = vertex.theta, vertex.slope
        least = float(value(model, objective, theta[None], weights[None])[0])
    return Optimum(
        model=model,
        theta=theta,
        natural=model.natural(theta[None])[0],
        value=least,
        slope=slope,
        converged=bool(ends[which].converged[best]),
        values=costs[which][np.isfinite(costs[which]) & ends[which].converged],
        bests=(*polished, *(start[0] for start in starts[len(ends) :])),
    )


def refind(
    models: Sequence[Model],
    objective: Objective,
    optimum: Optimum,
    weights: FloatArray,
    limits: Limits = POSITIVE,
    *,
    units: int | None = None,
) -> tuple[FloatArray, Flags]:
    """The optimum for each weighting (batch, runs) of the runs, from those of the full data.

    The models after the first are tried only where that of the first ended beyond the admissible.
    Where few ``units`` are drawn (all rows, if None), a resample may be so unlike the data that its
    optimum lies in another basin: then the best points of the scan are followed too.

    Returns:
        The law's parameters (batch, parameters), and whether each converged (batch,).
    """
    natural = np.full((len(weights), len(optimum.natural)), np.nan)
    cost, left = np.full(len(weights), np.inf), np.arange(len(weights))
    for k, (model, best) in enumerate(zip(models, optimum.bests, strict=True)):
        if not len(left):
            break
        tries = [np.tile(best, (len(left), 1))]
        if k == 0 and (units or model.rows) < FEW:
            tries += _scanned(model, objective, weights)
        beyond = np.zeros(len(left), dtype=bool)
        for number, start in enumerate(tries):
            end = minimise(model, objective, start, weights[left], near=k + number == 0)
            found = model.natural(end.theta)
            fine = admissible(found, limits)
            lower = end.converged & (end.value < cost[left])
            beyond |= lower & ~fine
            keep = lower & fine
            natural[left[keep]], cost[left[keep]] = found[keep], end.value[keep]
        if k == 0:  # a search that did not end says nothing of the edges
            left = left[beyond]
    return natural, np.isfinite(cost)


def _scanned(model: Model, objective: Objective, weights: FloatArray) -> list[FloatArray]:
    """The scanned points that suit each weighting best, one batch of starts for each rank."""
    points = np.clip(model.starts(np.ones(model.rows)), model.lower, model.upper)
    residual = residuals(model, objective, model.predict(points))[0]
    best = np.argsort(weights @ objective.value(residual).T, axis=1)
    return [points[best[:, rank]] for rank in range(min(FOLLOWED, len(points)))]


def admissible(natural: FloatArray, limits: Limits = POSITIVE) -> Flags:
    """Whether a law's parameters (batch, parameters) keep to their limits; shape (batch,)."""
    return within(natural, *limits)


def _sample(weights: FloatArray) -> npt.NDArray[np.intp]:
    """All rows, or of very many an evenly drawn part, which finds the basin as well."""
    rows = np.flatnonzero(weights > 0)
    if len(rows) <= MANY:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, MANY, replace=False))


def _polish(
    model: Model,
    objective: Objective,
    start: FloatArray,
    weights: FloatArray,
    sample: npt.NDArray[np.intp],
    direct: bool,
) -> Minimum:
    """Where the starts lead; of very many rows only the best of the sample is followed on."""
    part, weigh = model.take(sample), weights[None, sample]
    end = minimise(part, objective, start[:POLISHED], weigh)
    if direct and np.isfinite(objective.width) and not objective.kinked:
        end = _better(end, descend(part, objective, start, np.repeat(weigh, len(start), axis=0)))
    if len(sample) == np.count_nonzero(weights):
        return end
    best = end.theta[[int(end.value.argmin())]]
    return minimise(model, objective, best, weights[None], near=True)


def _better(end: Minimum, other: Minimum) -> Minimum:
    """Both batches where the other holds a better minimum, else the first."""
    if other.value.min() >= end.value.min() * (1 - BETTER):
        return end
    return Minimum(
        theta=np.concatenate([end.theta, other.theta]),
        value=np.concatenate([end.value, other.value]),
        converged=np.concatenate([end.converged, other.converged]),
    )


def _ranked(model: Model, objective: Objective, weights: FloatArray) -> FloatArray:
    starts = np.clip(model.starts(weights), model.lower, model.upper)
    order = np.argsort(value(model, objective, starts, weights[None]), kind="stable")
    ranked: FloatArray = starts[order[:DIRECT]]
    return ranked
