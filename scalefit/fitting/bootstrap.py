"""How sure: the fit repeated on resampled runs, all replicates solved together."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from scalefit.fitting.objective import Objective
from scalefit.fitting.optimum import POSITIVE, Limits, Optimum, refind
from scalefit.fitting.result import Interval
from scalefit.laws import Flags, FloatArray, Form, Model

BLOCK = 2**23  # weights (replicates, rows) in memory at once
FEW_UNITS = 6  # units of which there are fewer different resamples (462) than replicates
GROUPS = 500  # units left out in turn, at most
Units = npt.NDArray[np.intp]
"""Each row's unit of resampling by number, from 0 and without gaps."""
Build = Callable[..., Sequence[Model]]
"""The models of a form on columns of runs, its variables and then the response: ``form.models``."""


def by_size(params: FloatArray) -> Units:
    """Rows of one model size as one unit: for tables that do not name their runs."""
    return np.unique(params, return_inverse=True)[1]


def replicate(
    models: Sequence[Model],
    objective: Objective,
    optimum: Optimum,
    cluster: Units | None,
    *,
    count: int,
    seed: int,
    base: FloatArray | None = None,
    limits: Limits = POSITIVE,
) -> FloatArray:
    """The law fitted to ``count`` resamples of the runs, shape (replicates, parameters).

    ``cluster`` gives each row the number of its run, or is None if every row is a run of its own.
    Rows of one run share its noise, so runs are drawn, not rows (Cameron, Gelbach & Miller 2008).
    Replicates that did not converge are left out. ``base`` are the rows' own weights, ``limits``
    those of an admissible law.
    """
    rng = np.random.default_rng(seed)
    units = _units(models[0].rows, cluster)
    size = int(units.max()) + 1

    def weights(batch: int) -> FloatArray:
        drawn = rng.integers(size, size=(batch, size)) + size * np.arange(batch)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=batch * size).reshape(batch, size)
        weigh = counts.astype(np.float64)
        weigh = weigh if cluster is None else weigh[:, units]
        return weigh if base is None else weigh * base

    return _refitted(models, objective, optimum, weights, count, limits, size)


def replicate_wild(
    form: Form,
    build: Build,
    runs: tuple[FloatArray, ...],
    objective: Objective,
    optimum: Optimum,
    cluster: Units | None,
    *,
    count: int,
    seed: int,
    base: FloatArray | None = None,
    limits: Limits = POSITIVE,
) -> FloatArray:
    """The law fitted to ``count`` tables whose residuals have random signs; else as ``replicate``.

    Every run stays where it is, with the noise of its own place: log loss is the fitted one plus
    or minus the residual, with one sign for all rows of a run (wild cluster bootstrap with
    Rademacher weights: Cameron, Gelbach & Miller 2008). The residuals are those against the law
    fitted without the run (MacKinnon, Nielsen & Webb 2023): those of the fit itself are too small,
    and near least absolute deviations as many as there are parameters are zero.

    Args:
        form: the law's form.
        build: makes the models that were fitted from the columns.
        runs: the form's variables and the response, each of shape (rows, ...).
        objective: as for ``replicate``, like all that follow.
        optimum: the fit whose residuals they are.
        cluster: whose rows share a sign.
        count: replicates.
        seed: of the signs.
        base: the rows' own weights.
        limits: of an admissible law's parameters.
    """
    *inputs, loss = runs
    rows = np.ones(len(loss)) if base is None else base
    units = _units(len(loss), cluster)
    without = _left_out(build(*runs), objective, optimum, units, rows, limits)
    ratio = loss / form.predict(without, *inputs)
    fitted = optimum.model.predict(optimum.theta[None])[0]
    # Each row stands there twice, with its residual and with the mirrored one; a replicate is a
    # choice between the two, so all of them share one table and differ in weights alone.
    both = np.concatenate([fitted * ratio, fitted / ratio])
    models = build(*(np.concatenate([column, column]) for column in inputs), both)
    rng = np.random.default_rng(seed)

    def weights(batch: int) -> FloatArray:
        kept = rng.integers(2, size=(batch, int(units.max()) + 1)).astype(np.float64)[:, units]
        return np.concatenate([kept * rows, (1 - kept) * rows], axis=1)

    return _refitted(models, objective, optimum, weights, count, limits, int(units.max()) + 1)


def intervals(
    form: Form, theta: FloatArray, draws: FloatArray, level: float, gone: Flags
) -> dict[str, Interval]:
    """Percentile intervals of the parameters and, of a form that plans, of its exponents a and b.

    Args:
        form: whose parameters they are.
        theta: the optimum, shape (parameters,).
        draws: replicates, shape (draws, parameters); with none, the limits are None.
        level: confidence.
        gone: whether each parameter means nothing at the optimum and at each draw, shape
            (1 + draws, parameters). One that may be gone at this level is not identified: "E is
            2.1" would be a lone number that means little.
    """
    names = measured(form)
    values, spread = measure(form, theta), measure(form, draws)
    held = ~gone[0] & (gone[1:].sum(axis=0) <= (1 - level) / 2 * len(draws))
    identified = dict(zip(form.parameters, held.tolist(), strict=True))
    both = all(identified[constant.name] for constant in form.constants if constant.essential)
    return {
        name: Interval(
            value=float(value),
            low=low,
            high=high,
            level=level,
            identified=identified.get(name, both),
        )
        for name, value, (low, high) in zip(names, values, _limits(spread, level), strict=True)
    }


def measured(form: Form) -> tuple[str, ...]:
    """The numbers that a fit of a form reports: its constants, and a and b where it plans."""
    return (*form.parameters, *("ab" if form.plans and "a" not in form.parameters else ""))


def measure(form: Form, natural: FloatArray) -> FloatArray:
    """Those numbers for constants (..., parameters), shape (..., numbers)."""
    if measured(form) == form.parameters:
        return natural
    with np.errstate(invalid="ignore"):
        return np.concatenate([natural, form.exponents(natural)], axis=-1)


def _limits(draws: FloatArray, level: float) -> list[tuple[float, float] | tuple[None, None]]:
    """For each column of draws (replicates, columns) its low and high percentile."""
    if not len(draws):
        return [(None, None)] * draws.shape[1]
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    known = np.isfinite(low) & np.isfinite(high)
    return [
        (float(a), float(b)) if ok else (None, None)
        for a, b, ok in zip(low, high, known, strict=True)
    ]


def _refitted(
    models: Sequence[Model],
    objective: Objective,
    optimum: Optimum,
    weights: Callable[[int], FloatArray],
    count: int,
    limits: Limits,
    units: int,
) -> FloatArray:
    draws = [np.empty((0, len(optimum.natural)))]
    together = max(1, min(count, BLOCK // models[0].rows))
    for first in range(0, count, together):
        batch, again = weights(min(together, count - first)), None
        if units <= FEW_UNITS:  # the same resample comes many times, and is fitted once
            batch, again = np.unique(batch, axis=0, return_inverse=True)
        natural, converged = refind(models, objective, optimum, batch, limits, units=units)
        if again is not None:
            natural, converged = natural[again.ravel()], converged[again.ravel()]
        draws.append(natural[converged])
    return np.concatenate(draws)


def _units(rows: int, cluster: Units | None) -> Units:
    return np.arange(rows) if cluster is None else cluster


def _left_out(
    models: Sequence[Model],
    objective: Objective,
    optimum: Optimum,
    units: Units,
    base: FloatArray,
    limits: Limits,
) -> FloatArray:
    """For each row the law fitted without its unit, shape (rows, parameters).

    With very many units, those of one number modulo ``GROUPS`` are left out together.
    """
    group = units % GROUPS
    weights = (np.arange(group.max() + 1)[:, None] != group) * base
    natural, converged = refind(models, objective, optimum, weights, limits)
    return np.where(converged[:, None], natural, optimum.natural)[group]
