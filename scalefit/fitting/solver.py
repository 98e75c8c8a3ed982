"""The minimum of a robust loss over a law on given runs, for many weightings of the runs at once.

The objective is ``F = sum_i w_i rho(log m_i - log L_i)`` with m the law in the coordinates of a
``Model``, which gives exact first and second derivatives. A batch of problems differs in start or
in weights (bootstrap replicates) and shares the runs.

Method: IRLS (a parabola above the loss, so a Gauss-Newton step that cannot overshoot much) far
away, exact Newton once a step gains little, Levenberg damping when a step fails, projection onto
the box; first through wider thresholds of the loss, where its kinks are smoothed away.
"""

from dataclasses import dataclass

import numpy as np

from scalefit.fitting.objective import Huber
from scalefit.laws import Flags, FloatArray, Model
from scalefit.linalg import solve_positive

MAX_STEPS = 300
CHUNK = 128  # problems solved together: their (chunk, runs) arrays stay in cache
SMALL_GAIN = 0.05  # a relative decrease below this means Newton's quadratic model is good
DECREMENT = 1e-14  # settled: the predicted decrease is this fraction of the objective
EXACT = 1e-28  # an objective per unit of weight that is rounding error: the law fits exactly
ROUNDING = 1e-15  # of a residual; a step that raises the objective by no more has not failed
DAMPING = 1e-3  # Levenberg's lambda at the start, and the most at which a problem may settle
NEGLIGIBLE = 1e-9  # below this lambda is 0, and Newton converges quadratically
STUCK = 1e12
TINY = 1e-300
NARROWING = 4.0  # from one threshold to the next
LOOSE, LOOSE_STEPS = 1e-3, 12  # how well a wider threshold is solved


@dataclass(frozen=True, slots=True, kw_only=True)
class Minimum:
    """Where the solver stopped, for a batch: theta (batch, p), value and flags (batch,)."""

    theta: FloatArray
    value: FloatArray
    converged: Flags


@dataclass(frozen=True, slots=True, kw_only=True)
class Expansion:
    """Value (batch,), gradient (p, batch) and Hessian (p, p, batch) of the objective."""

    value: FloatArray
    gradient: FloatArray
    hessian: FloatArray

    def where(self, first: Flags, other: "Expansion") -> "Expansion":
        """This one where ``first``, else the other."""
        return Expansion(
            value=np.where(first, self.value, other.value),
            gradient=np.where(first, self.gradient, other.gradient),
            hessian=np.where(first, self.hessian, other.hessian),
        )

    def select(self, keep: Flags) -> "Expansion":
        """Those of the batch to keep."""
        return Expansion(
            value=self.value[keep],
            gradient=self.gradient[:, keep],
            hessian=self.hessian[:, :, keep],
        )


def value(model: Model, objective: Huber, theta: FloatArray, weights: FloatArray) -> FloatArray:
    """F for theta (batch, p) and weights (batch or 1, runs); infinite where m is not positive."""
    residual, valid = _residual(model, model.predict(theta))
    total: FloatArray = (weights * objective.value(residual)).sum(axis=-1)
    return np.where(valid, total, np.inf)


def expand(
    model: Model, objective: Huber, theta: FloatArray, weights: FloatArray, exact: Flags
) -> Expansion:
    """F and its derivatives; where not ``exact``, the Hessian of the IRLS parabola instead."""
    law = model.expand(theta)
    residual, valid = _residual(model, law.value)
    slope = weights * objective.slope(residual)
    newton = weights * objective.curvature(residual) - slope
    bend = np.where(exact[:, None], newton, weights * objective.majorant(residual))
    inverse = 1.0 / np.where(law.value > 0, law.value, 1.0)
    relative = law.first * inverse[:, None]  # (batch, p, runs): derivatives of log m
    gradient = np.matmul(relative, slope[:, :, None])[:, :, 0]
    hessian = np.matmul(relative * bend[:, None], relative.swapaxes(1, 2))
    straight = np.where(exact[:, None], slope * inverse, 0.0)
    for (i, j), second in law.second.items():
        extra = np.einsum("rn,rn->r", straight, second)
        hessian[:, i, j] += extra
        if i != j:
            hessian[:, j, i] += extra
    total = (weights * objective.value(residual)).sum(axis=-1)
    return Expansion(
        value=np.where(valid, total, np.inf),
        gradient=np.ascontiguousarray(gradient.T),
        hessian=np.ascontiguousarray(np.moveaxis(hessian, 0, -1)),
    )


def minimise(model: Model, objective: Huber, start: FloatArray, weights: FloatArray) -> Minimum:
    """Minimise from each start.

    Args:
        model: the law on the runs.
        objective: the loss of a residual.
        start: shape (batch, p), one start per problem.
        weights: shape (batch, runs), or (1, runs) for the same weights everywhere.
    """
    weights = np.broadcast_to(weights, (len(start), model.rows))
    nothing = Minimum(theta=start[:0], value=np.empty(0), converged=np.empty(0, dtype=bool))
    parts = [nothing]
    for i in range(0, len(start), CHUNK):
        chunk = slice(i, i + CHUNK)
        parts.append(_through_thresholds(model, objective, start[chunk], weights[chunk]))
    return Minimum(
        theta=np.concatenate([part.theta for part in parts]),
        value=np.concatenate([part.value for part in parts]),
        converged=np.concatenate([part.converged for part in parts]),
    )


def _residual(model: Model, predicted: FloatArray) -> tuple[FloatArray, Flags]:
    positive = predicted > 0
    residual = np.log(np.where(positive, predicted, 1.0)) - model.log_loss
    return residual, np.asarray(positive.all(axis=-1))


def _through_thresholds(
    model: Model, objective: Huber, start: FloatArray, weights: FloatArray
) -> Minimum:
    theta = np.clip(start, model.lower, model.upper)
    width = float(np.median(np.abs(_residual(model, model.predict(theta))[0])))
    while width > NARROWING * objective.delta:
        wide = Huber(delta=width)
        theta = _descend(model, wide, theta, weights, tolerance=LOOSE, most=LOOSE_STEPS).theta
        width /= NARROWING
    return _descend(model, objective, theta, weights, tolerance=DECREMENT, most=MAX_STEPS)


def _descend(
    model: Model,
    objective: Huber,
    start: FloatArray,
    weights: FloatArray,
    *,
    tolerance: float,
    most: int,
) -> Minimum:
    """Problems leave the batch as they settle."""
    theta, count = start, len(start)
    result, converged = theta.copy(), np.zeros(count, dtype=bool)
    at, weigh = np.arange(count), weights  # the problems still moving
    damping = np.full(count, DAMPING)
    exact = newton = np.zeros(count, dtype=bool)  # what the state holds, what comes next
    state = expand(model, objective, theta, weigh, exact)
    for _ in range(most):
        step, gain, descends = _step(model, state, theta, damping)
        trial = np.clip(theta + step, model.lower, model.upper)
        settled = descends & (damping <= DAMPING) & (gain <= tolerance * state.value)
        total = weigh.sum(axis=-1)
        perfect = state.value <= EXACT * total
        # Rounding each residual moves F by the sum of slopes, at most sqrt(2 F total), times it.
        rounding = ROUNDING * (state.value + np.sqrt(state.value * total))
        done, stuck = (settled & exact) | perfect, damping > STUCK
        trial = np.where(perfect[:, None], theta, trial)
        result[at[done]], converged[at[done]] = trial[done], True
        result[at[stuck]] = theta[stuck]
        if (done | stuck).any():
            keep = ~(done | stuck)
            at, weigh, theta, trial = at[keep], weigh[keep], theta[keep], trial[keep]
            damping, exact, newton = damping[keep], exact[keep], newton[keep]
            rounding = rounding[keep]
            settled, descends, state = settled[keep], descends[keep], state.select(keep)
        if not len(at):
            break
        # The parabola may be flat where the exact model is not, so settling takes both.
        newton = newton | settled
        new = expand(model, objective, trial, weigh, newton)
        better = descends & (new.value <= state.value + rounding)
        small = state.value - new.value < SMALL_GAIN * state.value
        theta = np.where(better[:, None], trial, theta)
        state = new.where(better, state)
        eased = np.where(damping > NEGLIGIBLE, damping / 10, 0.0)
        damping = np.where(better, eased, damping * 8 + NEGLIGIBLE)
        exact, newton = np.where(better, newton, exact), newton | (better & small)
    else:
        result[at] = theta
    return Minimum(
        theta=result, value=value(model, objective, result, weights), converged=converged
    )


def _step(
    model: Model, state: Expansion, theta: FloatArray, damping: FloatArray
) -> tuple[FloatArray, FloatArray, Flags]:
    """Damped step inside the box (batch, p), its predicted gain, and whether it descends."""
    below = (theta <= model.lower).T & (state.gradient > 0)
    above = (theta >= model.upper).T & (state.gradient < 0)
    pushed = below | above
    gradient = np.where(pushed, 0.0, state.gradient)
    hessian = np.where(pushed[:, None] | pushed[None, :], 0.0, state.hessian)
    for i in range(len(gradient)):
        stiffer = hessian[i, i] + np.abs(hessian[i, i]) * damping + TINY
        hessian[i, i] = np.where(pushed[i], 1.0, stiffer)
    step, positive = solve_positive(hessian, -gradient)
    gain = -0.5 * (gradient * step).sum(axis=0)
    return step.T, gain, positive & (gain >= 0)
