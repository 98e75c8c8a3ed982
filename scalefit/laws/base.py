"""The words in which laws are written: conventions, constants, models and their derivatives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """What N, C and L of a law mean; a law is wrong under another convention.

    Attributes:
        params: which parameters N counts: "total" (Hoffmann et al. 2022), "non_embedding"
            (Kaplan et al. 2020), "flops_per_token" for a sixth of M in C = MD (Bi et al. 2024) or
            "unknown".
        flops: how C follows from N and D; "6ND" is forward plus backward without attention
            scores (Kaplan et al. 2020, section 2.1), "MD" counts attention too, "own" is as its
            authors count it.
        loss: the unit of L.
    """

    params: str = "total"
    flops: str = "6ND"
    loss: str = "nats/token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """A way to spend compute: arrays of one shape, or scalars."""

    flops: FloatArray
    params: FloatArray
    tokens: FloatArray
    loss: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Bend:
    """One second derivative, by coordinates i and j (and j and i): coefficient * basis[index]."""

    i: int
    j: int
    coefficient: FloatArray
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivatives:
    """A law on its runs, with its derivatives by the coordinates of a model.

    They are kept as few functions of the runs and their coefficients, so that sums over runs are
    taken of the functions and combined afterwards.

    Attributes:
        value: shape (batch, runs).
        basis: the functions, shape (batch, functions, runs).
        slopes: first derivatives are slopes @ basis, of as many leading functions as slopes has
            columns; shape (batch, p, leading).
        bends: the second derivatives that are not zero; coefficients of shape (batch,).
    """

    value: FloatArray
    basis: FloatArray
    slopes: FloatArray
    bends: tuple[Bend, ...]

    @property
    def first(self) -> FloatArray:
        """First derivatives, shape (batch, p, runs)."""
        derivative: FloatArray = self.slopes @ self.basis[:, : self.slopes.shape[-1]]
        return derivative

    @property
    def second(self) -> dict[tuple[int, int], FloatArray]:
        """Second derivatives that are not zero, by pair i <= j, each (batch, runs)."""
        found: dict[tuple[int, int], FloatArray] = {}
        for bend in self.bends:
            pair = min(bend.i, bend.j), max(bend.i, bend.j)
            part = bend.coefficient[:, None] * self.basis[:, bend.index]
            found[pair] = found[pair] + part if pair in found else part
        return found


@dataclass(frozen=True, slots=True)
class Constant:
    """What a form says of one of its constants.

    Attributes:
        name: as the law's equation calls it.
        low, high: the range in which it is searched for; a fit that ends at ``high``, or at a
            ``low`` above 0, says so.
        scale: the coordinate in which its errors are nearly symmetric and the search is straight:
            "plain", "log"; "amplitude", the logarithm of the term A x^-e at the centre of the runs;
            or "crossover", that of the term (c/x)^e.
        exponent, variable: of an amplitude or a crossover, its e and its x.
        essential: without it the law says nothing of what people ask of it.
    """

    name: str
    low: float = 0.0
    high: float = np.inf
    scale: str = "plain"
    exponent: str = ""
    variable: str = ""
    essential: bool = False


class Equation(Protocol):
    """What a model must know of a form: its constants and variables, the expression, its starts."""

    @property
    def parameters(self) -> tuple[str, ...]: ...
    @property
    def constants(self) -> tuple[Constant, ...]: ...
    @property
    def variables(self) -> tuple[str, ...]: ...
    def formula(self, theta: Sequence[Any], *inputs: Any) -> Any: ...
    def starts(
        self, inputs: tuple[FloatArray, ...], response: FloatArray, weights: FloatArray
    ) -> FloatArray: ...


class Model(Protocol):
    """A form on given runs, in coordinates in which its optimum is easy to find.

    theta has shape (batch, p). The box ``lower``, ``upper`` bounds it. ``held`` are parameters that
    a bound holds though they are no coordinates.
    """

    @property
    def names(self) -> tuple[str, ...]: ...
    @property
    def held(self) -> tuple[str, ...]: ...
    @property
    def rows(self) -> int: ...
    @property
    def log_loss(self) -> FloatArray: ...
    @property
    def lower(self) -> FloatArray: ...
    @property
    def upper(self) -> FloatArray: ...
    def predict(self, theta: FloatArray) -> FloatArray: ...
    def expand(self, theta: FloatArray) -> Derivatives: ...
    def starts(self, weights: FloatArray) -> FloatArray: ...
    def natural(self, theta: FloatArray) -> FloatArray: ...
    def take(self, rows: npt.NDArray[np.intp]) -> "Model": ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """What a user knows about a law's parameters, by name.

    Attributes:
        fixed: values that are not fitted.
        bounds: (low, high) of those that are.
        tied: a parameter and the one it equals.
    """

    fixed: Mapping[str, float] = field(default_factory=dict)
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    tied: Mapping[str, str] = field(default_factory=dict)

    def touches(self, *names: str) -> bool:
        """Whether anything is said about one of these."""
        said = {*self.fixed, *self.bounds, *self.tied, *self.tied.values()}
        return not said.isdisjoint(names)

    def range(self, name: str, default: tuple[float, float]) -> tuple[float, float]:
        """Where a parameter may lie."""
        if name in self.fixed:
            return self.fixed[name], self.fixed[name]
        low, high = self.bounds.get(name, default)
        return max(low, default[0]), min(high, default[1])

    def sentences(self) -> tuple[str, ...]:
        """As people write them."""
        return (
            *(f"{name} = {value:g}" for name, value in self.fixed.items()),
            *(f"{low:g} <= {name} <= {high:g}" for name, (low, high) in self.bounds.items()),
            *(f"{name} = {other}" for name, other in self.tied.items()),
        )
