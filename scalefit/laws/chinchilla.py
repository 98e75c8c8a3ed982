"""L(N, D) = E + A/N^alpha + B/D^beta (Hoffmann et al. 2022, arXiv:2203.15556, eq. 2)."""

from itertools import product

import numpy as np

from scalefit.laws.amplitudes import amplitudes
from scalefit.laws.base import Allocation, Derivatives, Flags, FloatArray, Model

EXPONENTS = (1e-3, 5.0)
"""The box of alpha and beta: below it a power is a constant on any real table."""
SCAN = np.array(list(product([0.08, 0.16, 0.28, 0.4, 0.6, 0.9, 1.5], repeat=2)))
FAINT = 36.0  # a term this many nats below the loss changes no double
ABSENT = 1e-3  # a term below this fraction of the least loss, at mid-range, is no term


class Chinchilla:
    """The additive law; theta = (E, A, B, alpha, beta) on the last axis."""

    name = "chinchilla"
    equation = "L(N, D) = E + A/N^alpha + B/D^beta"
    parameters = ("E", "A", "B", "alpha", "beta")

    def loss(self, theta: FloatArray, params: FloatArray, tokens: FloatArray) -> FloatArray:
        """Equation 2; theta (..., 5) against params and tokens of broadcastable shape."""
        floor, size, data, alpha, beta = np.moveaxis(theta, -1, 0)
        value: FloatArray = floor + size * params**-alpha + data * tokens**-beta
        return value

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
            loss = self.loss(theta, params, tokens)
        # Without one of its terms the law is best spent wholly on the other, down to the floor.
        loss = np.where(np.isnan(loss), floor, loss)
        return Allocation(flops=flops, params=params, tokens=tokens, loss=loss)

    def exponents(self, theta: FloatArray) -> FloatArray:
        """The planned exponents (a, b): N* grows as C^a and D* as C^b; shape (..., 2)."""
        alpha, beta = theta[..., 3], theta[..., 4]
        return np.stack([beta, alpha], axis=-1) / (alpha + beta)[..., None]

    def vanished(
        self, theta: FloatArray, params: FloatArray, tokens: FloatArray, loss: FloatArray
    ) -> Flags:
        """Which parameters mean nothing at theta (..., 5); shape (..., 5).

        Their term is absent on these runs, or their exponent lies on the edge of its range.
        """
        floor, size, data, alpha, beta = np.moveaxis(theta, -1, 0)
        least = ABSENT * loss.min()
        edge = [(x <= EXPONENTS[0]) | (x >= EXPONENTS[1]) for x in (alpha, beta)]
        no_size = (size * np.exp(-alpha * np.log(params).mean()) <= least) | edge[0]
        no_data = (data * np.exp(-beta * np.log(tokens).mean()) <= least) | edge[1]
        return np.stack([floor <= least, no_size, no_data, no_size, no_data], axis=-1)

    def models(self, params: FloatArray, tokens: FloatArray, loss: FloatArray) -> tuple[Model, ...]:
        """The law with its floor free, whatever its sign, and the law without a floor.

        If the best free floor is negative, the best law with E >= 0 has E = 0.
        """
        return WithFloor(params, tokens, loss), WithoutFloor(params, tokens, loss)


class _Model:
    """What both models share: centred logs x = log N - mean, y = log D - mean."""

    def __init__(self, params: FloatArray, tokens: FloatArray, loss: FloatArray) -> None:
        self.log_loss = np.log(loss)
        self.centre = np.log(params).mean(), np.log(tokens).mean()
        self.x, self.y = np.log(params) - self.centre[0], np.log(tokens) - self.centre[1]
        self.rows = len(loss)
        self.faint = self.log_loss.min() - FAINT
        self.bright = self.log_loss.max() + 5.0

    def _uncentred(
        self, size: FloatArray, data: FloatArray, alpha: FloatArray, beta: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """A and B from the terms at the centre of the runs."""
        return size * np.exp(alpha * self.centre[0]), data * np.exp(beta * self.centre[1])

    def _powers(self, *, floor: bool, weights: FloatArray) -> FloatArray:
        """Amplitudes at the centre for every pair of exponents scanned; shape (2 or 3, points)."""
        terms = [np.exp(-SCAN[:, :1] * self.x), np.exp(-SCAN[:, 1:] * self.y)]
        if floor:
            terms.append(np.ones_like(terms[0]))
        features = np.stack(terms) * np.exp(-self.log_loss)
        powers: FloatArray = np.maximum(amplitudes(features, weights), np.exp(self.faint))
        return powers


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
        level, s, t, alpha, beta = theta.T[..., None]
        size = [np.exp(s) * part for part in _bent_line(self.x, alpha)]
        data = [np.exp(t) * part for part in _bent_line(self.y, beta)]
        ones = np.ones_like(size[0])
        return Derivatives(
            value=level + size[0] + data[0],
            first=np.stack([ones, size[0], data[0], size[1], data[1]], axis=1),
            second={
                (1, 1): size[0],
                (1, 3): size[1],
                (3, 3): size[2],
                (2, 2): data[0],
                (2, 4): data[1],
                (4, 4): data[2],
            },
        )

    def starts(self, weights: FloatArray) -> FloatArray:
        """A point for every pair of exponents scanned; shape (points, 5)."""
        size, data, floor = self._powers(floor=True, weights=weights)
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


class WithoutFloor(_Model):
    """Coordinates (log of the size term, log of the data term, alpha, beta); E = 0."""

    names = ("A", "B", "alpha", "beta")

    def __init__(self, params: FloatArray, tokens: FloatArray, loss: FloatArray) -> None:
        super().__init__(params, tokens, loss)
        low, high = EXPONENTS
        self.lower = np.array([self.faint, self.faint, low, low])
        self.upper = np.array([self.bright, self.bright, high, high])

    def predict(self, theta: FloatArray) -> FloatArray:
        """The loss m, shape (batch, runs)."""
        size, data, alpha, beta = theta.T[..., None]
        value: FloatArray = np.exp(size - alpha * self.x) + np.exp(data - beta * self.y)
        return value

    def expand(self, theta: FloatArray) -> Derivatives:
        """The loss m with its derivatives."""
        log_size, log_data, alpha, beta = theta.T[..., None]
        x, y = self.x, self.y
        size, data = np.exp(log_size - alpha * x), np.exp(log_data - beta * y)
        return Derivatives(
            value=size + data,
            first=np.stack([size, data, -x * size, -y * data], axis=1),
            second={
                (0, 0): size,
                (0, 2): -x * size,
                (2, 2): x * x * size,
                (1, 1): data,
                (1, 3): -y * data,
                (3, 3): y * y * data,
            },
        )

    def starts(self, weights: FloatArray) -> FloatArray:
        """A point for every pair of exponents scanned; shape (points, 4)."""
        return np.stack([*np.log(self._powers(floor=False, weights=weights)), *SCAN.T], axis=1)

    def natural(self, theta: FloatArray) -> FloatArray:
        """(0, A, B, alpha, beta) of theta."""
        log_size, log_data, alpha, beta = theta.T
        size = np.where(log_size > self.faint, np.exp(log_size), 0.0)
        data = np.where(log_data > self.faint, np.exp(log_data), 0.0)
        return np.stack(
            [np.zeros_like(alpha), *self._uncentred(size, data, alpha, beta), alpha, beta], axis=1
        )


def _bent_line(x: FloatArray, exponent: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The line (exp(-exponent x) - 1)/exponent and its first two derivatives by exponent."""
    power = np.expm1(-exponent * x)
    value = power / exponent
    shrunk = x * (power + 1)
    first = -(shrunk + value) / exponent
    return value, first, (x * shrunk - 2 * first) / exponent
