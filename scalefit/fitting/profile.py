"""How sure, along the objective itself: the range of a quantity over all laws that fit well enough.

The limits of g are its least and largest values where F <= F_best + threshold. They keep to what a
law may be, are the same in all coordinates, and see that the objective is no parabola.

The threshold is v t^2/2, with t the quantile of Student's distribution (t^2 -> chi2_1 with many
runs) and v = (g' V g) / (g' B^-1 g) from the sandwich, g' the slope of g: the variance of the
estimate over what it would be were F a negative log likelihood, without which F does not know its
own scale (Kent 1982, Biometrika 69:19; for M-estimators Heritier & Ronchetti 1994, JASA 89:897).
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from scalefit.fitting.bootstrap import Units
from scalefit.fitting.objective import Objective
from scalefit.fitting.optimum import POSITIVE, Limits, Optimum, admissible, find
from scalefit.fitting.sandwich import Sandwich, sandwich
from scalefit.fitting.solver import expand, residuals, value
from scalefit.fitting.targets import Quantity, Target, target
from scalefit.laws import Flags, FloatArray, Form, Model
from scalefit.laws.affine import LEEWAY

MAX_STEPS = 300
MET = 1e-6  # of the threshold: how closely a limit must meet the constraint
ALIGNED = 1e-3  # sine of the angle left between the slopes of g and F; g is off by half its square
SETTLED = 1e-2  # of both: where the search stops
FINE = 0.1  # what bends within this fraction of a median residual is rounded
DAMPING, NEGLIGIBLE, STUCK = 1e-3, 1e-9, 1e9
SAFETY = 2.0  # a violated constraint costs this times its worth at the limit
ROUNDING = 1e-14
STILL = 1e-9  # of a quantity: slopes that are but the rounding of its differences
FLAT = 1e-15  # of the largest curvature: what a direction without any is given


def profile(
    models: Sequence[Model],
    objective: Objective,
    optimum: Optimum,
    form: Form,
    quantity: str | Quantity | Target,
    level: float,
    *,
    cluster: Units | None = None,
    base: FloatArray | None = None,
    limits: Limits = POSITIVE,
) -> tuple[float | None, float | None]:
    """Profile limits of a quantity.

    Args:
        models: of the form on the runs, widest first.
        objective: what was minimised.
        optimum: its optimum.
        form: the law's form.
        quantity: a parameter's name, "a", "b", a target (``planned``) or any smooth function of the
            law's parameters, (..., parameters) -> (...).
        level: confidence.
        cluster: each row's run by number, None if every row is a run of its own.
        base: the rows' own weights.
        limits: of an admissible law's parameters.

    Returns:
        The low and the high limit; None where the runs leave that side open, or where no limit
        could be verified.

    Raises:
        FitError: if the form has no quantity of this name.
    """
    aim = target(form, quantity)
    local = sandwich(models, objective, optimum, cluster, base=base)
    slope = aim.slope(local.model, local.theta[None])[0]
    size = max(1.0, abs(float(aim.scaled(optimum.natural))))
    if np.abs(slope).max(initial=0.0) <= STILL * size:  # nothing that is fitted moves it
        fixed = float(aim.of(optimum.natural))
        return fixed, fixed
    threshold = _threshold(local, slope, level)
    if not np.isfinite(threshold):
        return None, None
    smooth = _smooth(objective, local)
    weights = (np.ones(models[0].rows) if base is None else base)[None]
    best = float(value(optimum.model, smooth, optimum.theta[None], weights)[0])
    search = _Search(
        objective=smooth,
        weights=weights,
        target=aim,
        sign=1.0,
        optimum=float(aim.scaled(optimum.natural)),
        ceiling=best + threshold,
        threshold=threshold,
    )
    starts = list(zip(models, optimum.bests, strict=True))
    low, high = (
        _limit(starts, replace(search, sign=sign), form.parameters, limits) for sign in (-1.0, 1.0)
    )
    return low, high


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """Where sign * target is largest while the objective stays under its ceiling."""

    objective: Objective
    weights: FloatArray
    target: Target
    sign: float
    optimum: float
    ceiling: float
    threshold: float

    def at(self, model: Model, theta: FloatArray) -> "_Point":
        """Everything known at theta (p,): the expansion to the second order of F, and of g."""
        twice, exact = np.stack([theta, theta]), np.array([True, False])
        fit = expand(model, self.objective, twice, self.weights, exact)
        return _Point(
            theta=theta,
            cost=float(fit.value[0]),
            gradient=fit.gradient[:, 0],
            hessian=fit.hessian[:, :, 0],
            parabola=fit.hessian[:, :, 1],
            reach=self.sign * float(self.target.scaled(model.natural(theta[None]))[0]),
            slope=self.sign * self.target.slope(model, theta[None])[0],
            bend=self.sign * self.target.bend(model, theta),
        )

    def lowest(self, model: Model) -> FloatArray:
        """Where the objective is least, shape (p,)."""
        return find([model], self.objective, self.weights[0]).bests[0]

    def merit(self, point: "_Point", price: float) -> float:
        """What the search increases: the target, less what the violation of the ceiling costs."""
        violation = max(point.cost - self.ceiling, 0.0)
        return point.reach - price * violation if violation <= self.threshold else -np.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    theta: FloatArray
    cost: float
    gradient: FloatArray
    hessian: FloatArray
    parabola: FloatArray  # the IRLS Hessian, never negative
    reach: float
    slope: FloatArray
    bend: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """The way to the limit of the local model: its ellipsoid's point farthest along the slope."""

    move: FloatArray
    price: float  # target gained per objective allowed: the multiplier of the constraint
    sine: float  # of the angle between the two slopes


def _threshold(local: Sandwich, slope: FloatArray, level: float) -> float:
    variance = local.variance(slope)
    if not np.isfinite(variance):
        return np.inf
    free = np.diag(local.bread) > 0
    naive = slope[free] @ np.linalg.solve(local.bread[np.ix_(free, free)], slope[free])
    return float(variance / naive * local.quantile(level) ** 2 / 2)


def _smooth(objective: Objective, local: Sandwich) -> Objective:
    """The objective with its kinks rounded, so that its slope tells where the limit lies."""
    predicted = local.model.predict(local.theta[None])
    scale = float(np.median(np.abs(residuals(local.model, objective, predicted)[0])))
    return objective.smoothed(max(FINE * scale, ROUNDING))


def _limit(
    starts: Sequence[tuple[Model, FloatArray]],
    search: _Search,
    parameters: tuple[str, ...],
    limits: Limits,
) -> float | None:
    """The limit over the first model if it is an admissible law, else the best of the others."""
    reached, least = [], search.sign * search.optimum
    for number, (model, start) in enumerate(starts):
        point = search.at(model, start if number == 0 else search.lowest(model))
        if point.cost > search.ceiling:
            continue  # no law of this model fits well enough
        end = _edge(model, search, point)
        if end is None:
            return None
        natural = model.natural(end.theta[None])[0]
        if admissible(natural[None], limits)[0]:
            stopped = _stopped(model, end, natural, parameters, limits)
            reached.append((end.reach, stopped or not np.isfinite(end.slope).all()))
            if number == 0 and end.reach >= least:
                break
    reach, stopped = max(reached, default=(0.0, True))
    return None if stopped or reach < least else search.target.unscaled(search.sign * reach)


def _stopped(
    model: Model,
    end: "_Point",
    natural: FloatArray,
    parameters: tuple[str, ...],
    limits: Limits,
) -> bool:
    """Whether the end lies on an edge of the coordinates that is no limit of a law."""
    low, high = limits
    limited = (natural <= low * (1 + LEEWAY)) | (natural >= high * (1 - LEEWAY))
    allowed = dict(zip(parameters, limited.tolist(), strict=True))
    edge = (end.theta <= model.lower) | (end.theta >= model.upper)
    return any(on and not allowed.get(name) for name, on in zip(model.names, edge, strict=True))


def _edge(model: Model, search: _Search, point: "_Point") -> "_Point | None":
    """Where the target is largest under the ceiling; None if that cannot be verified.

    Sequential quadratic programming: F is replaced by its parabola and g by its slope, for which
    the limit is known in closed form; a step that gains nothing is damped (Levenberg).
    """
    damping, worth = DAMPING, 0.0
    if not point.slope.any():
        return point
    for _ in range(MAX_STEPS):
        step = _step(model, search, point, damping, worth)
        if damping > STUCK or _verified(search, point, step, SETTLED):
            break
        if not step.price and point.cost <= search.ceiling:
            return point  # on an edge of the coordinates, beyond which the target cannot go
        trial = search.at(model, np.clip(point.theta + step.move, model.lower, model.upper))
        if not np.isfinite(trial.slope).all():
            return trial  # beyond the laws for which the target means something
        before = search.merit(point, SAFETY * step.price)
        if search.merit(trial, SAFETY * step.price) > before - ROUNDING * abs(before):
            point, damping = trial, damping / 10 if damping > NEGLIGIBLE else 0.0
            worth = 1 / step.price if step.price else 0.0
        else:
            damping = damping * 8 + NEGLIGIBLE
    return point if _verified(search, point, step, 1.0) else None


def _verified(search: _Search, point: _Point, step: _Step, fraction: float) -> bool:
    met = abs(point.cost - search.ceiling) <= fraction * MET * search.threshold
    return met and step.sine <= fraction * ALIGNED


def _step(model: Model, search: _Search, point: _Point, damping: float, worth: float) -> _Step:
    """Coordinates that the step would push through the box stay where they are."""
    free = np.ones(len(point.theta), dtype=bool)
    while True:
        step = _free_step(search, point, damping, worth, free)
        out = (point.theta <= model.lower) & (step.move < 0)
        out |= (point.theta >= model.upper) & (step.move > 0)
        if not out.any() or (free == out).all():
            return step
        free &= ~out


def _free_step(search: _Search, point: _Point, damping: float, worth: float, free: Flags) -> _Step:
    """Maximise slope'd where cost + gradient'd + d'Md/2 <= ceiling, over the free coordinates."""
    factor = _factor(point, damping, worth, free)
    gradient, slope = point.gradient[free], point.slope[free]
    down, along = cho_solve(factor, np.stack([-gradient, slope], axis=1)).T
    steep, far, across = -gradient @ down, slope @ along, gradient @ along
    room = max(2 * (search.ceiling - point.cost) + steep, 0.0)
    move = np.zeros_like(point.theta)
    move[free] = down + (np.sqrt(room / far) if far > 0 else 0.0) * along
    cosine = across / np.sqrt(far * steep) if far > 0 and steep > 0 else 0.0
    return _Step(
        move=move,
        price=float(np.sqrt(far / max(room, steep))),
        sine=float(np.sqrt(max(1 - cosine**2, 0.0))) if cosine > 0 else np.inf,
    )


def _factor(point: _Point, damping: float, worth: float, free: Flags) -> tuple[FloatArray, bool]:
    """Cholesky factor of the metric in which a step is short.

    The Hessian of F less that of g, at what the target is worth in F, or where that is not
    positive, of F alone or of its parabola.
    """
    inside = np.ix_(free, free)
    for matrix in (point.hessian - worth * point.bend, point.hessian, point.parabola):
        with suppress(np.linalg.LinAlgError):
            return _damped(matrix[inside], damping)
    return _damped(point.parabola[inside], damping + 1.0)


def _damped(matrix: FloatArray, damping: float) -> tuple[FloatArray, bool]:
    diagonal = np.abs(np.diag(matrix))
    stiffer = matrix + np.diag(damping * diagonal + FLAT * diagonal.max())
    return cast("tuple[FloatArray, bool]", cho_factor(stiffer))
