"""How much the losses of runs differ by chance, told by seeds and by the scatter of crossings."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import f as variance_ratio

from scalefit.frontiers.curves import Curves, Sizes
from scalefit.frontiers.readings import crossings, steepness
from scalefit.laws import FloatArray

UNLIKELY = 0.05  # so seldom do sizes scatter so much more than seeds if nothing else is behind it


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What every run's curve is off by as a whole, in log loss.

    Attributes:
        variance: of one run.
        freedom: degrees of freedom by which it is known; 0 if it is not.
        by_seeds: whether there are runs that differ in seed alone.
        beyond: whether crossings scatter more than those explain; they alone count then.
        errors: standard error of log C at each crossing, in their order; NaN if unknown.
        attenuation: part of the variance of log C among crossings that is noise.
    """

    variance: float
    freedom: int
    by_seeds: bool
    beyond: bool
    errors: FloatArray
    attenuation: float


def noise(found: Curves, sizes: Sizes) -> Noise:
    """Pool the scatter of crossings about their line with that of seeds, unless they differ."""
    seeds, by_seeds = found.spread()
    where = crossings(sizes)
    steep = steepness(sizes, where)
    good = np.isfinite(steep) & (steep > 0)
    moved = np.zeros((len(good), len(sizes.log_n)))  # of log C, by one unit of noise in a run
    each = np.arange(len(good))[good]
    for sign, size in zip((-1, 1), where.pair, strict=True):
        moved[each, size[good]] = sign / steep[good] / np.sqrt(sizes.seeds[size[good]])
    log_n = sizes.log_n[where.pair].mean(axis=0)
    squares, freedom = _scatter(where.log_c[good], log_n[good], moved[good])
    beyond = False
    if freedom and by_seeds:
        ratio = (squares / freedom) / (seeds / by_seeds) if seeds else np.inf
        beyond = bool(variance_ratio.sf(ratio, freedom, by_seeds) < UNLIKELY)
    if not beyond:
        squares, freedom = squares + seeds, freedom + by_seeds
    variance = squares / freedom if freedom else 0.0
    errors = np.where(good, np.sqrt(variance * (moved**2).sum(axis=1)), np.nan)
    spread = float(np.var(where.log_c[good], ddof=1)) if good.sum() > 1 else np.inf
    return Noise(
        variance=variance,
        freedom=freedom,
        by_seeds=by_seeds > 0,
        beyond=beyond,
        errors=errors if freedom else np.full(len(good), np.nan),
        attenuation=float((errors[good] ** 2).mean() / spread) if good.any() else 0.0,
    )


def _scatter(log_c: FloatArray, log_n: FloatArray, moved: FloatArray) -> tuple[float, int]:
    """Squares and freedom of the noise of runs that has moved crossings off their line.

    Log N of a crossing is known and its log C is not, so that is what has errors; neighbours share
    a run, so the line is by generalised least squares. ``moved``, (crossings, sizes), is what a
    unit of noise in a run of each size adds to log C; the others have shape (crossings,).
    """
    freedom = len(log_c) - 2
    if freedom <= 0:
        return 0.0, 0
    root = np.linalg.cholesky(moved @ moved.T)
    design = np.linalg.solve(root, np.stack([np.ones_like(log_n), log_n], axis=1))
    left = np.linalg.lstsq(design, np.linalg.solve(root, log_c), rcond=None)[1]
    return float(left.sum()), freedom
