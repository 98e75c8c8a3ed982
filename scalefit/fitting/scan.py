"""Is there a better optimum anywhere? A branch-and-bound scan over the exponents.

With the exponents fixed, the rest of the fit has one optimum; what is left is a surface over the
exponents. A cell of it is excluded when the surface at its centre, less three times its slope there
times the size of the cell, still lies above the optimum; other cells are split. What cannot be
excluded shrinks to a neighbourhood of the optimum. The factor three is a margin for the slope's
change within a cell, not a bound on it: this is numerical evidence, not a proof.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from scalefit.fitting.objective import Objective
from scalefit.fitting.optimum import Optimum
from scalefit.fitting.result import Scan
from scalefit.fitting.solver import descend, expand, minimise, residuals, sharpest
from scalefit.laws import Derivatives, FloatArray, Model

MARGIN = 3.0
CELLS = 16  # along each axis at the start
FINEST = 1e-3  # half-width of the smallest cells, in log exponent
MOST = 40_000  # cells; a surface flat enough to need more is not determined by its runs
ROUNDED = 1e-2  # of the scale of the residuals
LOWER = 1e-8  # relative: a cell below the optimum by more holds a better one


class Frozen:
    """A model whose exponents do not move: their derivatives are hidden from the solver."""

    def __init__(self, model: Model, frozen: list[int]) -> None:
        self.names, self.held, self.rows = model.names, model.held, model.rows
        self.log_loss, self.lower, self.upper = model.log_loss, model.lower, model.upper
        self.predict, self.natural, self.starts = model.predict, model.natural, model.starts
        self.take = model.take
        self._model, self._frozen = model, frozen

    def expand(self, theta: FloatArray) -> Derivatives:
        """The law with the derivatives of what may move."""
        law = self._model.expand(theta)
        slopes = law.slopes.copy()
        slopes[:, self._frozen] = 0.0
        moving = (bend for bend in law.bends if not {bend.i, bend.j} & set(self._frozen))
        return replace(law, slopes=slopes, bends=tuple(moving))


def scan(
    objective: Objective, optimum: Optimum, weights: FloatArray, scanned: Sequence[str]
) -> Scan | None:
    """Scan the exponents of a fit; None where one of them is not free.

    Args:
        objective: of the fit.
        optimum: found on the full data.
        weights: of the rows, shape (rows,).
        scanned: the names of the exponents, none to two.
    """
    model = optimum.model
    if not scanned or not set(scanned) <= set(model.names):
        return None
    axes = [model.names.index(name) for name in scanned]
    limits = np.log([model.lower[axes], model.upper[axes]])
    half = (limits[1] - limits[0]) / (2 * CELLS)
    steps = (2 * np.arange(CELLS) + 1)[:, None] * half + limits[0]
    centres = np.stack(np.meshgrid(*steps.T), axis=-1).reshape(-1, len(axes))
    theta = np.tile(optimum.theta, (len(centres), 1))
    smooth, reference = _reference(objective, optimum, weights)
    best, seen, lowest = np.log(optimum.theta[axes]), 0, np.inf
    while True:
        theta[:, axes] = np.exp(centres)
        theta, value, slope = _surface(model, smooth, theta, weights, axes)
        seen, lowest = seen + len(centres), min(lowest, float(value.min()))
        reach = MARGIN * (np.abs(slope) * half).sum(axis=-1)
        far = np.abs(centres - best).max(axis=-1)
        # The slope vanishes at the optimum, so the cells about it are split, never excluded.
        open_ = (value - reach < reference) | (far <= 2 * half.max())
        if half.max() <= FINEST or seen + 2 ** len(axes) * open_.sum() > MOST:
            break
        half = half / 2
        corners = half * np.array(list(product((-1, 1), repeat=len(axes))))
        centres = (centres[open_, None] + corners).reshape(-1, len(axes))
        theta = np.repeat(theta[open_], len(corners), axis=0)
    return Scan(
        cells=seen,
        axes=tuple(scanned),
        low=float(np.exp(limits[0].min())),
        high=float(np.exp(limits[1].max())),
        radius=float(far[open_].max() + half.max()),
        lowest=lowest / reference if reference > 0 else 1.0,
        excluded=bool(half.max() <= FINEST and lowest >= reference * (1 - LOWER)),
    )


def _reference(
    objective: Objective, optimum: Optimum, weights: FloatArray
) -> tuple[Objective, float]:
    """The objective to scan by and its least value; a kink is rounded, which is much faster."""
    model = optimum.model
    residual = residuals(model, objective, model.predict(optimum.theta[None]))[0]
    scale = float(np.median(np.abs(residual)))
    if not objective.kinked or scale == 0:
        return sharpest(objective, scale), optimum.value
    smooth = objective.smoothed(ROUNDED * scale)
    return smooth, float(descend(model, smooth, optimum.theta[None], weights[None]).value[0])


def _surface(
    model: Model, smooth: Objective, theta: FloatArray, weights: FloatArray, axes: list[int]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """At each cell the rest of the fit, its objective and its slope in log exponent.

    By the envelope theorem the slope is that of the objective with the rest held still.
    """
    inner = minimise(Frozen(model, axes), smooth, theta, weights[None])
    exact = np.ones(len(theta), dtype=bool)
    weigh = np.broadcast_to(weights, (len(theta), model.rows))
    slope = expand(model, smooth, inner.theta, weigh, exact).gradient[axes].T
    return inner.theta, inner.value, slope * inner.theta[:, axes]
