"""How sure at once: robust standard errors from the residuals of one fit.

The covariance of an M-estimator is B^-1 M B^-1 (Huber 1967), with the bread B the expected
curvature of the objective and the meat M the spread of its slopes. Both are taken over what a
unit of resampling says when it is left out (Bell & McCaffrey 2002), which for units of one row is
HC3 (MacKinnon & White 1985).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

from scalefit.fitting.bootstrap import Units
from scalefit.fitting.objective import Objective
from scalefit.fitting.optimum import Optimum
from scalefit.fitting.solver import residuals
from scalefit.fitting.targets import Target
from scalefit.laws import Flags, FloatArray, Model

NORMAL_IQR = 1.349  # interquartile range of a standard normal
WIDEST = 0.99  # quantile of a standard normal that a window never exceeds
SHARP = 1e-6  # of the window: how narrowly a kink is rounded
NARROWEST = 1e-12  # a window for runs without noise
SINGULAR = 1e-13  # least over largest eigenvalue of a bread that determines nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandwich:
    """The law near its optimum.

    Attributes:
        model: in whose coordinates.
        theta: the best point of that model, shape (p,).
        bread: expected curvature B of the objective, shape (p, p).
        covariance: of theta, shape (p, p); infinite where the runs leave a direction open.
        freedom: degrees of freedom of the t distribution: rows less parameters, or clusters less 1.
    """

    model: Model
    theta: FloatArray
    bread: FloatArray
    covariance: FloatArray
    freedom: int

    def quantile(self, level: float) -> float:
        """How many standard errors a two-sided interval of this level spans on each side."""
        return float(t.ppf((1 + level) / 2, self.freedom))

    def variance(self, slope: FloatArray) -> float:
        """Of a quantity with this slope (p,) at theta; infinite where the runs leave it open."""
        if not np.isfinite(self.covariance).all():
            return np.inf
        return float(slope @ self.covariance @ slope)

    def error(self, target: Target) -> float:
        """Standard error on the target's scale, by the delta method."""
        return float(np.sqrt(self.variance(target.slope(self.model, self.theta[None])[0])))

    def interval(self, target: Target, level: float) -> tuple[float, float] | tuple[None, None]:
        """Limits at a level of confidence; None where the runs leave the target open."""
        error = self.error(target)
        if not np.isfinite(error):
            return None, None
        centre = float(target.scaled(self.model.natural(self.theta[None]))[0])
        half = self.quantile(level) * error
        return target.unscaled(centre - half), target.unscaled(centre + half)


def sandwich(
    models: Sequence[Model],
    objective: Objective,
    optimum: Optimum,
    cluster: Units | None,
    *,
    base: FloatArray | None = None,
) -> Sandwich:
    """Robust covariance of the fit, whatever the noise of each row.

    ``cluster`` gives each row the number of its run, or is None if every row is a run of its own;
    ``base`` are the rows' own weights. The covariance is that of the best point of the widest
    model: where the optimum is held at E = 0, of the point with the floor free, so that E has a
    standard error too.
    """
    model, theta = models[0], optimum.bests[0]
    rows = np.ones(model.rows) if base is None else base
    law = model.expand(theta[None])
    residual = residuals(model, objective, law.value)[0][0]
    window = _window(residual)
    first = law.first[0] / law.value[0] if objective.log else law.first[0]
    free = (theta > model.lower) & (theta < model.upper)
    each = first[free].T  # (rows, p): derivatives of the residuals
    units = np.arange(model.rows) if cluster is None else cluster
    stiffness = rows * _stiffness(objective, residual, window)
    # A kinked loss has no slope at 0, where the runs are that its optimum passes through.
    slope = rows * objective.smoothed(SHARP * window).slope(residual)
    parts = _by_unit(each[:, :, None] * each[:, None] * stiffness[:, None, None], units)
    scores = _by_unit(each * slope[:, None], units)
    return Sandwich(
        model=model,
        theta=theta,
        bread=_spread(parts.sum(axis=0), free),
        covariance=_spread(_left_out(parts, scores), free),
        freedom=max(len(parts) - (1 if cluster is not None else int(free.sum())), 1),
    )


def _spread(matrix: FloatArray, free: Flags) -> FloatArray:
    """A matrix over the free coordinates as one over all, with zeros where they are held."""
    whole = np.zeros((len(free), len(free)))
    whole[np.ix_(free, free)] = matrix
    return whole


def _left_out(parts: FloatArray, scores: FloatArray) -> FloatArray:
    """Sum over units of the square of how far the optimum moves, in one step, without the unit."""
    without = parts.sum(axis=0) - parts
    eigenvalues = np.linalg.eigvalsh(without)
    if (eigenvalues[:, 0] <= SINGULAR * eigenvalues[:, -1]).any():
        return np.full(parts.shape[1:], np.inf)
    moved = np.linalg.solve(without, scores[..., None])[..., 0]
    return moved.T @ moved


def _by_unit(rows: FloatArray, units: Units) -> FloatArray:
    total = np.zeros((int(units.max()) + 1, *rows.shape[1:]))
    np.add.at(total, units, rows)
    return total


def _window(residual: FloatArray) -> float:
    """Half the width over which a density at 0 is estimated from residuals (rows,).

    Hall & Sheather 1988, on the scale of the residuals (Koenker 2005, section 3.4.2).
    """
    low, high = np.quantile(residual, [0.25, 0.75])
    scale = min(residual.std(), (high - low) / NORMAL_IQR)
    mass = (norm.ppf(0.975) ** 2 * 1.5 * norm.pdf(0) ** 2 / len(residual)) ** (1 / 3)
    return max(float(2 * scale * norm.ppf(min(0.5 + mass, WIDEST))), NARROWEST)


def _stiffness(objective: Objective, residual: FloatArray, window: float) -> FloatArray:
    """Expected curvature of the loss of each residual: the rise of its slope over the window.

    For least squares that is the curvature. Near least absolute deviations it counts the residuals
    near 0, so it estimates their density (Powell 1991).
    """
    rise = objective.slope(residual + window) - objective.slope(residual - window)
    return rise / (2 * window)
