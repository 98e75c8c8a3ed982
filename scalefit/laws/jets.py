"""Numbers that carry their first and second derivatives through any NumPy expression.

A jet is the Taylor expansion of a number to the second order in p variables. Arithmetic and NumPy's
elementary functions act on jets by the chain rule, so that an equation written once, for arrays,
also gives exact derivatives (forward-mode differentiation: Griewank & Walther 2008, chapter 13).
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scalefit.laws.base import FloatArray

Curve = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
"""f' and f'' of a function of one variable, given x and f(x)."""


class Jet:
    """value (batch, n), first derivatives (batch, p, n), second derivatives (batch, p, p, n).

    Trailing axes of length one stand for a number that is the same for every n.
    """

    __slots__ = ("first", "second", "value")

    def __init__(self, value: FloatArray, first: FloatArray, second: FloatArray) -> None:
        self.value, self.first, self.second = value, first, second

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or kwargs:
            return NotImplemented
        if ufunc in COMPARISONS:
            return ufunc(*(x.value if isinstance(x, Jet) else x for x in inputs))
        if ufunc in UNARY:
            value = ufunc(self.value)
            return self.through(value, *UNARY[ufunc](self.value, value))
        return BINARY[ufunc](*inputs) if ufunc in BINARY else NotImplemented

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function is np.where and not kwargs:
            return _where(*args)
        return NotImplemented

    def through(self, value: FloatArray, slope: FloatArray, bend: FloatArray) -> "Jet":
        """F of this, given f, f' and f'' there."""
        square = self.first[:, :, None] * self.first[:, None]
        return Jet(
            value,
            slope[:, None] * self.first,
            slope[:, None, None] * self.second + bend[:, None, None] * square,
        )

    def __add__(self, other: Any) -> "Jet":
        if not isinstance(other, Jet):
            return Jet(self.value + other, self.first, self.second)
        return Jet(self.value + other.value, self.first + other.first, self.second + other.second)

    def __mul__(self, other: Any) -> "Jet":
        if not isinstance(other, Jet):
            return Jet(self.value * other, self.first * other, self.second * other)
        a, b = self, other
        cross = a.first[:, :, None] * b.first[:, None]
        return Jet(
            a.value * b.value,
            a.first * b.value[:, None] + b.first * a.value[:, None],
            a.second * b.value[:, None, None]
            + b.second * a.value[:, None, None]
            + cross
            + cross.swapaxes(1, 2),
        )

    def __neg__(self) -> "Jet":
        return Jet(-self.value, -self.first, -self.second)

    def __sub__(self, other: Any) -> "Jet":
        return self.__add__(-other)

    def __rsub__(self, other: Any) -> "Jet":
        return (-self).__add__(other)

    def __truediv__(self, other: Any) -> "Jet":
        return self.__mul__(1 / other)

    def __rtruediv__(self, other: Any) -> "Jet":
        inverse = 1 / self.value
        jet = self.through(inverse, -(inverse**2), 2 * inverse**3)
        return jet if isinstance(other, int | float) and other == 1 else jet * other

    def __pow__(self, power: Any) -> "Jet":
        if isinstance(power, Jet):
            return _exp(power * _log(self))
        x, power = self.value, np.asarray(power, dtype=np.float64)
        slope = power * x ** (power - 1)
        return self.through(x**power, slope, power * (power - 1) * x ** (power - 2))

    def __rpow__(self, base: Any) -> "Jet":
        return _exp(self * np.log(base))

    __radd__, __rmul__ = __add__, __mul__

    def __lt__(self, other: Any) -> Any:
        return self.__array_ufunc__(np.less, "__call__", self, other)

    def __le__(self, other: Any) -> Any:
        return self.__array_ufunc__(np.less_equal, "__call__", self, other)

    def __gt__(self, other: Any) -> Any:
        return self.__array_ufunc__(np.greater, "__call__", self, other)

    def __ge__(self, other: Any) -> Any:
        return self.__array_ufunc__(np.greater_equal, "__call__", self, other)


def variables(theta: FloatArray) -> tuple[Jet, ...]:
    """The coordinates theta (batch, p) as jets in themselves, each of value (batch, 1)."""
    p = theta.shape[-1]
    still = np.zeros((1, p, p, 1))
    return tuple(Jet(theta[:, [i]], np.eye(p)[None, :, [i]], still) for i in range(p))


def _exp(x: Jet) -> Jet:
    value = np.exp(x.value)
    return x.through(value, value, value)


def _log(x: Jet) -> Jet:
    return x.through(np.log(x.value), 1 / x.value, -1 / x.value**2)


def _where(condition: Any, yes: Any, no: Any) -> Jet:
    either = yes if isinstance(yes, Jet) else no
    yes, no = (x if isinstance(x, Jet) else either * 0.0 + x for x in (yes, no))
    chosen = np.broadcast_to(
        condition, np.broadcast_shapes(np.shape(condition), either.value.shape)
    )
    return Jet(
        np.where(chosen, yes.value, no.value),
        np.where(chosen[:, None], yes.first, no.first),
        np.where(chosen[:, None, None], yes.second, no.second),
    )


def _logaddexp(a: Any, b: Any) -> Jet:
    """log(exp a + exp b) = a + softplus(b - a)."""
    gap = b - a
    above = np.logaddexp(0.0, gap.value)
    share = np.exp(gap.value - above)
    softplus: Jet = gap.through(above, share, share * (1 - share))
    return softplus.__add__(a)


def _swapped(method: Callable[[Jet, Any], Jet], reverse: Callable[[Jet, Any], Jet]) -> Any:
    def act(a: Any, b: Any) -> Jet:
        return method(a, b) if isinstance(a, Jet) else reverse(b, a)

    return act


COMPARISONS: Sequence[np.ufunc] = (
    np.less, np.less_equal, np.greater, np.greater_equal, np.isfinite, np.isnan,
)  # fmt: skip
BINARY: dict[np.ufunc, Callable[[Any, Any], Jet]] = {
    np.add: _swapped(Jet.__add__, Jet.__radd__),
    np.subtract: _swapped(Jet.__sub__, Jet.__rsub__),
    np.multiply: _swapped(Jet.__mul__, Jet.__rmul__),
    np.divide: _swapped(Jet.__truediv__, Jet.__rtruediv__),
    np.power: _swapped(Jet.__pow__, Jet.__rpow__),
    np.minimum: lambda a, b: _where(np.less(a, b), a, b),
    np.maximum: lambda a, b: _where(np.less(a, b), b, a),
    np.logaddexp: _logaddexp,
}
UNARY: dict[np.ufunc, Curve] = {
    np.negative: lambda x, _: (np.full_like(x, -1.0), np.zeros_like(x)),
    np.exp: lambda _, f: (f, f),
    np.expm1: lambda _, f: (f + 1, f + 1),
    np.log: lambda x, _: (1 / x, -1 / x**2),
    np.log2: lambda x, _: (1 / x / np.log(2), -1 / x**2 / np.log(2)),
    np.log10: lambda x, _: (1 / x / np.log(10), -1 / x**2 / np.log(10)),
    np.log1p: lambda x, _: (1 / (1 + x), -1 / (1 + x) ** 2),
    np.sqrt: lambda x, f: (0.5 / f, -0.25 / f / x),
    np.square: lambda x, _: (2 * x, np.full_like(x, 2.0)),
    np.reciprocal: lambda _, f: (-(f**2), 2 * f**3),
    np.abs: lambda x, _: (np.sign(x), np.zeros_like(x)),
    np.tanh: lambda _, f: (1 - f**2, -2 * f * (1 - f**2)),
    np.sin: lambda x, f: (np.cos(x), -f),
    np.cos: lambda x, f: (-np.sin(x), -f),
}
