"""Evidence that an optimum is the global one, gathered from the polished starts."""

from collections.abc import Sequence

import numpy as np

from scalefit.fitting.objective import Objective
from scalefit.fitting.optimum import Optimum
from scalefit.fitting.result import Certificate
from scalefit.fitting.scan import scan
from scalefit.fitting.solver import EXACT, expand, residuals, sharpest
from scalefit.laws import FloatArray

AGREE = 1e-9  # relative difference of objectives that counts as the same optimum
AGREE_KINKED = 1e-7  # and where only the best start is polished into its kink
FLAT = 1e300  # stands for the condition number of a flat direction


def certify(
    objective: Objective,
    optimum: Optimum,
    weights: FloatArray,
    replicates: tuple[int, int],
    *,
    scanned: Sequence[str],
) -> Certificate:
    """Measure the optimum: who agrees, how flat it is, what lies second, which bounds hold it."""
    model, theta = optimum.model, optimum.theta
    free = (theta > model.lower) & (theta < model.upper)
    exact = np.ones(1, dtype=bool)
    residual = residuals(model, objective, model.predict(theta[None]))[0]
    sharp = sharpest(objective, float(np.median(np.abs(residual))))
    local = expand(model, sharp, theta[None], weights[None], exact)
    eigenvalues, scale = _scaled(local.hessian[:, :, 0][np.ix_(free, free)])
    gradient = local.gradient[:, 0] if optimum.slope is None else optimum.slope
    slope = np.abs(gradient[free]) / scale
    rounding = EXACT * sharp.stiffness * weights.sum()
    slack = AGREE_KINKED if objective.kinked else AGREE
    agree = optimum.values - rounding <= optimum.value * (1 + slack)
    others = optimum.values[~agree]
    return Certificate(
        starts=len(optimum.values),
        agreeing=int(agree.sum()),
        gradient=float(slope.max(initial=0.0) / np.sqrt(max(optimum.value, 1 / FLAT))),
        curvature=float(eigenvalues.min(initial=1.0)),
        condition=_condition(eigenvalues),
        second_basin=float(others.min() / optimum.value) if len(others) else None,
        bounds=(
            *model.held,
            # A floor of 0 is a law without a floor, not a bound of the search.
            *(model.names[i] for i in np.flatnonzero(~free) if theta[i] != 0.0),
        ),
        scan=scan(objective, optimum, weights, scanned),
        replicates=replicates,
    )


def _scaled(hessian: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues of the Hessian scaled to unit diagonal, and the scales sqrt(diagonal)."""
    scale = np.sqrt(np.maximum(np.diag(hessian), 1 / FLAT))
    return np.linalg.eigvalsh(hessian / np.outer(scale, scale)), scale


def _condition(eigenvalues: FloatArray) -> float:
    least = float(eigenvalues.min(initial=1.0))
    return float(eigenvalues.max(initial=1.0)) / least if least > 0 else FLAT
