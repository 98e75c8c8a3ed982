"""What a law is: a form with numbers in it, and the conventions those numbers are stated in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """What N, C and L of a law mean; a law is wrong under another convention.

    Attributes:
        params: which parameters N counts: "total" (Hoffmann et al. 2022), "non_embedding"
            (Kaplan et al. 2020) or "unknown".
        flops: how C follows from N and D; "6ND" is forward plus backward without attention
            scores (Kaplan et al. 2020, section 2.1).
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


class Model(Protocol):
    """A form on given runs, in coordinates in which its optimum is easy to find.

    theta has shape (batch, p). The box ``lower``, ``upper`` bounds it.
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


class Form(Protocol):
    """A functional form L(N, D), one file each in ``scalefit/laws``."""

    @property
    def name(self) -> str: ...
    @property
    def equation(self) -> str: ...
    @property
    def parameters(self) -> tuple[str, ...]: ...
    def loss(self, theta: FloatArray, params: FloatArray, tokens: FloatArray) -> FloatArray: ...
    def optimum(self, theta: FloatArray, flops: FloatArray) -> Allocation: ...
    def exponents(self, theta: FloatArray) -> FloatArray: ...
    def vanished(
        self, theta: FloatArray, params: FloatArray, tokens: FloatArray, loss: FloatArray
    ) -> Flags: ...
    def models(
        self,
        params: FloatArray,
        tokens: FloatArray,
        loss: FloatArray,
        constraints: Constraints | None = None,
    ) -> tuple[Model, ...]: ...
    def limits(self, constraints: Constraints | None = None) -> tuple[FloatArray, FloatArray]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """A form with its constants: N in parameters, D in tokens, C in FLOP.

    Attributes:
        name: how people call it, "besiroglu2024" or the file of a fit.
        form: the functional form, which knows the value and the optimum.
        params: the constants by name, in the order of ``form.parameters``.
        convention: what N, C and L mean.
        source: paper and equation, or the runs it was fitted to.
        flops_seen: the largest compute among the runs behind it, None where unknown.
    """

    name: str
    form: Form
    params: Mapping[str, float]
    convention: Convention = field(default_factory=Convention)
    source: str | None = None
    flops_seen: float | None = None

    @property
    def theta(self) -> FloatArray:
        """The constants as a vector, shape (parameters,)."""
        return np.array([self.params[name] for name in self.form.parameters], dtype=np.float64)

    def loss(self, params: npt.ArrayLike, tokens: npt.ArrayLike) -> FloatArray:
        """Predicted loss for N ``params`` and D ``tokens`` (broadcast against each other)."""
        return self.form.loss(self.theta, _floats(params), _floats(tokens))

    def optimum(self, flops: npt.ArrayLike) -> Allocation:
        """The N and D of least loss for a compute of ``flops``."""
        return self.form.optimum(self.theta, _floats(flops))


def _floats(values: npt.ArrayLike) -> FloatArray:
    return np.asarray(values, dtype=np.float64)
