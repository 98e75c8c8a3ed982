"""The last digits of a fit whose loss has a kink: which runs it passes through exactly.

At the optimum of a sum of absolute deviations the law passes exactly through some runs, and the
others pull with constant slopes. A smoothed fit says which; Newton's method on the conditions of
Karush, Kuhn and Tucker then lands on the optimum itself, not on its smoothed neighbour.
"""

from dataclasses import dataclass

import numpy as np

from scalefit.fitting.objective import Objective
from scalefit.fitting.solver import descend, residuals, sharpest, value
from scalefit.laws import FloatArray, Model

STEPS = 30
LEEWAY = 1e-9  # a multiplier beyond its limits by this much is rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Vertex:
    """The optimum, the slope left after the best multipliers (p,), and the runs passed through."""

    theta: FloatArray
    slope: FloatArray
    through: int


def finish(model: Model, objective: Objective, theta: FloatArray, weights: FloatArray) -> Vertex:
    """Polish theta (p,), the optimum of the sharpest smoothed objective, to the kinked one's."""
    scale = float(np.median(np.abs(_residual(model, objective, theta))))
    smooth = sharpest(objective, scale)
    theta = descend(model, smooth, theta[None], weights[None]).theta[0]
    free = (theta > model.lower) & (theta < model.upper)
    residual = _residual(model, objective, theta)
    through = (smooth.curvature(residual) > 0) & (weights > 0)
    multipliers = weights * smooth.slope(residual)
    best, best_value = theta, _value(model, objective, theta, weights)
    for _ in range(STEPS):
        step, multipliers = _newton(model, objective, theta, weights, through, multipliers, free)
        theta = np.clip(theta + step, model.lower, model.upper)
        new_value = _value(model, objective, theta, weights)
        if not np.isfinite(new_value):
            break  # it led away from the smoothed optimum, which is the best then
        if new_value < best_value:
            best, best_value = theta, new_value
        if np.abs(step).max() > 1e-13 * np.abs(theta).max():
            continue
        loose = through & (
            (multipliers > objective.over * weights * (1 + LEEWAY))
            | (multipliers < -objective.under * weights * (1 + LEEWAY))
        )
        if not loose.any():
            break
        worst = np.abs(multipliers / np.where(weights > 0, weights, 1.0) * loose).argmax()
        through[worst] = False  # this run pulls with its full slope: the law need not touch it
    slope = _newton(model, objective, best, weights, through, multipliers, free, measure=True)[0]
    return Vertex(theta=best, slope=slope, through=int(through.sum()))


def _newton(
    model: Model,
    objective: Objective,
    theta: FloatArray,
    weights: FloatArray,
    through: np.ndarray,
    multipliers: FloatArray,
    free: np.ndarray,
    *,
    measure: bool = False,
) -> tuple[FloatArray, FloatArray]:
    """One step of the equality-constrained problem and the multipliers of all runs.

    With ``measure``, the slope that the best multipliers leave instead of the step.
    """
    law = model.expand(theta[None])
    residual = _residual(model, objective, theta)
    inverse = 1 / law.value[0] if objective.log else np.ones(model.rows)
    first = law.first[0] * inverse  # (p, runs)
    away = np.where(residual > 0, objective.over, -objective.under)
    pull = np.where(through, multipliers, weights * away)
    rest = first[:, ~through] @ pull[~through]
    touching = first[:, through].T  # (through, p)
    if measure:
        held = np.linalg.lstsq(touching.T[free], -rest[free], rcond=None)[0]
        left = np.where(free, rest + touching.T @ held, 0.0)
        return left, multipliers
    hessian = np.zeros((len(theta), len(theta)))
    for (i, j), second in law.second.items():
        hessian[i, j] = hessian[j, i] = (pull * inverse * second[0]).sum()
    if objective.log:
        hessian -= (first * pull) @ first.T
    n, k = int(free.sum()), len(touching)
    system = np.zeros((n + k, n + k))
    system[:n, :n] = hessian[np.ix_(free, free)]
    system[:n, n:] = touching.T[free]
    system[n:, :n] = touching[:, free]
    target = np.concatenate([-rest[free], -residual[through]])
    solution = np.linalg.lstsq(system, target, rcond=None)[0]
    step = np.zeros_like(theta)
    step[free] = solution[:n]
    held = pull.copy()
    held[through] = solution[n:]
    return step, held


def _residual(model: Model, objective: Objective, theta: FloatArray) -> FloatArray:
    residual: FloatArray = residuals(model, objective, model.predict(theta[None]))[0][0]
    return residual


def _value(model: Model, objective: Objective, theta: FloatArray, weights: FloatArray) -> float:
    return float(value(model, objective, theta[None], weights[None])[0])
