"""What a fit minimises: a sum over runs of a loss of the residual log(model) - log(measured).

Summed, never averaged: at delta = 1e-3 the sum is about 1e-3 and its mean about 4e-6, where
default tolerances of general optimisers stop early.
"""

from dataclasses import dataclass

import numpy as np

from scalefit.laws.base import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Huber:
    """Huber's loss of log residuals: r^2/2 inside delta, delta(|r| - delta/2) outside.

    Hoffmann et al. 2022, eq. 3 (delta = 1e-3); Huber 1964.
    """

    delta: float = 1e-3
    name: str = "huber-log"

    def value(self, residual: FloatArray) -> FloatArray:
        """Loss of each residual."""
        inside = self.slope(residual)
        result: FloatArray = inside * (residual - 0.5 * inside)
        return result

    def slope(self, residual: FloatArray) -> FloatArray:
        """First derivative."""
        return np.clip(residual, -self.delta, self.delta)

    def curvature(self, residual: FloatArray) -> FloatArray:
        """Second derivative: 1 inside delta, 0 outside."""
        return (np.abs(residual) < self.delta).astype(np.float64)

    def majorant(self, residual: FloatArray) -> FloatArray:
        """Curvature of the parabola that touches the loss at r from above (IRLS weight)."""
        result: FloatArray = self.delta / np.maximum(np.abs(residual), self.delta)
        return result
