"""How sure a fit is, by the method asked for: limits of every parameter and joint draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scalefit.errors import FitError
from scalefit.fitting.bootstrap import Build, Units, by_size, intervals, replicate, replicate_wild
from scalefit.fitting.objective import Objective
from scalefit.fitting.optimum import Limits, Optimum, admissible
from scalefit.fitting.profile import profile
from scalefit.fitting.result import Interval
from scalefit.fitting.sandwich import Sandwich, sandwich
from scalefit.fitting.targets import Target, target
from scalefit.laws import FloatArray, Form, Model

METHODS: Mapping[str, str] = {
    "bootstrap": "resampled runs, or rows where every row is a run of its own",
    "size": "resampled model sizes: for tables that do not name their runs",
    "wild": "random signs of the residuals of whole runs, every run in its place",
    "hc3": "the sandwich covariance, at once and without resampling",
    "profile": "the range over all laws that fit well enough",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Everything a fit was made of; ``runs`` are its columns, the response last."""

    form: Form
    build: Build
    models: Sequence[Model]
    objective: Objective
    optimum: Optimum
    runs: tuple[FloatArray, ...]
    weights: FloatArray
    cluster: Units | None
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncertainty:
    """Intervals by parameter, joint draws (draws, parameters), how many were tried, of what."""

    intervals: Mapping[str, Interval]
    draws: FloatArray
    tried: int
    unit: str


def uncertainty(
    setting: Setting, method: str, *, count: int, seed: int, level: float
) -> Uncertainty:
    """Limits at a level and joint draws for what follows from the law.

    "hc3" draws from the normal distribution of its covariance, "profile" resamples as "bootstrap"
    for its draws. With ``count`` 0 there are no draws, and of the resampling methods no limits.

    Raises:
        FitError: for an unknown method.
    """
    if method not in METHODS:
        raise FitError(f"no interval is called {method!r}; there is {', '.join(METHODS)}")
    cluster = sizes(setting) if method == "size" else setting.cluster
    local = _sandwich(setting) if method == "hc3" else None
    draws = _draws(setting, method, cluster, local, count, seed)
    gone = setting.form.vanished(np.vstack([setting.optimum.natural, draws]), *setting.runs)
    found = intervals(setting.form, setting.optimum.natural, draws, level, gone)
    if local is not None:
        found = {
            name: _limited(entry, local.interval(target(setting.form, name), level))
            for name, entry in found.items()
        }
    if method == "profile":
        found = {
            name: _limited(entry, profiled(setting, name, level)) for name, entry in found.items()
        }
    unit = "sizes" if method == "size" else "rows" if setting.cluster is None else "runs"
    return Uncertainty(intervals=found, draws=draws, tried=count, unit=unit)


def sizes(setting: Setting) -> Units:
    """Every row's model size by number, the unit of "size".

    Raises:
        FitError: if the form has none.
    """
    if "params" not in setting.form.variables:
        raise FitError(
            f"{setting.form.equation} knows no sizes to resample; take --interval bootstrap"
        )
    return by_size(setting.runs[setting.form.variables.index("params")])


def _draws(
    setting: Setting,
    method: str,
    cluster: Units | None,
    local: Sandwich | None,
    count: int,
    seed: int,
) -> FloatArray:
    common = setting.objective, setting.optimum, cluster
    if local is not None:
        return _normal(setting, local, count, seed)
    if method == "wild":
        return replicate_wild(
            setting.form, setting.build, setting.runs, *common,
            count=count, seed=seed, base=setting.weights, limits=setting.limits,
        )  # fmt: skip
    return replicate(
        setting.models, *common,
        count=count, seed=seed, base=setting.weights, limits=setting.limits,
    )  # fmt: skip


def _sandwich(setting: Setting) -> Sandwich:
    return sandwich(
        setting.models, setting.objective, setting.optimum, setting.cluster, base=setting.weights
    )


def _normal(setting: Setting, local: Sandwich, count: int, seed: int) -> FloatArray:
    """Draws of the laws that the covariance allows; those that are no law are left out."""
    if not np.isfinite(local.covariance).all():
        return np.empty((0, len(setting.optimum.natural)))
    rng = np.random.default_rng(seed)
    theta = rng.multivariate_normal(local.theta, local.covariance, size=count, method="eigh")
    theta = np.clip(theta, local.model.lower, local.model.upper)
    natural = local.model.natural(theta)
    kept: FloatArray = natural[admissible(natural, setting.limits)]
    return kept


def profiled(
    setting: Setting, quantity: str | Target, level: float
) -> tuple[float | None, float | None]:
    """Profile limits of a quantity; see ``scalefit.fitting.profile``."""
    return profile(
        setting.models, setting.objective, setting.optimum, setting.form, quantity, level,
        cluster=setting.cluster, base=setting.weights, limits=setting.limits,
    )  # fmt: skip


def _limited(entry: Interval, limits: tuple[float | None, float | None]) -> Interval:
    low, high = limits
    return Interval(
        value=entry.value,
        low=low,
        high=high,
        level=entry.level,
        identified=entry.identified and low is not None and high is not None,
    )
