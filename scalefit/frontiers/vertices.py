"""Where each isoFLOP profile is lowest: by a polynomial, or by interpolation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.interpolate import Akima1DInterpolator

from scalefit.frontiers.budgets import Profile
from scalefit.laws import FloatArray

STEPS = 25  # of Akima's grid between two sizes (Porian et al. 2024)
SMOOTH = 7  # sizes about the lowest loss whose cubic tells the noise of a profile
LEAST = 0.1  # of the lowest loss: a curve that falls below is nowhere near the runs
SATURATED = 1e-6  # 1 - leverage of a row that its curve passes through whatever it says


@dataclass(frozen=True, slots=True, kw_only=True)
class Vertices:
    """The minima of profiles, shape (batch, profiles).

    Attributes:
        log_params: log N*, which is an end of the profile where the loss still falls there.
        log_loss: log L*.
        own: log N* from the profile itself, where ``log_params`` comes from all of them.
    """

    log_params: FloatArray
    log_loss: FloatArray
    own: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What the rows of profiles say of their noise.

    Attributes:
        values: the curves at the rows, by profile.
        errors: the rows' errors of log loss, corrected for how far the curves follow them.
        freedom: degrees of freedom that all of these have together.
        pooled: whether all rows are taken to be equally noisy.
    """

    values: Sequence[FloatArray]
    errors: Sequence[FloatArray]
    freedom: int
    pooled: bool = False


class Variant(Protocol):
    """A way to find the minimum of profiles; it knows how many sizes that takes, and its name."""

    @property
    def name(self) -> str: ...
    @property
    def least(self) -> int: ...
    @property
    def curve(self) -> str: ...
    def vertices(self, profiles: Sequence[Profile], losses: Sequence[FloatArray]) -> Vertices: ...
    def noise(self, profiles: Sequence[Profile]) -> Noise: ...
    def weights(self, profiles: Sequence[Profile]) -> FloatArray: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Polynomial:
    """A polynomial of loss in log N for each budget (degree 2: Hoffmann et al. 2022, section 3.2).

    In L, not log L: then its minimum does not depend on E or on how deep the profile is.
    """

    name: str
    degree: int

    @property
    def least(self) -> int:
        """As many sizes as it has coefficients."""
        return self.degree + 1

    @property
    def curve(self) -> str:
        """What it draws through a profile."""
        return f"a {self.name} of loss in log N"

    def vertices(self, profiles: Sequence[Profile], losses: Sequence[FloatArray]) -> Vertices:
        """The minima for losses (batch, rows) of each profile."""
        found = [self._lowest(p, loss) for p, loss in zip(profiles, losses, strict=True)]
        log_n, log_l = (np.stack(column, axis=1) for column in zip(*found, strict=True))
        return Vertices(log_params=log_n, log_loss=log_l, own=log_n)

    def noise(self, profiles: Sequence[Profile]) -> Noise:
        """From the residuals of each polynomial."""
        values, leverage = [], []
        for profile in profiles:
            powers = self._powers(profile)
            hat = powers @ np.linalg.pinv(powers)
            values.append(np.maximum(hat @ profile.loss, LEAST * profile.loss.min()))
            leverage.append(np.diag(hat))
        residuals = [np.log(p.loss / v) for p, v in zip(profiles, values, strict=True)]
        freedom = sum(len(p.rows) - self.degree - 1 for p in profiles)
        return corrected(values, residuals, leverage, freedom)

    def weights(self, profiles: Sequence[Profile]) -> FloatArray:
        """All alike, as published."""
        return np.ones(len(profiles))

    def _powers(self, profile: Profile) -> FloatArray:
        return np.vander(_scaled(profile, profile.log_params), self.degree + 1, increasing=True)

    def _lowest(self, profile: Profile, loss: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Log N* and log L*, shape (batch,), within the sizes trained."""
        found = loss @ np.linalg.pinv(self._powers(profile)).T
        bottom = _bottom(found)
        inside = np.abs(bottom) < 1
        ones = np.ones(len(loss))
        places = np.stack([np.where(inside, bottom, 0.0), -ones, ones])
        value = sum(found[:, i] * places**i for i in range(self.degree + 1))
        ends = 1 + np.argmin(value[1:], axis=0)
        best = np.where(inside, 0, ends), np.arange(len(loss))
        low, high = profile.ends
        log_n = (low + high) / 2 + (high - low) / 2 * places[best]
        return log_n, logarithm(value[best])


class Akima:
    """Akima's interpolation of log L in log N, as Porian et al. 2024 (arXiv:2406.19146) use it.

    The minimum is looked for on their geometric grid, of 25 points for each distance between sizes;
    where they take the grid point, a parabola through it and its neighbours goes the rest.
    """

    name = "akima"
    least = 3
    curve = "Akima's interpolation of log loss in log N"

    def vertices(self, profiles: Sequence[Profile], losses: Sequence[FloatArray]) -> Vertices:
        """The minima for losses (batch, rows) of each profile."""
        found = [self._lowest(p, loss) for p, loss in zip(profiles, losses, strict=True)]
        log_n, log_l = (np.stack(column, axis=1) for column in zip(*found, strict=True))
        return Vertices(log_params=log_n, log_loss=log_l, own=log_n)

    def noise(self, profiles: Sequence[Profile]) -> Noise:
        """From cubics through the sizes about each lowest loss: the curve itself has no residuals.

        All rows are taken to be equally noisy.
        """
        near = [profile.lowest(SMOOTH) for profile in profiles]
        near = [profile for profile in near if len(profile.rows) > CUBIC.least]
        rest = CUBIC.noise(near)
        pooled = np.concatenate([np.zeros(0), *rest.errors])
        sd = np.sqrt((pooled**2).mean()) if len(pooled) else 0.0
        return Noise(
            values=[profile.loss for profile in profiles],
            errors=[np.full(len(profile.rows), sd) for profile in profiles],
            freedom=rest.freedom,
            pooled=True,
        )

    def weights(self, profiles: Sequence[Profile]) -> FloatArray:
        """By the distance of sizes, 1/distance^2.

        Porian et al. weigh by 1/error^2 and let no error be below a third of that distance; with
        the noise that they take it nearly always is, so the distance decides.
        """
        weights: FloatArray = np.array([self._step(profile) for profile in profiles]) ** -2.0
        return weights

    def _points(self, profile: Profile) -> int:
        return (profile.sizes - 1) * STEPS

    def _step(self, profile: Profile) -> float:
        return float(np.diff(profile.ends)[0]) / (self._points(profile) - 1)

    def _lowest(self, profile: Profile, loss: FloatArray) -> tuple[FloatArray, FloatArray]:
        size, average = profile.by_size
        log_l = np.log(loss) @ average.T
        places = np.linspace(size[0], size[-1], self._points(profile))
        curve = Akima1DInterpolator(size, log_l, axis=1)(places)
        return _refined(places, curve)


def logarithm(loss: FloatArray) -> FloatArray:
    """Log of a curve's least loss; NaN where it falls below 0, which no loss does."""
    log_loss: FloatArray = np.log(np.where(loss > 0, loss, np.nan))
    return log_loss


def corrected(
    values: Sequence[FloatArray],
    residuals: Sequence[FloatArray],
    leverage: Sequence[FloatArray],
    freedom: int,
) -> Noise:
    """Residuals of log loss over sqrt(1 - leverage), whose squares are unbiased (HC2).

    A row that its curve passes through whatever its loss is tells nothing of its noise, and takes
    what all the others have.
    """
    total = sum(float((r**2).sum()) for r in residuals)
    pooled = np.sqrt(total / freedom) if freedom > 0 else 0.0
    errors = [
        np.where(h < 1 - SATURATED, r / np.sqrt(np.maximum(1 - h, SATURATED)), pooled)
        for r, h in zip(residuals, leverage, strict=True)
    ]
    return Noise(values=values, errors=errors, freedom=max(freedom, 0))


def _scaled(profile: Profile, log_params: FloatArray) -> FloatArray:
    """Log N as -1 to 1 over the profile."""
    low, high = profile.ends
    return (2 * log_params - low - high) / (high - low)


def _bottom(found: FloatArray) -> FloatArray:
    """Where polynomials with coefficients (batch, 3 or 4) have a local minimum; inf if nowhere.

    Of the two roots of a cubic's slope the one where it curves upwards, written so that it tends to
    the parabola's as the cubic term vanishes.
    """
    first, second = found[:, 1], found[:, 2]
    third = found[:, 3] if found.shape[1] > 3 else np.zeros_like(first)
    with np.errstate(divide="ignore", invalid="ignore"):
        bend = second + np.sqrt(second**2 - 3 * first * third)
        place = -first / bend
    return np.where((bend > 0) & np.isfinite(place), place, np.inf)


def _refined(places: FloatArray, curve: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Place and height of the least of curves (batch, places), by three points; ends stay."""
    best = curve.argmin(axis=1)
    middle = np.clip(best, 1, len(places) - 2)
    near = middle[:, None] + np.array([-1, 0, 1])
    left, height, right = np.take_along_axis(curve, near, axis=1).T
    bend = left - 2 * height + right
    inner = (best == middle) & (bend > 0)
    step = np.where(inner, (left - right) / (2 * np.where(inner, bend, 1.0)), 0.0)
    lowest = curve[np.arange(len(curve)), best] - np.where(inner, bend, 0.0) * step**2 / 2
    return places[best] + step * (places[1] - places[0]), lowest


PARABOLA = Polynomial(name="parabola", degree=2)
CUBIC = Polynomial(name="cubic", degree=3)
