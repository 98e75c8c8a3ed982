"""A law of your own: any Python function of the runs' quantities, carried by lmfit.

    def mine(N, D, E=1.7, A=400, alpha=0.3):
        return E + A * np.log1p(N * D) ** -alpha

    sf.fit(runs, form=sf.law_of(mine))

Arguments called N, D, C or by the name of a quantity of the runs table are what the law is a
function of; the others are its constants, and their defaults say roughly where to look. An
``lmfit.Model`` may be given instead, whose parameter hints bound, fix or start its constants.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import qmc

from scalefit.errors import FitError
from scalefit.importers import SYNONYMS
from scalefit.laws.amplitudes import amplitudes
from scalefit.laws.base import Constant, Flags, FloatArray
from scalefit.laws.form import Form
from scalefit.laws.jets import Jet, lift, variables

if TYPE_CHECKING:
    import lmfit

SYMBOLS = {"N": "params", "D": "tokens", "C": "flops", "S": "steps", "L": "loss"}
STARTS = 2**9
REACH = np.log(30.0)  # how far about a start, as a factor, others lie
SMALL, SMALLER = 1e-6, 1e-4  # steps of numerical slopes and bends, relative
SIGHT = {
    "params": (16.0, 23.0), "tokens": (20.0, 26.0), "unique_tokens": (20.0, 26.0),
    "flops": (42.0, 52.0), "steps": (7.0, 12.0),
}  # fmt: skip
PLACES, STRAIGHT = 64, 1e-5
WIDE = 1e18  # a positive constant lies within this factor of its start


class Custom(Form):
    """A form around a function; the derivatives are exact where NumPy alone computes it."""

    def __init__(self, model: "lmfit.Model", response: str = "loss") -> None:
        """Take over a function and what its parameter hints say.

        Raises:
            FitError: if it is a function of no quantity, has no constants, or does not say where
                one of them may be looked for.
        """
        self.function, self.options = model.func, dict(model.opts)
        self.name, self.response = model.func.__name__, response
        self._arguments = (*model.independent_vars, *model.param_names)
        self.equation = f"{self.name}({', '.join(self._arguments)})"
        self.variables = tuple(SYMBOLS.get(name, name) for name in model.independent_vars)
        unknown = [name for name in self.variables if name not in SYNONYMS]
        if unknown or not self.variables or not model.param_names:
            raise FitError(
                f"{self.equation} must be a function of N, D, C or other quantities of the runs "
                f"table ({', '.join(SYNONYMS)}), and then of constants"
            )
        self._starts = np.array([_start(model, name) for name in model.param_names])
        self._exact = True
        self._linear, offset = self._structure()
        self.constants = tuple(
            _constant(model, name, start, offset=name in offset)
            for name, start in zip(model.param_names, self._starts, strict=True)
        )

    def formula(self, theta: Sequence[Any], *inputs: Any) -> Any:
        """The function; where it cannot take jets, by differences."""
        if not any(isinstance(value, Jet) for value in theta):
            return self._call(theta, inputs)
        if self._exact:
            try:
                found = self._call(theta, inputs)
                if isinstance(found, Jet):
                    return found
            except (TypeError, AttributeError, ValueError):
                pass
            self._exact = False
        return self._by_differences(theta, inputs)

    def starts(
        self, inputs: tuple[FloatArray, ...], response: FloatArray, weights: FloatArray
    ) -> FloatArray:
        """Around the constants' own starts, evenly in the logarithm (Sobol's sequence).

        Constants in which the function is linear follow from the others: variable projection.
        """
        spread = qmc.Sobol(len(self.constants), rng=0).random(STARTS)
        spread[0] = 0.5
        factor = np.exp(REACH * (2 * spread - 1))
        low, high = np.array([(c.low, c.high) for c in self.constants]).T
        points = np.where(self._starts == 0, np.log(factor), self._starts * factor)
        points = np.clip(points, low, high)
        if self._linear.any():
            points = self._projected(points, inputs, response, weights)
        kept: FloatArray = np.clip(points, low, high)
        return kept

    def _projected(
        self,
        points: FloatArray,
        inputs: tuple[FloatArray, ...],
        response: FloatArray,
        weights: FloatArray,
    ) -> FloatArray:
        """The points with their linear constants chosen by least squares of relative errors."""
        rest = np.where(self._linear, 0.0, points)
        fixed = self.predict(rest[:, None], *inputs)
        unit = np.eye(len(self.constants))[self._linear]
        terms = [self.predict((rest + one)[:, None], *inputs) - fixed for one in unit]
        features, target = np.stack(terms) / response, 1 - fixed / response
        good: Flags = np.isfinite(features.sum(axis=(0, 2)) + target.sum(axis=1))
        rows = good.reshape(-1, 1)
        found = amplitudes(np.where(rows, features, 0.0), weights, np.where(rows, target, 0.0))
        chosen = points.copy()
        chosen[:, self._linear] = np.where(good & (found > 0), found, chosen[:, self._linear].T).T
        return chosen

    def _structure(self) -> tuple[Flags, frozenset[str]]:
        """In which constants the function is linear, all at once, and which are mere offsets.

        Seen at the starts, on a few places of plausible size.
        """
        rng = np.random.default_rng(0)
        inputs = [
            np.exp(rng.uniform(*SIGHT.get(name, (0.0, 3.0)), PLACES)) for name in self.variables
        ]
        with np.errstate(all="ignore"):
            jet = self.formula(variables(self._starts[None]), *inputs)
            size = np.abs(self._starts) + (self._starts == 0)
            bend = np.abs(jet.second[0] * size[:, None, None] * size[None, :, None])
            most: FloatArray = bend.max(axis=-1) / np.abs(jet.value).max()
            slope = np.broadcast_to(jet.first[0], (len(size), PLACES))
        straight: Flags = np.less(most, STRAIGHT)
        linear: Flags = np.diagonal(straight) & (self._starts > 0)
        for i in np.flatnonzero(linear):
            linear[i] = straight[i, linear].all()
        level = np.ptp(slope, axis=1) <= STRAIGHT * np.abs(slope).max(axis=1)
        names = self._arguments[len(self.variables) :]
        return linear, frozenset(n for n, yes in zip(names, level & linear, strict=True) if yes)

    def _call(self, theta: Sequence[Any], inputs: Sequence[Any]) -> Any:
        named = dict(zip(self._arguments, (*inputs, *theta), strict=True))
        return self.function(**named, **self.options)

    def _by_differences(self, theta: Sequence[Any], inputs: Sequence[Any]) -> Jet:
        """The function's Taylor expansion in its constants, by central differences."""
        at = [np.asarray(t.value if isinstance(t, Jet) else t, dtype=np.float64) for t in theta]
        p = len(at)

        def value(*moves: tuple[int, float]) -> Any:
            point = list(at)
            for i, step in moves:
                point[i] = point[i] + step * scale[i]
            return self._call(point, inputs)

        scale = [np.maximum(np.abs(x), 1e-8) for x in at]
        h, g = SMALL, SMALLER
        middle = value()
        first = [(value((i, h)) - value((i, -h))) / (2 * h * scale[i]) for i in range(p)]
        second = {
            (i, j): (
                value((i, g), (j, g))
                - value((i, g), (j, -g))
                - value((i, -g), (j, g))
                + value((i, -g), (j, -g))
            )
            / (4 * g * g * scale[i] * scale[j])
            for i in range(p)
            for j in range(i + 1)
        }
        return lift(middle, first, second, theta)


def law_of(function: "Callable[..., Any] | lmfit.Model", *, response: str = "loss") -> Custom:
    """A form of a Python function or of an ``lmfit.Model``.

    Args:
        function: of N, D, C or other quantities and of constants, vectorised over the quantities;
            defaults of the constants are starts. Constants that start positive stay positive unless
            an lmfit parameter hint gives them another ``min``.
        response: the quantity that it predicts.

    Raises:
        FitError: if its arguments cannot be told apart.
    """
    import lmfit

    if not isinstance(function, lmfit.Model):
        function = lmfit.Model(function, independent_vars=_independent(function))
    return Custom(function, response)


def _independent(function: Callable[..., Any]) -> list[str]:
    import inspect

    names = inspect.signature(function).parameters
    return [name for name in names if SYMBOLS.get(name, name) in SYNONYMS]


def _hint(model: "lmfit.Model", name: str) -> dict[str, Any]:
    return dict(model.param_hints.get(name, {}))


def _start(model: "lmfit.Model", name: str) -> float:
    hint = _hint(model, name)
    value = hint.get("value", model.def_vals.get(name))
    if value is None and np.isfinite([hint.get("min", np.nan), hint.get("max", np.nan)]).all():
        low, high = hint["min"], hint["max"]
        value = np.sqrt(low * high) if low > 0 else (low + high) / 2
    if value is None or not np.isfinite(value):
        raise FitError(
            f"{model.func.__name__} does not say where {name} may lie; "
            f"give it a default, {name}=1.0, or an lmfit parameter hint"
        )
    return float(value)


def _constant(model: "lmfit.Model", name: str, start: float, *, offset: bool) -> Constant:
    hint = _hint(model, name)
    low = float(hint.get("min", 0.0 if start > 0 else -np.inf))
    high = float(hint.get("max", np.inf))
    if low < 0 or start <= 0 or offset:  # an offset of nothing is a law like any other
        return Constant(name, low, high)
    return Constant(name, max(low, start / WIDE), min(high, start * WIDE), scale="log")
