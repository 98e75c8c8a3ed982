"""What a law is: a form, which is an equation and what is known of its constants, with numbers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from scalefit.errors import PlanError
from scalefit.laws.base import (
    Allocation,
    Constant,
    Constraints,
    Convention,
    Flags,
    FloatArray,
    Model,
)
from scalefit.laws.smooth import Smooth

ABSENT = 1e-3  # a constant whose scaling moves no prediction by this fraction means nothing
ROWS = 200  # that are looked at for it
PLACES, FINE, ROUNDS = 400, 16, 10  # of the search for a numerical optimum over log N


class Form(ABC):
    """A functional form, one file each in ``scalefit/laws``.

    A form says its equation once, as an expression; ``Smooth`` gives the derivatives. theta always
    holds the constants on its last axis, in the order of ``constants``.

    Attributes:
        name, equation: how people call it and write it.
        constants: see ``Constant``.
        variables: what it is a function of, by the names of the runs table.
        response: what it predicts.
        driven: by variable, the exponent that three different values of it determine.
        ties: pairs of constants that may be one; None for any.
        scanned: the constants over which ``--certify`` looks for a better optimum, at most two;
            positive, and plain in scale.
        plans: whether it has an optimum N*(C), D*(C).
    """

    name: str
    equation: str
    constants: tuple[Constant, ...]
    variables: tuple[str, ...] = ("params", "tokens")
    response: str = "loss"
    driven: ClassVar[Mapping[str, str]] = {}
    ties: tuple[frozenset[str], ...] | None = None
    scanned: tuple[str, ...] = ()
    plans: bool = False

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the constants."""
        return tuple(constant.name for constant in self.constants)

    @property
    def quantities(self) -> tuple[str, ...]:
        """What a table must hold for it, the response last; compute too for a law of N and D."""
        compute = ("flops",) if self.surface else ()
        return tuple(dict.fromkeys((*self.variables, *compute, self.response)))

    @property
    def surface(self) -> bool:
        """Whether it says the loss of every N and D."""
        return self.response == "loss" and self.variables[:2] == ("params", "tokens")

    def constant(self, name: str) -> Constant:
        """The constant called so."""
        return self.constants[self.parameters.index(name)]

    @abstractmethod
    def formula(self, theta: Sequence[Any], *inputs: Any) -> Any:
        """The equation: constants and variables, as numbers, arrays or jets, in; response out."""

    def predict(self, theta: FloatArray, *inputs: FloatArray) -> FloatArray:
        """The response for theta (..., parameters) and variables of broadcastable shape."""
        with np.errstate(all="ignore"):
            value: FloatArray = self.formula(tuple(np.moveaxis(theta, -1, 0)), *inputs)
        return value

    def inputs(self, frame: pd.DataFrame) -> tuple[FloatArray, ...]:
        """The variables of the rows of a table, each of shape (rows,)."""
        return tuple(frame[name].to_numpy(dtype=np.float64) for name in self.variables)

    @abstractmethod
    def starts(
        self, inputs: tuple[FloatArray, ...], response: FloatArray, weights: FloatArray
    ) -> FloatArray:
        """Constants from which a search may begin, shape (points, parameters).

        Args:
            inputs: the variables, each of shape (rows,).
            response: what was measured, shape (rows,).
            weights: of the rows, shape (rows,).
        """

    def models(
        self, *columns: FloatArray, constraints: Constraints | None = None
    ) -> tuple[Model, ...]:
        """The form on runs (its variables, then the response), in the order they are tried."""
        return (Smooth(self, columns[:-1], columns[-1], constraints),)

    def limits(self, constraints: Constraints | None = None) -> tuple[FloatArray, FloatArray]:
        """The least and largest admissible value of every constant, each shape (parameters,)."""
        said = constraints or Constraints()
        ranges = [said.range(c.name, (min(c.low, 0.0), np.inf)) for c in self.constants]
        low, high = np.array(ranges, dtype=np.float64).T
        return low, high

    def vanished(self, theta: FloatArray, *columns: FloatArray) -> Flags:
        """Which constants mean nothing at theta (batch, parameters), given the runs; same shape.

        Those whose scaling moves no prediction by a thousandth of it, and those on the edge of
        their range.
        """
        some = np.unique(np.linspace(0, len(columns[-1]) - 1, ROWS).astype(int))
        inputs = [column[some] for column in columns[:-1]]
        value = self.predict(theta[:, None], *inputs)
        gone = np.empty(theta.shape, dtype=bool)
        for i, constant in enumerate(self.constants):
            scaled = theta.copy()
            scaled[:, i] *= 1 + ABSENT
            with np.errstate(all="ignore"):
                moved = np.abs(self.predict(scaled[:, None], *inputs) / value - 1).max(axis=1)
            edge = (theta[:, i] <= constant.low) & (constant.low != 0)
            gone[:, i] = ~(moved > ABSENT**2) | edge | (theta[:, i] >= constant.high)
        return gone

    def optimum(self, theta: FloatArray, flops: FloatArray) -> Allocation:
        """The N and D of least loss with C = 6ND, for theta (..., parameters) and C that broadcast.

        By search over log N, unless a form knows better.

        Raises:
            PlanError: if the form has no optimum.
        """
        if not self.surface:
            raise PlanError(
                f"{self.equation} says nothing of N and D at a budget, so it plans nothing"
            )
        theta, flops = np.asarray(theta, float), np.asarray(flops, float)
        shape = np.broadcast_shapes(theta.shape[:-1], flops.shape)
        log_nd = np.log(np.broadcast_to(flops, shape) / 6)
        wide = np.broadcast_to(theta, (*shape, theta.shape[-1]))

        def loss(log_n: FloatArray) -> FloatArray:
            return self.predict(wide, np.exp(log_n), np.exp(log_nd - log_n))

        log_n = lowest(loss, np.zeros_like(log_nd), log_nd)
        params, tokens = np.exp(log_n), np.exp(log_nd - log_n)
        return Allocation(
            flops=flops, params=params, tokens=tokens, loss=self.predict(wide, params, tokens)
        )

    def exponents(self, theta: FloatArray) -> FloatArray:  # noqa: ARG002 - for those that plan
        """The planned exponents (a, b): N* grows as C^a and D* as C^b; shape (..., 2).

        Raises:
            PlanError: if the form has none.
        """
        raise PlanError(f"{self.equation} has no exponents of N* and D*")


def lowest(
    loss: Callable[[FloatArray], FloatArray], low: FloatArray, high: FloatArray
) -> FloatArray:
    """The log N of least ``loss(log_n)`` between low and high: a scan, then finer ones about it.

    Found to the square root of rounding, as far as a flat minimum can be seen.
    """
    for places in (PLACES, *[FINE] * ROUNDS):
        steps = np.arange(places).reshape(-1, *(1,) * np.ndim(high))
        step = (high - low) / (places - 1)
        values = loss(low + steps * step)
        best = np.nanargmin(np.where(np.isfinite(values), values, np.inf), axis=0)
        at = low + best * step
        low, high = (
            low + np.maximum(best - 1, 0) * step,
            low + np.minimum(best + 1, places - 1) * step,
        )
    return np.asarray(at, dtype=np.float64)


def grid(*axes: Sequence[float]) -> FloatArray:
    """All combinations, shape (points, axes)."""
    return np.array(list(product(*axes)), dtype=np.float64)


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

    def predict(self, *inputs: npt.ArrayLike) -> FloatArray:
        """The form's response for its variables, in their order (broadcast)."""
        return self.form.predict(self.theta, *(np.asarray(x, dtype=np.float64) for x in inputs))

    def loss(self, params: npt.ArrayLike, tokens: npt.ArrayLike) -> FloatArray:
        """Predicted loss for N ``params`` and D ``tokens`` (broadcast against each other).

        Raises:
            PlanError: if the law says no loss of N and D.
        """
        if not self.form.surface:
            raise PlanError(f"{self.name} says no loss of N and D: {self.form.equation}")
        return self.predict(params, tokens)

    def optimum(self, flops: npt.ArrayLike) -> Allocation:
        """The N and D of least loss for a compute of ``flops``."""
        return self.form.optimum(self.theta, np.asarray(flops, dtype=np.float64))
