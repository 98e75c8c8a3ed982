"""The minimum of a robust loss over a law on given runs, for many weightings of the runs at once.

The objective is ``F = sum_i w_i rho(r_i)`` with r = log m - log L or m - L, and m the law in the
coordinates of a ``Model``, which gives exact first and second derivatives. A batch of problems
differs in start or in weights (bootstrap replicates) and shares the runs.

Method: IRLS (a parabola above the loss, so a Gauss-Newton step that cannot overshoot much) far
away, exact Newton once a step gains little, Levenberg damping when a step fails, projection onto
the box; first through wider thresholds of the loss, where its kinks are smoothed away.
"""

from dataclasses import dataclass, replace

import numpy as np

from scalefit.fitting.objective import Objective
from scalefit.laws import Flags, FloatArray, Model
from scalefit.linalg import solve_positive

MAX_STEPS = 300
CHUNK = 2**16  # numbers in an array (problems, runs) of those solved together: they stay in cache
SMALL_GAIN = 0.05  # a relative decrease below this means Newton's quadratic model is good
DECREMENT = 1e-14  # settled: the predicted decrease is this fraction of the objective
NEAR = 1e-9  # likewise for a resample, which starts where its neighbour settled
EXACT = 1e-28  # an objective per unit of weight that is rounding error: the law fits exactly
ROUNDING = 1e-15  # of a residual; a step that raises the objective by no more has not failed
DAMPING = 1e-3  # Levenberg's lambda at the start, and the most at which a problem may settle
NEGLIGIBLE = 1e-9  # below this lambda is 0, and Newton converges quadratically
STUCK = 1e12
VANISHED = 1e-6  # of the curvature a step before: where less is left, no run bends the objective
TINY = 1e-300
NARROWING = 4.0  # from one threshold to the next
FINEST = 1e-7  # the last threshold of a kinked loss, over the scale of the residuals
LOOSE, LOOSE_STEPS = 1e-3, 12  # how well a wider threshold is solved on the way to Huber's
TIGHT, TIGHT_STEPS = 1e-9, 60  # and on the way to a kink, where each tells of the next

# A step beyond what doubles hold is refused like any other that does not descend.
FAR_STEPS = np.errstate(over="ignore", invalid="ignore")

# Arrays of a chunk are made and freed thousands of times. Freeing a large one first teaches the C
# library's allocator to keep such memory instead of returning it, a third of a bootstrap's time.
_released = np.empty(2**21)
del _released


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


def value(model: Model, objective: Objective, theta: FloatArray, weights: FloatArray) -> FloatArray:
    """F for theta (batch, p) and weights (batch or 1, runs); infinite where m is not positive."""
    residual, valid = residuals(model, objective, model.predict(theta))
    total: FloatArray = (weights * objective.value(residual)).sum(axis=-1)
    return np.where(valid, total, np.inf)


def expand(
    model: Model, objective: Objective, theta: FloatArray, weights: FloatArray, exact: Flags
) -> Expansion:
    """F and its derivatives; where not ``exact``, the Hessian of the IRLS parabola instead."""
    law = model.expand(theta)
    residual, valid = residuals(model, objective, law.value)
    each = objective.slope(residual)
    total = np.einsum("rn,rn->r", weights, objective.value(residual, each))
    slope = weights * each
    bend = _bend(objective, residual, weights, slope, exact)
    if objective.log:  # derivatives of log m are those of m over m
        inverse = 1.0 / _positive(law.value, valid)
        slope *= inverse
        bend *= inverse
        bend *= inverse
    pulls = np.einsum("rn,rkn->rk", slope, law.basis)
    leading = law.slopes.shape[-1]
    gradient = np.einsum("rpk,rk->rp", law.slopes, pulls[:, :leading])
    basis = law.basis[:, :leading]
    products = np.matmul(basis * bend[:, None], basis.swapaxes(1, 2))
    hessian = law.slopes @ products @ law.slopes.swapaxes(1, 2)
    for part in law.bends:
        extra = exact * part.coefficient * pulls[:, part.index]
        hessian[:, part.i, part.j] += extra
        if part.i != part.j:
            hessian[:, part.j, part.i] += extra
    return Expansion(
        value=np.where(valid, total, np.inf),
        gradient=np.ascontiguousarray(gradient.T),
        hessian=np.ascontiguousarray(np.moveaxis(hessian, 0, -1)),
    )


def _bend(
    objective: Objective, residual: FloatArray, weights: FloatArray, slope: FloatArray, exact: Flags
) -> FloatArray:
    """The factor of r_i r_j in the Hessian, or in that of the parabola above."""
    if not exact.any():
        return weights * objective.majorant(residual)
    # By the chain rule, r = log m has r_i = m_i/m and r_ij = m_ij/m - r_i r_j.
    newton = weights * objective.curvature(residual) - (slope if objective.log else 0.0)
    if exact.all():
        return newton
    return np.where(exact[:, None], newton, weights * objective.majorant(residual))


@FAR_STEPS
def minimise(
    model: Model,
    objective: Objective,
    start: FloatArray,
    weights: FloatArray,
    *,
    near: bool = False,
) -> Minimum:
    """Minimise from each start.

    Args:
        model: the law on the runs.
        objective: the loss of a residual.
        start: shape (batch, p), one start per problem.
        weights: shape (batch, runs), or (1, runs) for the same weights everywhere.
        near: every start is the same, the optimum of nearly the same runs. Exact steps are right
            at once, and settling when the last of them promises 1e-9 leaves less than 1e-9.
    """
    weights = np.broadcast_to(weights, (len(start), model.rows))
    nothing = Minimum(theta=start[:0], value=np.empty(0), converged=np.empty(0, dtype=bool))
    parts = [nothing]
    together = max(1, CHUNK // model.rows)
    for i in range(0, len(start), together):
        chunk = slice(i, i + together)
        parts.append(_through_thresholds(model, objective, start[chunk], weights[chunk], near))
    return Minimum(
        theta=np.concatenate([part.theta for part in parts]),
        value=np.concatenate([part.value for part in parts]),
        converged=np.concatenate([part.converged for part in parts]),
    )


def residuals(
    model: Model, objective: Objective, predicted: FloatArray
) -> tuple[FloatArray, Flags]:
    """Residuals (batch, runs) of predictions, and whether all of a batch's are positive."""
    valid = predicted.min(axis=-1) > 0
    if objective.log:
        residual = np.log(_positive(predicted, valid))
        residual -= model.log_loss
    else:
        residual = predicted - np.exp(model.log_loss)
    return residual, valid


def _positive(predicted: FloatArray, valid: Flags) -> FloatArray:
    """The predictions, or 1 where a batch that is to be refused has one that has no logarithm."""
    return predicted if valid.all() else np.where(predicted > 0, predicted, 1.0)


def sharpest(objective: Objective, scale: float) -> Objective:
    """The objective itself, or one with a parabola in its kink far narrower than the residuals."""
    return objective.smoothed(FINEST * scale + TINY) if objective.kinked else objective


def _through_thresholds(
    model: Model, objective: Objective, start: FloatArray, weights: FloatArray, near: bool
) -> Minimum:
    theta = np.clip(start, model.lower, model.upper)
    some = model.predict(theta[: 1 if near else None])
    scale = float(np.median(np.abs(residuals(model, objective, some)[0])))
    sharp = sharpest(objective, scale)
    tolerance, most = (TIGHT, TIGHT_STEPS) if objective.kinked else (LOOSE, LOOSE_STEPS)
    before, width = theta, scale
    while width > NARROWING * sharp.width:
        wide = objective.smoothed(width)
        theta = descend(model, wide, theta, weights, tolerance=tolerance, most=most).theta
        width /= NARROWING
        if objective.kinked:
            at, narrow = theta, objective.smoothed(width)
            theta = _ahead(model, narrow, before, at, weights)
            before = at
    enough = NEAR if near else DECREMENT
    end = descend(model, sharp, theta, weights, tolerance=enough, near=near)
    if sharp is objective:
        return end
    return replace(end, value=value(model, objective, end.theta, weights))


def _ahead(
    model: Model, narrow: Objective, before: FloatArray, at: FloatArray, weights: FloatArray
) -> FloatArray:
    """Where the optimum of the next, narrower threshold lies, going by the last two.

    Optima move in proportion to the threshold while the law passes through the same runs (Madsen
    & Nielsen 1993).
    """
    ahead = np.clip(at + (at - before) / NARROWING, model.lower, model.upper)
    better = value(model, narrow, ahead, weights) < value(model, narrow, at, weights)
    return np.where(better[:, None], ahead, at)


@FAR_STEPS
def descend(
    model: Model,
    objective: Objective,
    start: FloatArray,
    weights: FloatArray,
    *,
    tolerance: float = DECREMENT,
    most: int = MAX_STEPS,
    near: bool = False,
) -> Minimum:
    """Newton's method on an objective without a kink; problems leave the batch as they settle."""
    theta, count = start, len(start)
    result, converged = theta.copy(), np.zeros(count, dtype=bool)
    at, weigh = np.arange(count), weights  # the problems still moving
    damping = np.full(count, DAMPING)
    exact = newton = np.full(count, near)  # what the state holds, what comes next
    # Where all are at one point, as resamples are at first, one pass serves every weighting.
    together = (theta == theta[:1]).all()
    state = expand(model, objective, theta[: 1 if together else None], weigh, exact)
    bent = np.broadcast_to(_curvature(state), (theta.shape[1], count))  # where last it was
    for _ in range(most):
        step, gain, descends = _step(model, state, theta, damping, VANISHED * bent)
        trial = np.clip(theta + step, model.lower, model.upper)
        settled = descends & (damping <= DAMPING) & (gain <= tolerance * state.value)
        stiff = objective.stiffness * weigh.sum(axis=-1)
        perfect = state.value <= EXACT * stiff
        # Rounding each residual moves F by the sum of slopes, at most sqrt(2 F stiff), times it.
        rounding = ROUNDING * (state.value + np.sqrt(state.value * stiff))
        done, stuck = (settled & exact) | perfect, damping > STUCK
        trial = np.where(perfect[:, None], theta, trial)
        result[at[done]], converged[at[done]] = trial[done], True
        result[at[stuck]] = theta[stuck]
        if (done | stuck).any():
            keep = ~(done | stuck)
            at, weigh, theta, trial = at[keep], weigh[keep], theta[keep], trial[keep]
            damping, exact, newton = damping[keep], exact[keep], newton[keep]
            rounding, bent = rounding[keep], bent[:, keep]
            settled, descends, state = settled[keep], descends[keep], state.select(keep)
        if not len(at):
            break
        # The parabola may be flat where the exact model is not, so settling takes both.
        newton = newton | settled
        new = expand(model, objective, trial, weigh, newton)
        better = descends & (new.value <= state.value + rounding)
        small = state.value - new.value < SMALL_GAIN * state.value
        theta = np.where(better[:, None], trial, theta)
        now = _curvature(new)
        bent = np.where(better & (now > VANISHED * bent), now, bent)
        state = new.where(better, state)
        eased = np.where(damping > NEGLIGIBLE, damping / 10, 0.0)
        damping = np.where(better, eased, damping * 8 + NEGLIGIBLE)
        exact, newton = np.where(better, newton, exact), newton | (better & small)
    else:
        result[at] = theta
    reached = value(model, objective, result, weights)
    converged |= reached <= EXACT * objective.stiffness * weights.sum(axis=-1)
    return Minimum(theta=result, value=reached, converged=converged)


def _curvature(state: Expansion) -> FloatArray:
    """Along each coordinate, shape (p, batch)."""
    curvature: FloatArray = np.abs(np.einsum("iir->ir", state.hessian))
    return curvature


def _step(
    model: Model, state: Expansion, theta: FloatArray, damping: FloatArray, least: FloatArray
) -> tuple[FloatArray, FloatArray, Flags]:
    """Damped step inside the box (batch, p), its predicted gain, and whether it descends.

    Damping is in proportion to the curvature, but not to less than ``least`` (p, batch).
    """
    below = (theta <= model.lower).T & (state.gradient > 0)
    above = (theta >= model.upper).T & (state.gradient < 0)
    pushed = below | above
    gradient = np.where(pushed, 0.0, state.gradient)
    hessian = np.where(pushed[:, None] | pushed[None, :], 0.0, state.hessian)
    for i in range(len(gradient)):
        stiffer = hessian[i, i] + np.maximum(np.abs(hessian[i, i]), least[i]) * damping + TINY
        hessian[i, i] = np.where(pushed[i], 1.0, stiffer)
    step, positive = solve_positive(hessian, -gradient)
    gain = -0.5 * (gradient * step).sum(axis=0)
    return step.T, gain, positive & (gain >= 0)
