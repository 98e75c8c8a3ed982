"""Laws of one variable: a straight line in logarithms, with or without a floor.

L(N), L(D) and L(C) hold where nothing but that variable limits the loss (Kaplan et al. 2020,
arXiv:2001.08361, eqs. 1.1 to 1.3, without a floor; Henighan et al. 2020, arXiv:2010.14701, eq. 1.1,
with one). Kaplan's N leaves embeddings out, and his C, like Henighan's, is in PF-days where here
it is in FLOP: his C_c times 8.64e19.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalefit.laws.amplitudes import amplitudes
from scalefit.laws.base import Constant, FloatArray
from scalefit.laws.form import Form

EXPONENTS = (5e-3, 5.0)
"""The box of alpha: below it the crossover x_c, where L = 1, leaves the range of doubles."""
SCAN = np.geomspace(0.02, 2.0, 14)


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """What a law of one variable is a function of: its letter and its name in the runs table."""

    symbol: str
    variable: str


AXES = (
    Axis(symbol="N", variable="params"),
    Axis(symbol="D", variable="tokens"),
    Axis(symbol="C", variable="flops"),
)


class Power(Form):
    """L = (x_c/x)^alpha; theta = (x_c, alpha)."""

    scanned = ("alpha",)

    def __init__(self, axis: Axis) -> None:
        x = axis.symbol
        self.name = f"power-{x.lower()}"
        self.equation = f"L({x}) = ({x}_c/{x})^alpha"
        self.variables = (axis.variable,)
        self.driven = {axis.variable: "alpha"}  # type: ignore[misc] # one class, three variables
        self.constants = (
            Constant(f"{x}_c", scale="crossover", exponent="alpha", variable=axis.variable),
            Constant("alpha", *EXPONENTS, essential=True),
        )

    def formula(self, theta: Sequence[Any], *inputs: Any) -> Any:
        """The equation."""
        crossover, alpha = theta
        (x,) = inputs
        return np.exp(alpha * (np.log(crossover) - np.log(x)))

    def starts(
        self, inputs: tuple[FloatArray, ...], response: FloatArray, weights: FloatArray
    ) -> FloatArray:
        """The best x_c for every exponent scanned."""
        (x,) = inputs
        (height,) = amplitudes(_powers(x)[None] / response, weights, np.ones_like(response))
        return np.stack([_crossover(height, x), SCAN], axis=1)


class Offset(Power):
    """L = E + (x_c/x)^alpha; theta = (E, x_c, alpha)."""

    def __init__(self, axis: Axis) -> None:
        super().__init__(axis)
        x = axis.symbol
        self.name = f"offset-{x.lower()}"
        self.equation = f"L({x}) = E + ({x}_c/{x})^alpha"
        self.constants = (Constant("E"), *self.constants)

    def formula(self, theta: Sequence[Any], *inputs: Any) -> Any:
        """The equation."""
        floor, *power = theta
        return floor + super().formula(power, *inputs)

    def starts(
        self, inputs: tuple[FloatArray, ...], response: FloatArray, weights: FloatArray
    ) -> FloatArray:
        """The best E and x_c for every exponent scanned."""
        (x,) = inputs
        powers = _powers(x)
        terms = np.stack([powers, np.ones_like(powers)])
        height, floor = amplitudes(terms / response, weights, np.ones_like(response))
        return np.stack([floor, _crossover(height, x), SCAN], axis=1)


def _powers(x: FloatArray) -> FloatArray:
    """x^-alpha over its value mid-range for every exponent scanned, shape (points, rows)."""
    away = np.log(x) - np.log(x).mean()
    return np.asarray(np.exp(-SCAN[:, None] * away))


def _crossover(height: FloatArray, x: FloatArray) -> FloatArray:
    """The x_c of terms that are so high mid-range, for every exponent scanned."""
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray(np.exp(np.log(x).mean() + np.log(height) / SCAN))
