"""A model of any form whose equation is an expression: coordinates by constant, exact derivatives.

What users know of constants is built in: what is fixed is no coordinate, what is tied follows
another, and what is bounded bounds a coordinate of its own.
"""

from collections.abc import Sequence
from copy import copy
from itertools import combinations_with_replacement
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from scalefit.laws.base import Bend, Constant, Constraints, Derivatives, Equation, FloatArray
from scalefit.laws.jets import Jet, variables

FAINT = 36.0  # a term this many nats below the loss changes no double
BRIGHT = 5.0  # and one so many above it is none of its terms
CACHED = 2**17  # numbers in the second derivatives computed together: they stay in cache
LEAST = 1e-300  # stands for 0 where a logarithm is taken
MOST = -np.log(LEAST)


class Smooth:
    """A form on runs, its constants in the scales that ``Constant`` says."""

    held: tuple[str, ...] = ()

    def __init__(
        self,
        form: Equation,
        inputs: tuple[FloatArray, ...],
        response: FloatArray,
        constraints: Constraints | None = None,
    ) -> None:
        """Set the coordinates.

        Args:
            form: whose equation it is.
            inputs: its variables, each of shape (rows,) or (rows, ...).
            response: what is measured, shape (rows,), positive.
            constraints: what is known beforehand.
        """
        said = constraints or Constraints()
        self.form, self.inputs, self._said = form, inputs, said
        self.log_loss, self.rows = np.log(response), len(response)
        self.names = tuple(n for n in form.parameters if n not in said.fixed and n not in said.tied)
        self._index = {name: i for i, name in enumerate(self.names)}
        self._at = {
            name: float(np.log(values).mean())
            for name, values in zip(form.variables, inputs, strict=True)
            if values.ndim == 1 and values.min() > 0
        }
        # A wish about an amplitude is about its own value, not about that of its term mid-range.
        self._kinds = {
            c.name: "log" if c.exponent and said.touches(c.name) else c.scale
            for c in form.constants
        }
        self.lower, self.upper = np.array([self._range(c) for c in self._free()]).T

    def predict(self, theta: FloatArray) -> FloatArray:
        """The response m, shape (batch, rows)."""
        with np.errstate(all="ignore"):
            constants = self._constants([theta[:, [i]] for i in range(theta.shape[1])])
            value: FloatArray = self.form.formula(constants, *self.inputs)
        return np.broadcast_to(value, (len(theta), self.rows))

    def expand(self, theta: FloatArray) -> Derivatives:
        """The response m with its derivatives."""
        batch, p = theta.shape
        together = max(1, CACHED // (p * p * self.rows))
        parts = [self._jet(theta[i : i + together]) for i in range(0, batch, together)]
        of, k = parts[0].of, len(parts[0].of)
        pairs = tuple(combinations_with_replacement(range(k), 2))
        value, basis = np.empty((batch, self.rows)), np.empty((batch, k + len(pairs), self.rows))
        for i, jet in enumerate(parts):
            part = slice(i * together, (i + 1) * together)
            value[part], basis[part, :k] = jet.value, jet.slopes
            for column, (a, b) in enumerate(pairs, start=k):
                basis[part, column] = jet.bends[:, a, b]
        one = np.ones(batch)
        return Derivatives(
            value=value,
            basis=basis,
            slopes=np.broadcast_to(np.eye(p)[:, list(of)], (batch, p, k)),
            bends=tuple(
                Bend(i=of[a], j=of[b], coefficient=one, index=column)
                for column, (a, b) in enumerate(pairs, start=k)
            ),
        )

    def _jet(self, theta: FloatArray) -> Jet:
        with np.errstate(all="ignore"):
            jet: Jet = self.form.formula(self._constants(variables(theta)), *self.inputs)
        return jet

    def starts(self, weights: FloatArray) -> FloatArray:
        """The points that the form proposes, as coordinates inside the box; (points, p)."""
        points = self.form.starts(self.inputs, np.exp(self.log_loss), weights)
        # What is fixed makes many of them one, which would crowd out all others.
        found = self.coordinates(self._wished(points))
        first = np.unique(found, axis=0, return_index=True)[1]
        return found[np.sort(first)]

    def coordinates(self, natural: FloatArray) -> FloatArray:
        """Coordinates (batch, p) of constants (batch, parameters), moved inside the box."""
        column = dict(zip(self.form.parameters, natural.T, strict=True))
        found = [self._coordinate(constant, column) for constant in self._free()]
        return np.clip(np.nan_to_num(np.stack(found, axis=1)), self.lower, self.upper)

    def natural(self, theta: FloatArray) -> FloatArray:
        """The law's constants, shape (batch, parameters)."""
        with np.errstate(over="ignore"):
            found = self._constants(list(theta.T))
        columns = [np.broadcast_to(value, len(theta)) for value in found]
        natural: FloatArray = np.stack(columns, axis=1).astype(np.float64)
        return natural

    def take(self, rows: npt.NDArray[np.intp]) -> Self:
        """The model on some of its rows, in the same coordinates."""
        part = copy(self)
        part.inputs = tuple(values[rows] for values in self.inputs)
        part.log_loss, part.rows = self.log_loss[rows], len(rows)
        return part

    def _free(self) -> list[Constant]:
        return [constant for constant in self.form.constants if constant.name in self._index]

    def _constants(self, coordinates: Sequence[Any]) -> list[Any]:
        """Every constant of the form, from arrays or jets."""
        found: dict[str, Any] = dict(self._said.fixed)
        later = []
        for constant in self._free():
            u = coordinates[self._index[constant.name]]
            match self._kinds[constant.name]:
                case "plain":
                    found[constant.name] = u
                case "log":
                    found[constant.name] = np.exp(u)
                case _:
                    later.append((constant, u))
        self._tie(found)
        for constant, u in later:
            exponent, at = found[constant.exponent], self._at[constant.variable]
            amplitude = self._kinds[constant.name] == "amplitude"
            logarithm = u + exponent * at if amplitude else at + u / exponent
            # A crossover whose term is faint leaves the range of doubles, and with it the slopes.
            found[constant.name] = np.exp(np.maximum(np.minimum(logarithm, MOST), -MOST))
        self._tie(found)
        return [found[name] for name in self.form.parameters]

    def _tie(self, found: dict[str, Any]) -> None:
        found.update(
            (name, found[other]) for name, other in self._said.tied.items() if other in found
        )

    def _wished(self, natural: FloatArray) -> FloatArray:
        """Starts that keep to what is fixed, so that the other constants suit it."""
        moved = natural.copy()
        for i, name in enumerate(self.form.parameters):
            if name in self._said.fixed:
                moved[:, i] = self._said.fixed[name]
        return moved

    def _coordinate(self, constant: Constant, column: dict[str, FloatArray]) -> FloatArray:
        value = column[constant.name]
        kind = self._kinds[constant.name]
        if kind == "plain":
            return value
        logarithm: FloatArray = np.log(np.maximum(value, LEAST))
        if kind == "log":
            return logarithm
        exponent, at = column[constant.exponent], self._at[constant.variable]
        return logarithm - exponent * at if kind == "amplitude" else exponent * (logarithm - at)

    def _range(self, constant: Constant) -> tuple[float, float]:
        """Where the coordinate of a constant may lie."""
        low, high = self._said.range(constant.name, (constant.low, constant.high))
        kind = self._kinds[constant.name]
        if kind == "plain":
            return low, high
        if kind == "log":
            return float(np.log(max(low, LEAST))), float(np.log(high))
        return self.log_loss.min() - FAINT, self.log_loss.max() + BRIGHT
