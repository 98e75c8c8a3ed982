"""The global optimum of a form over runs: scan, polish, and keep to what a law may be."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scalefit.fitting.kink import finish
from scalefit.fitting.objective import Objective
from scalefit.fitting.solver import minimise, value
from scalefit.laws import Flags, FloatArray, Model
from scalefit.laws.constraints import within

Limits = tuple[FloatArray, FloatArray]
POSITIVE: Limits = (np.array(0.0), np.array(np.inf))  # no term of a law is negative

POLISHED = 12  # of the points scanned, for each model; on real tables the first 3 agree


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
        bests: for each model its own best point, admissible or not: where resamples start.
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
) -> Optimum:
    """Polish the best scanned starts of every model; the least admissible objective wins."""
    ends = [
        minimise(model, objective, _ranked(model, objective, weights), weights[None])
        for model in models
    ]
    naturals = [model.natural(end.theta) for model, end in zip(models, ends, strict=True)]
    costs = [
        np.where(admissible(natural, limits), end.value, np.inf)
        for natural, end in zip(naturals, ends, strict=True)
    ]
    which = int(np.argmin([cost.min() for cost in costs]))
    best = int(costs[which].argmin())
    model, theta, least = models[which], ends[which].theta[best], float(costs[which][best])
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
        bests=tuple(end.theta[int(end.value.argmin())] for end in ends),
    )


def refind(
    models: Sequence[Model],
    objective: Objective,
    optimum: Optimum,
    weights: FloatArray,
    limits: Limits = POSITIVE,
) -> tuple[FloatArray, Flags]:
    """The optimum for each weighting (batch, runs) of the runs, from those of the full data.

    A model gives way to the next only where its best point is no admissible law.

    Returns:
        The law's parameters (batch, parameters), and whether each converged (batch,).
    """
    natural = np.full((len(weights), len(optimum.natural)), np.nan)
    left = np.arange(len(weights))
    for model, best in zip(models, optimum.bests, strict=True):
        end = minimise(model, objective, np.tile(best, (len(left), 1)), weights[left])
        found = model.natural(end.theta)
        fine = admissible(found, limits) & end.converged
        natural[left[fine]] = found[fine]
        left = left[~fine]
    return natural, np.isfinite(natural[:, 0])


def admissible(natural: FloatArray, limits: Limits = POSITIVE) -> Flags:
    """Whether a law's parameters (batch, parameters) keep to their limits; shape (batch,)."""
    return within(natural, *limits)


def _ranked(model: Model, objective: Objective, weights: FloatArray) -> FloatArray:
    starts = np.clip(model.starts(weights), model.lower, model.upper)
    order = np.argsort(value(model, objective, starts, weights[None]), kind="stable")
    ranked: FloatArray = starts[order[:POLISHED]]
    return ranked
