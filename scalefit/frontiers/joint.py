"""All isoFLOP profiles at once: one shape, and minima that lie on a power law of compute.

If L = E + A/N^alpha + B/D^beta, the profile of every budget is

    L = L* + depth (g(log N - log N*) - g(0)),    g(d) = exp(-alpha d)/alpha + exp(beta d)/beta

so that, besides a level and a depth for each budget, four numbers are shared: alpha, beta and the
two of log N* = x + a log C. A parabola is the same on both sides of its minimum, this shape is not,
and so it has no bias where that law holds. Unlike that law it leaves the levels, the depths and a
free. Where compute fixes D ~ N^-gamma rather than D ~ 1/N, beta stands for gamma beta.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scalefit.frontiers.budgets import Profile
from scalefit.frontiers.vertices import PARABOLA, Noise, Vertices, corrected, logarithm
from scalefit.laws import FloatArray
from scalefit.linalg import solve_positive

BOX = np.log([0.02, 2.0])  # of alpha and beta
STARTS = np.log([[a, b] for a in (0.1, 0.3, 0.9) for b in (0.1, 0.3, 0.9)])
FAR = 12.0  # in log N: farther from a minimum nothing is said of the shape
MAX_STEPS = 100
SETTLED = 1e-10  # the gain in a step, over what there is to gain
EXACT = 1e-28  # squared relative error that is rounding
DAMPING, EASIER, HARDER, STUCK = 1e-3, 0.2, 4.0, 1e9
SINGULAR = 1e-8  # relative size of a direction that rows do not determine
NUDGE = 1.0  # how far a profile's own minimum may lie from the common line, in log N


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Shapes and what goes with them, for a batch of problems.

    Attributes:
        theta: (log alpha, log beta, x, a) with x the log N* at the middle of the budgets' log C,
            shape (batch, 4).
        level, depth: of the profiles, shape (batch, profiles).
        cost: sum of squared relative errors, shape (batch,).
    """

    theta: FloatArray
    level: FloatArray
    depth: FloatArray
    cost: FloatArray


class Joint:
    """The joint profile."""

    name = "joint"
    least = 3
    curve = "one shape for all budgets, of a sum of powers of N and D"

    def vertices(self, profiles: Sequence[Profile], losses: Sequence[FloatArray]) -> Vertices:
        """The minima for losses (batch, rows) of each profile."""
        table = Table(profiles)
        loss = table.padded(losses)
        found = table.fit(loss)
        line = np.where(found.depth > 0, table.line(found.theta), np.nan)
        own = line + table.nudges(found, loss)
        return Vertices(log_params=line, log_loss=logarithm(found.level), own=own)

    def noise(self, profiles: Sequence[Profile]) -> Noise:
        """From residuals that leave each profile its own minimum.

        What minima scatter about their line is no noise of runs, and is added apart.
        """
        table = Table(profiles)
        found = table.fit(table.loss)
        residuals, leverage, rank = table.own_residuals(found)
        freedom = sum(len(p.rows) for p in profiles) - rank
        values = [value[0] for value in table.values(found)]
        return corrected(values, residuals, leverage, freedom)

    def weights(self, profiles: Sequence[Profile]) -> FloatArray:
        """How sharply each profile tells its minimum: what it counts in the line of the joint fit.

        The minima lie on their line already, so these matter for the scatter about it alone.
        """
        table = Table(profiles)
        sharp: FloatArray = (table.slopes(table.fit(table.loss))[2, 0] ** 2).sum(axis=-1)
        return sharp / sharp.max() if sharp.any() else np.ones_like(sharp)


class Table:
    """Profiles as arrays (profiles, rows), padded with rows of weight 0."""

    def __init__(self, profiles: Sequence[Profile]) -> None:
        self.profiles = profiles
        self.counts = [len(p.rows) for p in profiles]
        shape = len(profiles), max(self.counts)
        self.inside = np.arange(shape[1]) < np.array(self.counts)[:, None]
        self.x, self.weight = np.zeros(shape), np.zeros(shape)
        self.x[self.inside] = np.concatenate([p.log_params for p in profiles])
        # Noise is a part of the loss, so errors are relative: to the loss measured, in all batches.
        self.weight[self.inside] = 1 / np.concatenate([p.loss for p in profiles])
        log_c = np.log([p.flops for p in profiles])
        self.log_c = log_c - log_c.mean()
        self.loss = self.padded([p.loss[None] for p in profiles])

    def padded(self, losses: Sequence[FloatArray]) -> FloatArray:
        """Losses (batch, rows) by profile as one array (batch, profiles, rows)."""
        found = np.zeros((len(losses[0]), *self.x.shape))
        found[:, self.inside] = np.concatenate(losses, axis=1)
        return found

    def line(self, theta: FloatArray) -> FloatArray:
        """Log N*, shape (batch, profiles)."""
        minima: FloatArray = theta[:, 2:3] + theta[:, 3:] * self.log_c
        return minima

    def fit(self, loss: FloatArray) -> Fitted:
        """The best shape for losses (batch, profiles, rows).

        A batch of one is searched from a grid of shapes; a larger one from the fit to the losses
        measured, of which it holds replicates.
        """
        if len(loss) > 1:
            start = np.repeat(self.fit(self.loss).theta, len(loss), axis=0)
            return self._expand(self._minimised(start, loss), loss)[0]
        start = self._starts()
        found = self._expand(self._minimised(start, np.repeat(loss, len(start), axis=0)), loss)[0]
        best = np.array([found.cost.argmin()])
        return Fitted(
            theta=found.theta[best],
            level=found.level[best],
            depth=found.depth[best],
            cost=found.cost[best],
        )

    def nudges(self, found: Fitted, loss: FloatArray) -> FloatArray:
        """How far each profile's own minimum lies from the line, the shape being given.

        One step of Gauss and Newton; shape (batch, profiles).
        """
        residual, slopes = self._residual(found, loss), self.slopes(found)[2]
        steep = (slopes**2).sum(axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = -(slopes * residual).sum(axis=-1) / steep
        return np.where(steep > 0, np.clip(step, -NUDGE, NUDGE), 0.0)

    def values(self, found: Fitted) -> list[FloatArray]:
        """The curves at the rows, by profile (batch, rows)."""
        curve = self._curve(found)
        return [curve[:, i, :count] for i, count in enumerate(self.counts)]

    def own_residuals(self, found: Fitted) -> tuple[list[FloatArray], list[FloatArray], int]:
        """Relative residuals of the losses measured, if every profile had its own minimum.

        To first order. Also the leverage of each row, by profile, and the number of parameters that
        the rows determine.
        """
        shape = self._g(found.theta)[0][0]
        alpha, beta, size = self.slopes(found)[:, 0]
        one = np.eye(len(shape))[..., None]  # one profile, and no other
        held = np.isin(found.theta[0, :2], BOX)
        columns = np.concatenate(
            [*(one * self.weight * part for part in (np.ones_like(shape), shape)), one * size,
             np.stack([alpha, beta])[~held]]
        )[:, self.inside].T  # fmt: skip
        norm = np.linalg.norm(columns, axis=0)
        left, scale, _ = np.linalg.svd(columns / np.where(norm > 0, norm, 1.0), full_matrices=False)
        basis = left[:, scale > SINGULAR * scale[0]]
        rest = -self._residual(found, self.loss)[0][self.inside]
        rest = rest - basis @ (basis.T @ rest)
        ends = np.cumsum(self.counts)[:-1]
        leverage = (basis**2).sum(axis=1)
        return np.split(rest, ends), np.split(leverage, ends), basis.shape[1]

    def _starts(self) -> FloatArray:
        """Every shape of the grid with the line through the minima of parabolas; (starts, 4)."""
        minima = PARABOLA.vertices(self.profiles, [p.loss[None] for p in self.profiles])
        a, x = np.polyfit(self.log_c, minima.log_params[0], 1)
        return np.concatenate([STARTS, np.broadcast_to([x, a], (len(STARTS), 2))], axis=1)

    def _g(self, theta: FloatArray) -> tuple[FloatArray, FloatArray]:
        """G(d) - g(0) over its curvature at 0, and its slopes; shapes (batch, profiles, rows).

        Slopes are by log alpha, log beta and log N*, stacked first. Parts of a slope along g itself
        are left out: a depth stands for them.
        """
        alpha, beta = np.exp(theta[:, :2]).T[..., None, None]
        away = np.clip(self.x - self.line(theta)[..., None], -FAR, FAR)
        left, right = np.expm1(-alpha * away), np.expm1(beta * away)
        unit = 2 / (alpha + beta)
        slopes = np.stack(
            [-away * (left + 1) - left / alpha, away * (right + 1) - right / beta, left - right]
        )
        return unit * (left / alpha + right / beta), unit * slopes

    def _linear(self, shape: FloatArray, loss: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The best level and depth >= 0 for each profile of each problem."""
        w = self.weight**2
        total = w.sum(axis=-1)
        mean_g, mean_l = ((w * part).sum(axis=-1) / total for part in (shape, loss))
        away = shape - mean_g[..., None]
        spread = (w * away**2).sum(axis=-1)
        depth = (w * away * loss).sum(axis=-1) / np.maximum(spread, np.finfo(float).tiny)
        depth = np.maximum(depth, 0.0)
        return mean_l - depth * mean_g, depth

    def _curve(self, found: Fitted) -> FloatArray:
        return found.level[..., None] + found.depth[..., None] * self._g(found.theta)[0]

    def _residual(self, found: Fitted, loss: FloatArray) -> FloatArray:
        relative: FloatArray = self.weight * (self._curve(found) - loss)
        return relative

    def slopes(self, found: Fitted) -> FloatArray:
        """Slopes of the residuals by log alpha, log beta and log N*, level and depth following.

        Shape (3, batch, profiles, rows).
        """
        shape, slopes = self._g(found.theta)
        w = self.weight**2
        total = w.sum(axis=-1)[..., None]
        away = shape - (w * shape).sum(axis=-1, keepdims=True) / total
        spread = np.maximum((w * away**2).sum(axis=-1, keepdims=True), np.finfo(float).tiny)
        slopes = slopes - (w * slopes).sum(axis=-1, keepdims=True) / total
        slopes = slopes - away * (w * away * slopes).sum(axis=-1, keepdims=True) / spread
        projected: FloatArray = self.weight * found.depth[..., None] * slopes
        return projected

    def _expand(self, theta: FloatArray, loss: FloatArray) -> tuple[Fitted, FloatArray, FloatArray]:
        """The fit at theta, with gradient (4, batch) and Gauss-Newton Hessian (4, 4, batch)."""
        level, depth = self._linear(self._g(theta)[0], loss)
        found = Fitted(theta=theta, level=level, depth=depth, cost=np.zeros(len(theta)))
        residual, (alpha, beta, size) = self._residual(found, loss), self.slopes(found)
        found = Fitted(theta=theta, level=level, depth=depth, cost=(residual**2).sum(axis=(1, 2)))
        slopes = np.stack([alpha, beta, size, size * self.log_c[:, None]], axis=1)
        slopes = slopes.reshape(*slopes.shape[:2], -1)
        gradient = np.einsum("bpn,bn->pb", slopes, residual.reshape(len(theta), -1))
        hessian = np.moveaxis(slopes @ slopes.swapaxes(1, 2), 0, -1)
        return found, gradient, np.ascontiguousarray(hessian)

    def _minimised(self, theta: FloatArray, loss: FloatArray) -> FloatArray:
        """Theta at the nearest minimum, by Levenberg and Marquardt within the box."""
        theta, live = theta.copy(), np.arange(len(theta))
        damping = np.full(len(theta), DAMPING)
        now, gradient, hessian = self._expand(theta, loss)
        cost = now.cost
        for _ in range(MAX_STEPS):
            tried = theta[live] + _step(theta[live], gradient, hessian, damping)
            tried[:, :2] = np.clip(tried[:, :2], *BOX)
            new, new_gradient, new_hessian = self._expand(tried, loss[live])
            better = new.cost < cost
            gain = cost - new.cost
            theta[live[better]] = tried[better]
            cost = np.where(better, new.cost, cost)
            gradient = np.where(better, new_gradient, gradient)
            hessian = np.where(better, new_hessian, hessian)
            damping *= np.where(better, EASIER, HARDER)
            going = ~(better & (gain <= SETTLED * cost)) & (damping < STUCK) & (cost > EXACT)
            if not going.any():
                break
            live, damping, cost = live[going], damping[going], cost[going]
            gradient, hessian = gradient[:, going], hessian[:, :, going]
        return theta


def _step(
    theta: FloatArray, gradient: FloatArray, hessian: FloatArray, damping: FloatArray
) -> FloatArray:
    """The damped step, shape (batch, 4); a coordinate that its bound holds stays."""
    held = np.zeros(gradient.shape, dtype=bool)
    held[:2] = ((theta.T[:2] <= BOX[0]) & (gradient[:2] > 0)) | (
        (theta.T[:2] >= BOX[1]) & (gradient[:2] < 0)
    )
    matrix = np.where(held | held[:, None], 0.0, hessian)
    for i in range(len(matrix)):
        matrix[i, i] = np.where(held[i], 1.0, hessian[i, i] * (1 + damping) + 1e-300)
    step, good = solve_positive(matrix, np.where(held, 0.0, -gradient))
    return np.where(good, step, 0.0).T
