"""L(N, D) = E + A/N^alpha + B/D^beta (Hoffmann et al. 2022, arXiv:2203.15556, eq. 2)."""

from collections.abc import Sequence
from copy import copy
from itertools import product
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from scalefit.laws.affine import Affine
from scalefit.laws.amplitudes import amplitudes
from scalefit.laws.base import (
    Allocation,
    Bend,
    Constant,
    Constraints,
    Derivatives,
    Flags,
    FloatArray,
    Model,
)
from scalefit.laws.form import ABSENT, Form

EXPONENTS = (1e-3, 5.0)
"""The box of alpha and beta: below it a power is a constant on any real table."""
SCAN = np.array(list(product([0.08, 0.16, 0.28, 0.4, 0.6, 0.9, 1.5], repeat=2)))
FAINT = 36.0  # a term this many nats below the loss changes no double


class Chinchilla(Form):
    """The additive law; theta = (E, A, B, alpha, beta) on the last axis."""

    name = "chinchilla"
    equation = "L(N, D) = E + A/N^alpha + B/D^beta"
    constants = (
        Constant("E"),
        Constant("A", scale="amplitude", exponent="alpha", variable="params"),
        Constant("B", scale="amplitude", exponent="beta", variable="tokens"),
        Constant("alpha", *EXPONENTS, essential=True),
        Constant("beta", *EXPONENTS, essential=True),
    )
    driven: ClassVar = {"params": "alpha", "tokens": "beta"}
    ties = (frozenset({"alpha", "beta"}), frozenset({"A", "B"}))
    scanned = ("alpha", "beta")
    plans = True

    def formula(self, theta: Sequence[Any], *inputs: Any) -> Any:
        """Equation 2."""
        floor, size, data, alpha, beta = theta
        params, tokens = inputs
        return floor + size * params**-alpha + data * tokens**-beta

    def starts(
        self, inputs: tuple[FloatArray, ...], response: FloatArray, weights: FloatArray
    ) -> FloatArray:
        """The best amplitudes and floor for every pair of exponents scanned."""
        params, tokens = inputs
        model = WithFloor(params, tokens, response)
        return model.natural(model.starts(weights))

    def optimum(self, theta: FloatArray, flops: FloatArray) -> Allocation:
        """Least loss under C = 6ND, in closed form (Hoffmann et al. 2022, eq. 4).

        N* = G (C/6)^a and D* = (C/6)^b / G with a = beta/(alpha+beta), b = alpha/(alpha+beta)
        and G = (alpha A / (beta B))^(1/(alpha+beta)).
        """
        floor, size, data, alpha, beta = np.moveaxis(theta, -1, 0)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            log_g = (np.log(alpha * size) - np.log(beta * data)) / (alpha + beta)
            log_nd = np.log(flops / 6)
            params = np.exp(log_g + beta / (alpha + beta) * log_nd)
            tokens = np.exp(alpha / (alpha + beta) * log_nd - log_g)
            loss = self.predict(theta, params, tokens)
        # Without one of its terms the law is best spent wholly on the other, down to the floor.
        loss = np.where(np.isnan(loss), floor, loss)
        return Allocation(flops=flops, params=params, tokens=tokens, loss=loss)

    def exponents(self, theta: FloatArray) -> FloatArray:
        """The planned exponents (a, b): N* grows as C^a and D* as C^b; shape (..., 2)."""
        alpha, beta = theta[..., 3], theta[..., 4]
        return np.stack([beta, alpha], axis=-1) / (alpha + beta)[..., None]

    def vanished(self, theta: FloatArray, *columns: FloatArray) -> Flags:
        """Which parameters mean nothing at theta (..., 5); shape (..., 5).

        Their term is absent on these runs, or their exponent lies on the edge of its range.
        """
        params, tokens, loss = columns
        floor, size, data, alpha, beta = np.moveaxis(theta, -1, 0)
        least = ABSENT * loss.min()
        edge = [(x <= EXPONENTS[0]) | (x >= EXPONENTS[1]) for x in (alpha, beta)]
        no_size = (size * np.exp(-alpha * np.log(params).mean()) <= least) | edge[0]
        no_data = (data * np.exp(-beta * np.log(tokens).mean()) <= least) | edge[1]
        return np.stack([floor <= least, no_size, no_data, no_size, no_data], axis=-1)

    def models(
        self, *columns: FloatArray, constraints: Constraints | None = None
    ) -> tuple[Model, ...]:
        """The law on runs, in the order in which models are tried for an admissible optimum.

        First with its floor free, whatever its sign; if the best free floor lies beyond a limit
        (by default below 0), the best law within the limits has its floor on the limit.
        """
        said = constraints or Constraints()
        params, tokens, loss = columns
        runs = params, tokens, loss
        exponents = {n: said.range(n, EXPONENTS) for n in ("alpha", "beta") if said.touches(n)}
        floor = said.range("E", (0.0, np.inf))
        if said.touches("A", "B"):
            known = floor[0] if floor[0] == floor[1] else None
            centred = not said.touches("A"), not said.touches("B")
            sums = Sums(*runs, floor=known, centred=centred)
            logs = {n: _logs(said.range(n, (0.0, np.inf))) for n in ("A", "B") if said.touches(n)}
            return (Affine(sums, {"E": floor, **logs, **exponents}, said.tied),)
        if floor[0] == floor[1]:
            sums = Sums(*runs, floor=floor[0])
            return (Affine(sums, {"E": floor, **exponents}, said.tied),)
        edges = [
            Affine(Sums(*runs, floor=edge), {"E": (edge, edge), **exponents}, said.tied, held=held)
            for edge, held in ((floor[0], ("E",) if floor[0] else ()), (floor[1], ("E",)))
            if np.isfinite(edge)
        ]
        free = WithFloor(*runs)
        return Affine(free, exponents, said.tied) if constraints else free, *edges


def _logs(limits: tuple[float, float]) -> tuple[float, float]:
    low, high = limits
    return (np.log(low) if low > 0 else -np.inf, np.log(high))


class _Model:
    """What both models share: centred logs x = log N - mean, y = log D - mean."""

    held: tuple[str, ...] = ()

    def __init__(self, params: FloatArray, tokens: FloatArray, loss: FloatArray) -> None:
        self.log_loss = np.log(loss)
        self.centre = np.log(params).mean(), np.log(tokens).mean()
        self.at = self.centre  # where x and y are 0
        self.x, self.y = np.log(params) - self.centre[0], np.log(tokens) - self.centre[1]
        self.rows = len(loss)
        self.faint = self.log_loss.min() - FAINT
        self.bright = self.log_loss.max() + 5.0

    def _uncentred(
        self, size: FloatArray, data: FloatArray, alpha: FloatArray, beta: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """A and B from the terms at the centre of the runs."""
        return size * np.exp(alpha * self.centre[0]), data * np.exp(beta * self.centre[1])

    def take(self, rows: npt.NDArray[np.intp]) -> Self:
        """The model on some of its runs, in the same coordinates."""
        part = copy(self)
        part.x, part.y, part.log_loss = self.x[rows], self.y[rows], self.log_loss[rows]
        part.rows = len(rows)
        return part

    def _powers(self, floor: float | None, weights: FloatArray) -> FloatArray:
        """Size term, data term and floor at every pair of exponents scanned; shape (3, points).

        The terms are those at the centre of the runs; a floor of None is fitted with them.
        """
        away = [at - c for c, at in zip(self.centre, self.at, strict=True)]
        x, y = self.x + away[0], self.y + away[1]
        terms, inverse = (
            [np.exp(-SCAN[:, :1] * x), np.exp(-SCAN[:, 1:] * y)],
            np.exp(-self.log_loss),
        )
        if floor is None:
            terms = [*terms, np.ones_like(terms[0])]
        found = amplitudes(np.stack(terms) * inverse, weights, 1 - (floor or 0.0) * inverse)
        known = np.full_like(found[0], floor or 0.0) if floor is not None else found[2]
        return np.stack([*np.maximum(found[:2], np.exp(self.faint)), known])


class WithFloor(_Model):
    """Coordinates (level, log slope in N, log slope in D, alpha, beta) at the centre of the runs.

    m = level + s (exp(-alpha x) - 1)/alpha + t (exp(-beta y) - 1)/beta. Runs determine the level
    and the slopes well, and the exponents are the curvatures; amplitudes and floor, which trade
    off against each other when an exponent is small, do not appear. As alpha -> 0 the term becomes
    a straight line in log N, without any singularity.
    """

    names = ("level", "A", "B", "alpha", "beta")

    def __init__(self, params: FloatArray, tokens: FloatArray, loss: FloatArray) -> None:
        super().__init__(params, tokens, loss)
        low, high = EXPONENTS
        self.lower = np.array([0.0, self.faint, self.faint, low, low])
        self.upper = np.array([np.exp(self.bright), self.bright, self.bright, high, high])

    def predict(self, theta: FloatArray) -> FloatArray:
        """The loss m, shape (batch, runs)."""
        level, s, t, alpha, beta = theta.T[..., None]
        value: FloatArray = (
            level
            + np.exp(s) * np.expm1(-alpha * self.x) / alpha
            + np.exp(t) * np.expm1(-beta * self.y) / beta
        )
        return value

    def expand(self, theta: FloatArray) -> Derivatives:
        """The loss m with its derivatives."""
        level, s, t, alpha, beta = theta.T
        basis = np.empty((len(theta), 7, self.rows))
        basis[:, 0] = 1.0
        _bent_line(self.x, alpha[:, None], basis[:, 1::2])
        _bent_line(self.y, beta[:, None], basis[:, 2::2])
        size, data, one = np.exp(s), np.exp(t), np.ones_like(s)
        value = level[:, None] + size[:, None] * basis[:, 1] + data[:, None] * basis[:, 2]
        return Derivatives(
            value=value,
            basis=basis,
            slopes=np.stack([one, size, data, size, data], axis=1)[:, :, None] * np.eye(5),
            bends=_bends(size, data, size, data),
        )

    def starts(self, weights: FloatArray) -> FloatArray:
        """A point for every pair of exponents scanned; shape (points, 5)."""
        size, data, floor = self._powers(None, weights)
        alpha, beta = SCAN.T
        slopes = np.log(size * alpha), np.log(data * beta)
        return np.stack([floor + size + data, *slopes, alpha, beta], axis=1)

    def natural(self, theta: FloatArray) -> FloatArray:
        """(E, A, B, alpha, beta) of theta; E may be negative."""
        level, s, t, alpha, beta = theta.T
        size = np.where(s > self.faint, np.exp(s) / alpha, 0.0)
        data = np.where(t > self.faint, np.exp(t) / beta, 0.0)
        floor = level - size - data
        return np.stack([floor, *self._uncentred(size, data, alpha, beta), alpha, beta], axis=1)


class Sums(_Model):
    """Coordinates (E, log of the size term, log of the data term, alpha, beta).

    The terms are those at the centre of the runs, or where not ``centred`` A and B themselves, so
    that what is known of A or B is a statement about one coordinate.
    """

    names = ("E", "A", "B", "alpha", "beta")

    def __init__(
        self,
        params: FloatArray,
        tokens: FloatArray,
        loss: FloatArray,
        *,
        floor: float | None = None,
        centred: tuple[bool, bool] = (True, True),
    ) -> None:
        super().__init__(params, tokens, loss)
        self._floor = floor  # known beforehand, for the starts
        self.at = self.centre[0] * centred[0], self.centre[1] * centred[1]
        self.x, self.y = np.log(params) - self.at[0], np.log(tokens) - self.at[1]
        low, high = EXPONENTS
        reach = [high * (c - at) for c, at in zip(self.centre, self.at, strict=True)]
        self.lower = np.array([0.0, self.faint, self.faint, low, low])
        self.upper = np.array(
            [np.exp(self.bright), self.bright + reach[0], self.bright + reach[1], high, high]
        )

    def predict(self, theta: FloatArray) -> FloatArray:
        """The loss m, shape (batch, runs)."""
        floor, size, data, alpha, beta = theta.T[..., None]
        value: FloatArray = floor + np.exp(size - alpha * self.x) + np.exp(data - beta * self.y)
        return value

    def expand(self, theta: FloatArray) -> Derivatives:
        """The loss m with its derivatives."""
        floor, size, data, alpha, beta = theta.T[..., None]
        basis = np.empty((len(theta), 7, self.rows))
        basis[:, 0] = 1.0
        for k, (log_term, exponent, at) in enumerate(
            ((size, alpha, self.x), (data, beta, self.y)), start=1
        ):
            np.exp(log_term - exponent * at, out=basis[:, k])
            np.multiply(at, basis[:, k], out=basis[:, k + 2])
            np.multiply(at, basis[:, k + 2], out=basis[:, k + 4])
        one = np.ones(len(theta))
        signs = np.diag([1.0, 1.0, 1.0, -1.0, -1.0])
        return Derivatives(
            value=floor + basis[:, 1] + basis[:, 2],
            basis=basis,
            slopes=np.broadcast_to(signs, (len(theta), 5, 5)),
            bends=_bends(one, one, -one, -one),
        )

    def starts(self, weights: FloatArray) -> FloatArray:
        """A point for every pair of exponents scanned; shape (points, 5)."""
        size, data, floor = self._powers(self._floor, weights)
        alpha, beta = SCAN.T
        away = [c - at for c, at in zip(self.centre, self.at, strict=True)]
        logs = np.log(size) + alpha * away[0], np.log(data) + beta * away[1]
        return np.stack([floor, *logs, alpha, beta], axis=1)

    def natural(self, theta: FloatArray) -> FloatArray:
        """(E, A, B, alpha, beta) of theta."""
        floor, log_size, log_data, alpha, beta = theta.T
        size = np.where(log_size > self.faint, np.exp(log_size + alpha * self.at[0]), 0.0)
        data = np.where(log_data > self.faint, np.exp(log_data + beta * self.at[1]), 0.0)
        return np.stack([floor, size, data, alpha, beta], axis=1)


def _bent_line(x: FloatArray, exponent: FloatArray, out: FloatArray) -> None:
    """The line (exp(-exponent x) - 1)/exponent and its first two derivatives by exponent.

    Args:
        x: shape (runs,).
        exponent: shape (batch, 1).
        out: shape (batch, 3, runs).
    """
    inverse = 1 / exponent
    value, first, second = out[:, 0], out[:, 1], out[:, 2]
    np.expm1(-exponent * x, out=second)
    np.multiply(second, inverse, out=value)
    second *= x
    second += x
    np.add(second, value, out=first)
    first *= -inverse
    second *= x
    second -= 2 * first
    second *= inverse


def _bends(
    size: FloatArray, data: FloatArray, size_slope: FloatArray, data_slope: FloatArray
) -> tuple[Bend, ...]:
    """Second derivatives by (log term, exponent), whose functions are 1, 3, 5 and 2, 4, 6."""
    return (
        Bend(i=1, j=1, coefficient=size, index=1),
        Bend(i=1, j=3, coefficient=size_slope, index=3),
        Bend(i=3, j=3, coefficient=size, index=5),
        Bend(i=2, j=2, coefficient=data, index=2),
        Bend(i=2, j=4, coefficient=data_slope, index=4),
        Bend(i=4, j=4, coefficient=data, index=6),
    )
