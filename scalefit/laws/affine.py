"""A model some of whose coordinates are fixed, bounded or tied to one another."""

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from typing import Self

import numpy as np
import numpy.typing as npt

from scalefit.laws.base import Derivatives, Flags, FloatArray, Model

LEEWAY = 1e-9  # of a limit, relative: rounding of a coordinate that lies on it


class Affine:
    """A model whose coordinates are an affine image of fewer: theta = offset + matrix @ z."""

    def __init__(
        self,
        model: Model,
        ranges: Mapping[str, tuple[float, float]],
        tied: Mapping[str, str],
        held: tuple[str, ...] = (),
    ) -> None:
        """Restrict coordinates of a model.

        Args:
            model: the model.
            ranges: (low, high) of coordinates by name; equal limits fix one.
            tied: a coordinate and the one it equals.
            held: names to report as lying on a bound, though they are fixed here.
        """
        self.model = model
        index = {name: i for i, name in enumerate(model.names)}
        low, high = model.lower.copy(), model.upper.copy()
        for name, (least, most) in ranges.items():
            low[index[name]] = max(least, low[index[name]]) if least < most else least
            high[index[name]] = min(most, high[index[name]]) if least < most else most
        free = [n for n in model.names if n not in tied and low[index[n]] < high[index[n]]]
        self.names, self.held = tuple(free), held
        self._offset = np.array(
            [low[i] if n not in tied and low[i] == high[i] else 0.0 for n, i in index.items()]
        )
        self._matrix = np.zeros((len(index), len(free)))
        for column, name in enumerate(free):
            self._matrix[[index[n] for n in index if tied.get(n, n) == name], column] = 1.0
        for name, other in tied.items():
            self._offset[index[name]] = self._offset[index[other]]
        self.lower, self.upper = (
            np.array([x[index[n]] for n in free], dtype=np.float64) for x in (low, high)
        )
        self.rows, self.log_loss = model.rows, model.log_loss

    def inner(self, z: FloatArray) -> FloatArray:
        """The coordinates of the restricted model, shape (batch, p)."""
        theta: FloatArray = z @ self._matrix.T + self._offset
        return theta

    def predict(self, theta: FloatArray) -> FloatArray:
        """The loss m, shape (batch, runs)."""
        return self.model.predict(self.inner(theta))

    def expand(self, theta: FloatArray) -> Derivatives:
        """The loss m with its derivatives, by the chain rule of a linear map."""
        law = self.model.expand(self.inner(theta))
        bends = []
        for bend in law.bends:
            for a in np.flatnonzero(self._matrix[bend.i]):
                for b in np.flatnonzero(self._matrix[bend.j]):
                    # One entry stands for (i, j) and (j, i); on the diagonal of a tie both count.
                    twice = 2.0 if bend.i != bend.j and a == b else 1.0
                    coefficient = twice * bend.coefficient
                    bends.append(replace(bend, i=int(a), j=int(b), coefficient=coefficient))
        return replace(law, slopes=self._matrix.T @ law.slopes, bends=tuple(bends))

    def starts(self, weights: FloatArray) -> FloatArray:
        """The starts of the restricted model, moved to the nearest point that is allowed."""
        moved = (self.model.starts(weights) - self._offset) @ np.linalg.pinv(self._matrix).T
        allowed: FloatArray = np.clip(moved, self.lower, self.upper)
        return allowed

    def take(self, rows: npt.NDArray[np.intp]) -> Self:
        """The model on some of its runs, in the same coordinates."""
        part = copy(self)
        part.model = self.model.take(rows)
        part.rows, part.log_loss = len(rows), self.log_loss[rows]
        return part

    def natural(self, theta: FloatArray) -> FloatArray:
        """The law's parameters, shape (batch, parameters)."""
        return self.model.natural(self.inner(theta))


def within(natural: FloatArray, low: FloatArray, high: FloatArray) -> Flags:
    """Whether a law's parameters (batch, parameters) keep to their limits; shape (batch,)."""
    slack = LEEWAY * np.where(np.isfinite(high), np.abs(high), 0.0)
    inside = (natural >= low - LEEWAY * np.abs(low)) & (natural <= high + slack)
    return np.asarray(inside.all(axis=-1))
