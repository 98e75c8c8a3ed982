"""What a fit minimises: a loss of residuals, summed over runs.

Summed, never averaged: at delta = 1e-3 the sum is about 1e-3 and its mean about 4e-6, where
default tolerances of general optimisers stop early.

Every objective here is one function: its slope is stiffness * r, clipped to [-under, over]. With a
finite stiffness and finite clips that is Huber's loss, without clips least squares, with an
infinite stiffness least absolute deviations, and with unequal clips its asymmetric kin.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from scalefit.errors import FitError
from scalefit.laws.base import FloatArray

ADAPTIVE = 1.345  # Huber's constant: 95 % efficient when the noise is Gaussian after all
TO_SD = 1.4826  # the median absolute deviation of Gaussian noise times this is its sd


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A loss of the residual r of model against measurement.

    Attributes:
        name: as the command line calls it.
        over, under: the largest slope where the model lies over or under the measurement.
        stiffness: the curvature near r = 0; infinite for a kink.
        log: whether r = log(model) - log(loss), or model - loss in the loss's own unit.
        delta: Huber's threshold, for the record.
    """

    name: str
    over: float
    under: float
    stiffness: float
    log: bool
    delta: float | None = None

    @property
    def kinked(self) -> bool:
        """Whether the loss has a kink at r = 0."""
        return self.stiffness == np.inf

    @property
    def width(self) -> float:
        """How far from r = 0 the loss is still a parabola."""
        return min(self.over, self.under) / self.stiffness

    def smoothed(self, width: float) -> "Objective":
        """The same slopes far away, but a parabola within about ``width`` of r = 0."""
        return replace(self, stiffness=min(self.stiffness, max(self.over, self.under) / width))

    def value(self, residual: FloatArray, slope: FloatArray | None = None) -> FloatArray:
        """Loss of each residual, given its slope if that is known."""
        if self.kinked:
            return np.where(residual > 0, self.over * residual, -self.under * residual)
        slope = self.slope(residual) if slope is None else slope
        return np.asarray(slope * (residual - 0.5 / self.stiffness * slope), dtype=np.float64)

    def slope(self, residual: FloatArray) -> FloatArray:
        """First derivative."""
        return np.clip(self.stiffness * residual, -self.under, self.over)

    def curvature(self, residual: FloatArray) -> FloatArray:
        """Second derivative: the stiffness where the slope is not clipped, else 0."""
        pull = self.stiffness * residual
        inside = (pull > -self.under) & (pull < self.over)
        return np.where(inside, self.stiffness, 0.0)

    def majorant(self, residual: FloatArray) -> FloatArray:
        """Slope over residual: the curvature of a parabola that lies on or above the loss.

        Exactly above for equal slopes (iteratively reweighted least squares); a good model of the
        way down for unequal ones.
        """
        pull = np.abs(residual) * self.stiffness
        limit = np.where(residual > 0, self.over, self.under)
        result: FloatArray = self.stiffness * np.minimum(1.0, limit / np.maximum(pull, 1e-300))
        return result


def huber(delta: float = 1e-3) -> Objective:
    """Huber's loss of log residuals: r^2/2 inside delta, delta(|r| - delta/2) outside.

    Hoffmann et al. 2022, eq. 3 (delta = 1e-3); Huber 1964.
    """
    return Objective(
        name="huber-log", over=delta, under=delta, stiffness=1.0, log=True, delta=delta
    )


LEAST_SQUARES = Objective(name="mse-log", over=np.inf, under=np.inf, stiffness=2.0, log=True)
"""The sum of squared log residuals."""

RAW_LEAST_SQUARES = replace(LEAST_SQUARES, name="mse", log=False)
"""The sum of squared residuals in the loss's own unit."""

LEAST_DEVIATIONS = Objective(name="lad-log", over=1.0, under=1.0, stiffness=np.inf, log=True)
"""The sum of absolute log residuals."""

ASYMMETRIC = Objective(name="asymmetric-mae", over=10.0, under=1.0, stiffness=np.inf, log=False)
"""The sum of absolute residuals, tenfold where the model lies over the measurement, so that it
follows the lower edge of the runs (the objective of the ``chinchilla`` package)."""

OBJECTIVES: Mapping[str, Callable[[float], Objective]] = {
    "huber-log": huber,
    "lad-log": lambda _: LEAST_DEVIATIONS,
    "mse-log": lambda _: LEAST_SQUARES,
    "mse": lambda _: RAW_LEAST_SQUARES,
    "asymmetric-mae": lambda _: ASYMMETRIC,
}
"""By name, given Huber's threshold, which the others ignore."""


def objective_named(name: str, delta: float) -> Objective:
    """The objective called ``name``.

    Raises:
        FitError: if there is none, or the threshold is not a positive number.
    """
    if name not in OBJECTIVES:
        raise FitError(f"no objective is called {name!r}; there is {', '.join(OBJECTIVES)}")
    if not 0 < delta < np.inf:
        raise FitError(f"delta is {delta}; Huber's threshold must be a positive number like 1e-3")
    return OBJECTIVES[name](delta)


def adaptive_delta(residual: FloatArray) -> float:
    """1.345 robust standard deviations of log residuals (Huber 1964), for ``huber``."""
    return float(ADAPTIVE * TO_SD * np.median(np.abs(residual - np.median(residual))))
