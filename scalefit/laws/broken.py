"""A power law with one smooth break (Caballero et al. 2023, arXiv:2210.14891, eq. 1).

Before x = d1 the loss falls as x^-c0, after it as x^-(c0 + c1), down to a floor; the turn takes
about f1 nats of log x on either side. What the paper calls a and b are E and A here, as in other
laws.
"""

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from scalefit.laws.amplitudes import amplitudes
from scalefit.laws.base import Bend, Constant, Constraints, Derivatives, FloatArray, Model
from scalefit.laws.form import Form, grid
from scalefit.laws.power import Axis
from scalefit.laws.smooth import Smooth

PLACES = (np.arange(8) + 0.5) / 8
"""Where the break is tried, as a fraction of the range of log x."""
WIDTHS = (0.02, 0.06, 0.2)
"""How wide it is tried there, likewise."""
FALLS = (-1.0, -0.2, 0.0, *np.geomspace(0.15, 20.0, 16).tolist())
"""By how many nats the term would fall over that range at its first and at its last exponent."""
SCAN = grid(WIDTHS, FALLS, FALLS)
KEPT = 4  # places of each kind of break
WIDEST = 0.25  # f1 as a fraction of that range: three quarters of such a turn fill it


class Broken(Form):
    """theta = (E, A, c0, c1, d1, f1). Exponents may be negative: a loss may rise before it falls.

    Without a break among the runs c1, d1 and f1 mean nothing, and the fit is not identified.
    """

    def __init__(self, axis: Axis) -> None:
        x = axis.symbol
        self.name = f"broken-{x.lower()}"
        self.equation = f"L({x}) = E + A {x}^-c0 [1 + ({x}/d1)^(1/f1)]^(-c1 f1)"
        self.variables = (axis.variable,)
        self.driven = {axis.variable: "c0"}  # type: ignore[misc] # one class, three variables
        self.constants = (
            Constant("E"),
            Constant("A", scale="amplitude", exponent="c0", variable=axis.variable),
            Constant("c0", -20.0, 20.0),
            Constant("c1", -100.0, 100.0, essential=True),
            Constant("d1", scale="log", essential=True),
            Constant("f1", 1e-2, 10.0, scale="log"),
        )

    def formula(self, theta: Sequence[Any], *inputs: Any) -> Any:
        """Equation 1, by logarithms: its inner power leaves the range of doubles."""
        floor, height, before, more, at, width = theta
        log_x = np.log(inputs[0])
        beyond = width * np.logaddexp(0.0, (log_x - np.log(at)) / width)
        return floor + np.exp(np.log(height) - before * log_x - more * beyond)

    def models(
        self, *columns: FloatArray, constraints: Constraints | None = None
    ) -> tuple[Model, ...]:
        """The law on runs, with derivatives by hand where nothing is known of its constants."""
        kind = Turn if constraints is None else Bent
        return (kind(self, columns[:-1], columns[-1], constraints),)

    def starts(
        self, inputs: tuple[FloatArray, ...], response: FloatArray, weights: FloatArray
    ) -> FloatArray:
        """The best places of a break that steepens the fall, and of one that flattens it.

        At each the widths and exponents that suit it best; E and A follow from these: variable
        projection. Together they are as many as are polished, for either kind hides the other.
        """
        log_x = np.log(inputs[0])
        found = [_tried(log_x, response, weights, place) for place in PLACES]
        points, wrong = (np.stack(parts) for parts in zip(*found, strict=True))
        kinds = SCAN[:, 2] > SCAN[:, 1], SCAN[:, 2] < SCAN[:, 1]
        return np.concatenate([_best(points[:, kind], wrong[:, kind]) for kind in kinds])


def _tried(
    log_x: FloatArray, response: FloatArray, weights: FloatArray, place: float
) -> tuple[FloatArray, FloatArray]:
    """Constants for a break at a place, shape (scanned, 6), and the squared errors they leave."""
    low, span = log_x.min(), np.ptp(log_x)
    scan = SCAN * [span, 1 / span, 1 / span]
    width, before, after = scan.T[:, :, None]
    beyond = width * np.logaddexp(0.0, (log_x - low - place * span) / width)
    terms = np.exp(-before * (log_x - low) - (after - before) * beyond)
    features = np.stack([np.ones_like(terms), terms]) / response
    floor, height = amplitudes(features, weights, np.ones_like(response))
    wide, first, last = scan.T
    at = np.full_like(wide, np.exp(low + place * span))
    constants = [floor, height * np.exp(first * low), first, last - first, at, wide]
    fitted = floor[:, None] * features[0] + height[:, None] * features[1]
    return np.stack(constants, axis=1), (fitted - 1) ** 2 @ weights


def _best(points: FloatArray, wrong: FloatArray) -> FloatArray:
    """The best point (6,) of each of the best places, from those of all (places, scanned, 6)."""
    best = wrong.argmin(axis=1)
    places = np.argsort(wrong.min(axis=1))[:KEPT]
    kept: FloatArray = points[places, best[places]]
    return kept


class Bent(Smooth):
    """A model whose break lies among the runs and turns within their range.

    What bends elsewhere, or all along, is told neither from a floor nor from another exponent.
    """

    def _range(self, constant: Constant) -> tuple[float, float]:
        low, high = super()._range(constant)
        if self._said.touches(constant.name):
            return low, high
        log_x = np.log(self.inputs[0])
        match constant.name:
            case "A":  # mid-range there may be any share left of A x^-c0: the break says how much
                return -np.inf, np.inf
            case "d1":
                return float(log_x.min()), float(log_x.max())
            case "f1":
                return low, max(low, min(high, float(np.log(np.ptp(log_x) * WIDEST))))
        return low, high


class Turn(Bent):
    """The model with all constants free, whose derivatives take jets four times as long.

    With g the logarithm of the term, its slopes are those of g times it, and its bends
    term (g_i g_j + g_ij).
    """

    def expand(self, theta: FloatArray) -> Derivatives:
        """The response m with its derivatives."""
        batch, p = theta.shape
        with np.errstate(all="ignore"):
            term, slopes, bends = self._logarithm(theta)
            pairs = tuple(combinations_with_replacement(range(1, p), 2))
            basis = np.empty((batch, p + len(pairs), self.rows))
            basis[:, 0] = 1.0
            for i in range(1, p):
                np.multiply(term, slopes[i], out=basis[:, i])
            for k, (i, j) in enumerate(pairs, start=p):
                np.multiply(basis[:, i], slopes[j], out=basis[:, k])
                if (i, j) in bends:
                    basis[:, k] += term * bends[i, j]
            value = theta[:, :1] + term
        one = np.ones(batch)
        return Derivatives(
            value=value,
            basis=basis,
            slopes=np.broadcast_to(np.eye(p), (batch, p, p)),
            bends=tuple(
                Bend(i=i, j=j, coefficient=one, index=k) for k, (i, j) in enumerate(pairs, start=p)
            ),
        )

    def _logarithm(
        self, theta: FloatArray
    ) -> tuple[FloatArray, dict[int, Any], dict[tuple[int, int], FloatArray]]:
        """The term and the first and second derivatives of its logarithm, by coordinates."""
        _, height, before, more, at, soft = theta.T[..., None]
        (name,) = self.form.variables
        log_x, width = np.log(self.inputs[0]), np.exp(soft)
        away = log_x - self._at[name]
        z = (log_x - at) / width
        above = np.logaddexp(0.0, z)
        share = np.exp(z - above)
        beyond, turn, sharp = width * above, width * (above - z * share), share * (1 - share)
        term = np.exp(height - before * away - more * beyond)
        slopes = {1: 1.0, 2: -away, 3: -beyond, 4: more * share, 5: -more * turn}
        bends = {
            (3, 4): share,
            (3, 5): -turn,
            (4, 4): -more * sharp / width,
            (4, 5): -more * z * sharp,
            (5, 5): -more * (turn + width * z**2 * sharp),
        }
        return term, slopes, bends
