"""Numbers that carry their first and second derivatives through any NumPy expression.

A jet is the Taylor expansion of a number to the second order in p variables. Arithmetic and NumPy's
elementary functions act on jets by the chain rule, so that an equation written once, for arrays,
also gives exact derivatives (forward-mode differentiation: Griewank & Walther 2008, chapter 13).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from scalefit.laws.base import FloatArray

Curve = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
"""f' and f'' of a function of one variable, given x and f(x)."""


class Jet:
    """A number's value and its derivatives by those k of p variables that it depends on.

    Trailing axes of length one stand for a number that is the same for every n.

    Attributes:
        value: shape (batch, n).
        slopes, bends: first and second derivatives, shapes (batch, k, n) and (batch, k, k, n).
        of: which variables these are, in order.
        count: p.
    """

    __slots__ = ("bends", "count", "of", "slopes", "value")

    def __init__(
        self,
        value: FloatArray,
        slopes: FloatArray,
        bends: FloatArray,
        of: tuple[int, ...],
        count: int,
    ) -> None:
        self.value, self.slopes, self.bends, self.of, self.count = value, slopes, bends, of, count

    @property
    def first(self) -> FloatArray:
        """First derivatives by all variables, shape (batch, p, n)."""
        return self.by(tuple(range(self.count))).slopes

    @property
    def second(self) -> FloatArray:
        """Second derivatives by all variables, shape (batch, p, p, n)."""
        return self.by(tuple(range(self.count))).bends

    def by(self, of: tuple[int, ...]) -> "Jet":
        """The same number, with its derivatives by these variables, its own among them."""
        if of == self.of:
            return self
        at, k = np.array([of.index(i) for i in self.of], dtype=np.intp), len(of)
        slopes = np.zeros((len(self.slopes), k, self.slopes.shape[-1]))
        bends = np.zeros((len(self.bends), k, k, self.bends.shape[-1]))
        slopes[:, at] = self.slopes
        bends[:, at[:, None], at] = self.bends
        return Jet(self.value, slopes, bends, of, self.count)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or kwargs:
            return NotImplemented
        if ufunc in COMPARISONS:
            return ufunc(*(x.value if isinstance(x, Jet) else x for x in inputs))
        if ufunc in LOGARITHMS:
            return _log(self) * LOGARITHMS[ufunc]
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
        square = self.slopes[:, :, None] * self.slopes[:, None]
        bends = slope[:, None, None] * self.bends + bend[:, None, None] * square
        return Jet(value, slope[:, None] * self.slopes, bends, self.of, self.count)

    def __add__(self, other: Any) -> "Jet":
        if not isinstance(other, Jet):
            return Jet(self.value + other, self.slopes, self.bends, self.of, self.count)
        a, b = _alike(self, other)
        return Jet(a.value + b.value, a.slopes + b.slopes, a.bends + b.bends, a.of, a.count)

    def __mul__(self, other: Any) -> "Jet":
        if not isinstance(other, Jet):
            slopes, bends = self.slopes * other, self.bends * other
            return Jet(self.value * other, slopes, bends, self.of, self.count)
        a, b = _alike(self, other)
        cross = a.slopes[:, :, None] * b.slopes[:, None]
        return Jet(
            a.value * b.value,
            a.slopes * b.value[:, None] + b.slopes * a.value[:, None],
            a.bends * b.value[:, None, None]
            + b.bends * a.value[:, None, None]
            + cross
            + cross.swapaxes(1, 2),
            a.of,
            a.count,
        )

    def __neg__(self) -> "Jet":
        return Jet(-self.value, -self.slopes, -self.bends, self.of, self.count)

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
    p, one, still = theta.shape[-1], np.ones((1, 1, 1)), np.zeros((1, 1, 1, 1))
    return tuple(Jet(theta[:, [i]], one, still, (i,), p) for i in range(p))


def lift(
    value: FloatArray,
    first: Sequence[FloatArray],
    second: Mapping[tuple[int, int], FloatArray],
    inner: Sequence[Any],
) -> Jet:
    """The jet of f(g) for the jets g, given f and its derivatives by them.

    Args:
        value: f, shape (batch, n).
        first: its slopes by each of g.
        second: its second derivatives by pairs i >= j; those left out are 0.
        inner: g; those that are no jets do not move.
    """
    numbers = [i for i, g in enumerate(inner) if isinstance(g, Jet)]
    jets = _alike(*(inner[i] for i in numbers))
    moving = list(zip(numbers, jets, strict=True))
    slopes = [first[i][:, None] * g.slopes for i, g in moving]
    bends = [first[i][:, None, None] * g.bends for i, g in moving]
    for i, g in moving:
        for j, h in moving:
            pair = (max(i, j), min(i, j))
            if pair in second:
                product = g.slopes[:, :, None] * h.slopes[:, None]
                bends.append(second[pair][:, None, None] * product)
    return Jet(value, _total(slopes), _total(bends), jets[0].of, jets[0].count)


def _total(parts: Sequence[FloatArray]) -> FloatArray:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def _alike(*jets: Jet) -> tuple[Jet, ...]:
    """The jets with their derivatives by the same variables: all that any of them depends on."""
    of = tuple(sorted({i for jet in jets for i in jet.of}))
    return tuple(jet.by(of) for jet in jets)


def _still(x: Any, like: Jet) -> Jet:
    """A number that does not move, as a jet like another one."""
    value = np.broadcast_to(x, np.broadcast_shapes(np.shape(x), like.value.shape))
    return Jet(value, np.zeros((1, 0, 1)), np.zeros((1, 0, 0, 1)), (), like.count)


def _exp(x: Jet) -> Jet:
    value = np.exp(x.value)
    return x.through(value, value, value)


def _log(x: Jet) -> Jet:
    """By relative slopes, for 1/x^2 leaves the range of doubles long before x does."""
    slopes = x.slopes / x.value[:, None]
    bends = x.bends / x.value[:, None, None] - slopes[:, :, None] * slopes[:, None]
    return Jet(np.log(x.value), slopes, bends, x.of, x.count)


def _where(condition: Any, yes: Any, no: Any) -> Jet:
    either = yes if isinstance(yes, Jet) else no
    yes, no = _alike(*(x if isinstance(x, Jet) else _still(x, either) for x in (yes, no)))
    chosen = np.broadcast_to(
        condition, np.broadcast_shapes(np.shape(condition), either.value.shape)
    )
    return Jet(
        np.where(chosen, yes.value, no.value),
        np.where(chosen[:, None], yes.slopes, no.slopes),
        np.where(chosen[:, None, None], yes.bends, no.bends),
        yes.of,
        yes.count,
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
LOGARITHMS: dict[np.ufunc, float] = {
    np.log: 1.0, np.log2: 1 / float(np.log(2)), np.log10: 1 / float(np.log(10)),
}  # fmt: skip
UNARY: dict[np.ufunc, Curve] = {
    np.negative: lambda x, _: (np.full_like(x, -1.0), np.zeros_like(x)),
    np.exp: lambda _, f: (f, f),
    np.expm1: lambda _, f: (f + 1, f + 1),
    np.log1p: lambda x, _: (1 / (1 + x), -1 / (1 + x) ** 2),
    np.sqrt: lambda x, f: (0.5 / f, -0.25 / f / x),
    np.square: lambda x, _: (2 * x, np.full_like(x, 2.0)),
    np.reciprocal: lambda _, f: (-(f**2), 2 * f**3),
    np.abs: lambda x, _: (np.sign(x), np.zeros_like(x)),
    np.tanh: lambda _, f: (1 - f**2, -2 * f * (1 - f**2)),
    np.sin: lambda x, f: (np.cos(x), -f),
    np.cos: lambda x, f: (-np.sin(x), -f),
}
