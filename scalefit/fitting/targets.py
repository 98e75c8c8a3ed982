"""What an interval is about: a parameter, a planned exponent, or the optimum for a budget."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scalefit.errors import FitError
from scalefit.fitting.bootstrap import measured
from scalefit.laws import FloatArray, Form, Model

Quantity = Callable[[FloatArray], FloatArray]
"""A number that follows from a law: parameters (..., parameters) -> (...)."""
PLANNED = ("params", "tokens", "loss")
STEP = 1e-4  # of the differences, in coordinates of order 1: errors near 1e-11
BENDING = 3e-4  # of second differences: errors near 1e-6, which only slow a search
STENCIL = np.array([-2.0, -1.0, 1.0, 2.0])
COEFFICIENTS = np.array([1.0, -8.0, 8.0, -1.0]) / 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A quantity and the scale on which its errors are nearly symmetric.

    Attributes:
        of: the quantity.
        log: whether that scale is logarithmic.
        least: the least value the quantity can have.
    """

    of: Quantity
    log: bool = False
    least: float = -np.inf

    def scaled(self, natural: FloatArray) -> FloatArray:
        """On that scale, for the law's parameters (..., parameters)."""
        value = self.of(natural)
        with np.errstate(divide="ignore", invalid="ignore"):
            logarithm: FloatArray = np.log(value) if self.log else value
        return logarithm

    def unscaled(self, scaled: float) -> float:
        """Back from that scale, and not below the least value."""
        return float(np.exp(scaled)) if self.log else max(scaled, self.least)

    def slope(self, model: Model, theta: FloatArray) -> FloatArray:
        """Derivatives of the scaled quantity by the coordinates at theta (batch, p), same shape.

        Five-point differences: a quantity may be any function of the law.
        """
        batch, p = theta.shape
        points = theta[:, None, None] + STEP * STENCIL[:, None, None] * np.eye(p)
        values = self.scaled(model.natural(points.reshape(-1, p))).reshape(batch, len(STENCIL), p)
        slope: FloatArray = np.einsum("k,bkp->bp", COEFFICIENTS / STEP, values)
        return slope

    def bend(self, model: Model, theta: FloatArray) -> FloatArray:
        """Second derivatives by the coordinates at theta (p,), shape (p, p)."""
        shifts = BENDING * np.eye(len(theta))
        above, below = self.slope(model, theta + shifts), self.slope(model, theta - shifts)
        half = (above - below) / (4 * BENDING)
        return half + half.T


def target(form: Form, quantity: str | Quantity | Target) -> Target:
    """What a name stands for: a parameter of the form, or "a" or "b" of N* ~ C^a, D* ~ C^b.

    Raises:
        FitError: if the form has no quantity of this name.
    """
    if isinstance(quantity, Target):
        return quantity
    if not isinstance(quantity, str):
        return Target(of=quantity)
    if quantity in form.parameters:
        index, constant = form.parameters.index(quantity), form.constant(quantity)
        return Target(
            of=lambda natural: natural[..., index],
            log=constant.scale != "plain",
            least=min(constant.low, 0.0),
        )
    if quantity in measured(form):
        index = "ab".index(quantity)
        return Target(of=lambda natural: form.exponents(natural)[..., index], least=0.0)
    names = ", ".join(measured(form))
    raise FitError(f"{form.equation} has no quantity {quantity!r}; it has {names}")


def planned(form: Form, quantity: str, flops: float) -> Target:
    """The optimum's "params" N*, "tokens" D* or "loss" L* for a budget of ``flops`` FLOP.

    Raises:
        FitError: if the plan has no quantity of this name.
    """
    if quantity not in PLANNED:
        raise FitError(f"a plan has no quantity {quantity!r}; it has {', '.join(PLANNED)}")
    budget = np.asarray(flops, dtype=np.float64)

    def of(natural: FloatArray) -> FloatArray:
        value: FloatArray = getattr(form.optimum(natural, budget), quantity)
        return value

    return Target(of=of, log=True)
