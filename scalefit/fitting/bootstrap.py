"""How sure: the fit repeated on resampled runs, all replicates solved together."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from scalefit.fitting.objective import Huber
from scalefit.fitting.optimum import Optimum, refind
from scalefit.fitting.result import Interval
from scalefit.laws import Flags, FloatArray, Form, Model

BLOCK = 1024  # replicates whose weights are in memory at once


def replicate(
    models: Sequence[Model],
    objective: Huber,
    optimum: Optimum,
    cluster: npt.NDArray[np.intp] | None,
    *,
    count: int,
    seed: int,
) -> FloatArray:
    """The law fitted to ``count`` resamples of the runs, shape (replicates, parameters).

    ``cluster`` gives each row the number of its run, or is None if every row is a run of its own.
    Rows of one run share its noise, so runs are drawn, not rows (Cameron, Gelbach & Miller 2008).
    Replicates that did not converge are left out.
    """
    rng = np.random.default_rng(seed)
    rows = models[0].rows
    draws = [np.empty((0, len(optimum.natural)))]
    for first in range(0, count, BLOCK):
        weights = _weights(rng, rows, cluster, min(BLOCK, count - first))
        natural, converged = refind(models, objective, optimum, weights)
        draws.append(natural[converged])
    return np.concatenate(draws)


def intervals(
    form: Form, theta: FloatArray, draws: FloatArray, level: float, gone: Flags
) -> dict[str, Interval]:
    """Percentile intervals of the parameters and of the planned exponents a and b.

    Args:
        form: whose parameters they are.
        theta: the optimum, shape (parameters,).
        draws: replicates, shape (draws, parameters); with none, the limits are None.
        level: confidence.
        gone: whether each parameter means nothing at the optimum and at each draw, shape
            (1 + draws, parameters). One that may be gone at this level is not identified: "E is
            2.1" would be a lone number that means little.
    """
    names = (*form.parameters, "a", "b")
    values = np.concatenate([theta, form.exponents(theta)])
    spread = np.concatenate([draws, form.exponents(draws)], axis=-1)
    held = ~gone[0] & (gone[1:].sum(axis=0) <= (1 - level) / 2 * len(draws))
    identified = dict(zip(form.parameters, held.tolist(), strict=True))
    both = identified["alpha"] and identified["beta"]
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


def _limits(draws: FloatArray, level: float) -> list[tuple[float, float] | tuple[None, None]]:
    """For each column of draws (replicates, columns) its low and high percentile."""
    if not len(draws):
        return [(None, None)] * draws.shape[1]
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _weights(
    rng: np.random.Generator, rows: int, cluster: npt.NDArray[np.intp] | None, count: int
) -> FloatArray:
    units = rows if cluster is None else int(cluster.max()) + 1
    drawn = rng.multinomial(units, np.full(units, 1 / units), size=count).astype(np.float64)
    return drawn if cluster is None else drawn[:, cluster]
