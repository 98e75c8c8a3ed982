"""From optima at several budgets to the frontier: what approaches 1 and 2 have in common.

N* and D* are each a line in logarithms, fitted on its own, so that a + b need not be 1 where C is
not 6ND (Hoffmann et al. 2022, arXiv:2203.15556, sections 3.1 and 3.2). L* is E + L_1 (C/C_1)^-c.
"""

from collections.abc import Sequence

import numpy as np

from scalefit.errors import FitError
from scalefit.fitting.bootstrap import intervals
from scalefit.fitting.parametric import domain, fitted_law
from scalefit.fitting.result import Fit, Point, Score, Status
from scalefit.laws import FORMS, Constraints, FloatArray
from scalefit.runs import Runs

FORM = FORMS["frontier"]
LEAST = 2  # points of a line; with two it has no error to be known
LOSSES = 4  # points of the law of L*: one more than it has constants
DECAYS = np.geomspace(0.005, 2.0, 121)
"""Values of c that are tried."""


def frontier(
    runs: Runs,
    points: Sequence[Point],
    draws: FloatArray,
    *,
    method: str,
    variant: str,
    interval: str,
    resampled: str,
    level: float,
    weights: FloatArray | None = None,
    notes: Sequence[str] = (),
) -> Fit:
    """Draw the frontier through the points that are used (whose ``note`` is empty).

    Args:
        runs: the table the points come from.
        points: optima by budget, used and unused.
        draws: (log N*, log D*, log L*) of every point in each replicate, shape (replicates,
            points, 3); NaN where a replicate has none.
        method: "envelope" or "isoflop".
        variant: which.
        interval: how the replicates were made.
        resampled: what they resample.
        level: confidence of the intervals.
        weights: of the points in the lines, shape (points,); those of unused points do not matter.
        notes: what to know of the fit.

    Raises:
        FitError: if fewer than two points are used.
    """
    used = np.array([not point.note for point in points], dtype=bool)
    if used.sum() < LEAST:
        reasons = "; ".join(dict.fromkeys(point.note for point in points if point.note))
        raise FitError(
            f"{runs.source}: {int(used.sum())} of {len(points)} budgets have an optimum "
            f"({reasons or 'there is one budget'}), and a frontier takes two or more"
        )
    log_c = np.log([point.flops for point in points])
    found = np.log(
        [[point.params or np.nan, point.tokens or np.nan, point.loss or np.nan] for point in points]
    )
    weigh = used * (np.ones(len(points)) if weights is None else weights)
    centre = float(log_c[used].mean())
    theta = constants(log_c - centre, found[None], weigh, centre)[0]
    drawn = constants(log_c - centre, draws, weigh, centre)
    drawn = drawn[np.isfinite(drawn[:, [2, 4]]).all(axis=1)]
    if len(drawn) and not np.isfinite(drawn[:, 5:]).any():
        theta[5:] = np.nan  # a law of L* of which nothing says how sure it is
    gone = np.vstack([theta, drawn])
    gone = np.isnan(gone) | (gone == 0)
    known = np.isfinite(theta)
    found_intervals = intervals(FORM, np.where(known, theta, 0.0), drawn, level, gone)
    return Fit(
        law=fitted_law(FORM, theta, runs),
        method=method,
        variant=variant,
        status=Status.CONVERGED if used.sum() > LEAST else Status.NOT_IDENTIFIED,
        objective=Score(
            name="mse-log", delta=None, value=_misfit(theta, log_c - centre, found, weigh)
        ),
        intervals={
            name: found_intervals[name]
            for name, given in zip(FORM.parameters, known, strict=True)
            if given and name != "C_1"
        },
        interval=interval,
        constraints=Constraints(),
        resampled=resampled,
        used=len(runs),
        dropped=tuple(runs.dropped),
        draws=drawn,
        certificate=None,
        domain=domain(("params", "tokens", "flops", "loss"), runs),
        points=tuple(points),
        notes=tuple(notes),
    )


def constants(
    log_c: FloatArray, optima: FloatArray, weights: FloatArray, centre: float
) -> FloatArray:
    """The frontier's constants for each batch of optima.

    Args:
        log_c: log(C/C_1), shape (points,).
        optima: log N*, log D*, log L*, shape (batch, points, 3); NaN where there is none.
        weights: of the points, shape (points,).
        centre: log C_1.

    Returns:
        theta of the form "frontier", shape (batch, 8); NaN where the points leave it open.
    """
    log_n, a = line(log_c, optima[..., 0], weights)
    log_d, b = line(log_c, optima[..., 1], weights)
    loss = decay(log_c, np.exp(optima[..., 2]), weights)
    anchor = np.full(len(optima), np.exp(centre))
    return np.concatenate(
        [np.stack([anchor, np.exp(log_n), a, np.exp(log_d), b], axis=1), loss], axis=1
    )


def line(x: FloatArray, y: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Level at x = 0 and slope of weighted least squares lines through the finite points.

    x and weights have shape (points,), y (batch, points); the results (batch,).
    """
    w = weights * np.isfinite(y)
    y = np.where(w > 0, y, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = w.sum(axis=1)
        x_mean, y_mean = (w * x).sum(axis=1) / total, (w * y).sum(axis=1) / total
        away = x - x_mean[:, None]
        slope = (w * away * y).sum(axis=1) / (w * away**2).sum(axis=1)
    enough = (w > 0).sum(axis=1) >= LEAST
    slope = np.where(enough, slope, np.nan)
    return y_mean - slope * x_mean, slope


def decay(x: FloatArray, loss: FloatArray, weights: FloatArray) -> FloatArray:
    """(E, L_1, c) of loss = E + L_1 exp(-c x) by least squared relative error; (batch, 3).

    Variable projection: for every c tried E >= 0 and L_1 are linear; the best c is then refined.
    x and weights have shape (points,), loss (batch, points). NaN with fewer than four points.
    """
    w = weights * np.isfinite(loss)
    safe = np.where(w > 0, loss, 1.0)
    decays = np.broadcast_to(DECAYS, (len(loss), len(DECAYS)))
    for width in (DECAYS[1] / DECAYS[0], 1.003, 1.0002, 1.00001):
        floor, height, cost = _linear(decays, x, safe, w)
        best = np.argmin(cost, axis=1)[:, None]
        at = np.take_along_axis(decays, best, axis=1)
        chosen = [np.take_along_axis(column, best, axis=1)[:, 0] for column in (floor, height)]
        decays = at * np.geomspace(1 / width, width, 41)
    found = np.stack([*chosen, at[:, 0]], axis=1)
    enough = (w > 0).sum(axis=1) >= LOSSES
    return np.where(enough[:, None], found, np.nan)


def _linear(
    decays: FloatArray, x: FloatArray, loss: FloatArray, w: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The best floor, height and their cost for each c (batch, tries)."""
    inverse = 1 / loss
    one = inverse[:, None]
    term = np.exp(-decays[..., None] * x) * one
    weigh = w[:, None]
    s11, s12, s22 = ((weigh * part).sum(axis=-1) for part in (one * one, one * term, term * term))
    t1, t2 = (weigh * one).sum(axis=-1), (weigh * term).sum(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = np.maximum((t1 * s22 - t2 * s12) / (s11 * s22 - s12**2), 0.0)
        height = np.maximum((t2 - s12 * floor) / s22, 0.0)
    misfit = floor[..., None] * one + height[..., None] * term - 1
    return floor, height, (weigh * misfit**2).sum(axis=-1)


def _misfit(theta: FloatArray, log_c: FloatArray, found: FloatArray, weights: FloatArray) -> float:
    """The weighted sum of squared residuals of log N* about its line."""
    residual = found[:, 0] - np.log(theta[1]) - theta[2] * log_c
    return float((weights * np.where(weights > 0, residual, 0.0) ** 2).sum())
