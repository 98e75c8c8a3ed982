"""The learning rate of a grid: a sweep at every width on little data, and the best of each.

A grid states one rate, at width 32, and lets that of the matrices fall as 1/width (Yang et al.
2022, arXiv:2203.03466, table 3). The sweep shows how good that rate is, and whether the rule holds:
the best stated rate should be the same at every width.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from scalefit.errors import FitError, GridError
from scalefit.fitting.files import replace_text
from scalefit.runs import Runs, finished, read
from scalefit.sweeps import NEEDED, best_of_sweep
from trainers.grid import Grid, Grids
from trainers.recipe import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What a sweep says of one width.

    Attributes:
        width: of the models.
        params: all parameters.
        rate: the best, as a grid file states it; None where the lowest loss is at an end of the
            sweep.
        loss: there, in the source's unit.
        stated: the loss of the rate nearest to the grid's own; None if that run diverged.
    """

    width: int
    params: int
    rate: float | None
    loss: float | None
    stated: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """The best rates by width, and what follows for the grid.

    Attributes:
        key: of the grid file that was swept.
        given: what the grid states.
        tokens: each run was trained on.
        widths: one a width, rising.
        rate: geometric mean of the best rates; None if no width has one.
        drift: slope of log best rate over log width, 0 where the rule holds; None below two widths.
    """

    key: str
    given: float
    tokens: int
    widths: tuple[Tuned, ...]
    rate: float | None
    drift: float | None

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``scalefit tune --json``."""
        return asdict(self)


SWEEP = ("rates", "span", "tokens", "seeds")
"""The arguments of a sweep."""


def sweep_of(
    grid: Grid | Grids, *, rates: int, span: float, tokens: float | None, seeds: int
) -> Grids:
    """The grid at `rates` rates, evenly spaced in log over a factor `span` around its own.

    Each run is trained to `tokens`, or to the fewest of the grid, with so many seeds. All rates and
    seeds of a width train as one model. Raises GridError for a file of several grids.
    """
    if isinstance(grid, Grids):
        raise GridError(f"{grid.name} holds several grids, and a sweep takes one; give each a file")
    short = replace(
        grid,
        tokens=(min(grid.tokens) if tokens is None else round(tokens),),
        seeds=tuple(range(seeds)),
        unique_tokens=grid.unique_tokens[-1:],
    )
    factors = span ** np.linspace(-0.5, 0.5, rates)
    values = [float(f"{grid.rate * factor:.6g}") for factor in factors]
    return Grids(name=grid.name, parts=tuple(short.at_rate(value) for value in values))


def tuned(grid: Grid | Grids, sweep: Grids, results: Path) -> Sweep:
    """What the runs of a sweep say that lie in a folder of results."""
    assert isinstance(grid, Grid)  # a sweep was made of it
    runs = sweep.runs()
    widths = [[run for run in runs if run.shape.width == width] for width in sorted(grid.widths)]
    table = _table(widths, results)
    found = tuple(_width(grid, of_width, table) for of_width in widths)
    known = [(one.width, one.rate) for one in found if one.rate is not None]
    logs = np.log(np.array(known, dtype=float).reshape(-1, 2))
    return Sweep(
        key=grid.swept,
        given=grid.rate,
        tokens=sweep.parts[0].tokens[0],
        widths=found,
        rate=float(np.exp(logs[:, 1].mean())) if known else None,
        drift=float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0]) if len(known) > 1 else None,
    )


def save(found: Sweep, grid: Grid | Grids, path: Path) -> Path:
    """Write the grid with the rate found, rounded to three digits; returns the path.

    Raises GridError if no rate was found or the file cannot be written.
    """
    assert isinstance(grid, Grid)
    if found.rate is None:
        raise GridError(f"{path} was not written: no width has its best rate inside the sweep")
    text = grid.at_rate(float(f"{found.rate:.3g}")).text()
    try:
        replace_text(path, text)
    except OSError as error:
        raise GridError(f"{path} cannot be written: {error.strerror}") from error
    return path


def _table(widths: Sequence[Sequence[Run]], results: Path) -> Runs:
    """The annealed rows in the folder; GridError for the first width that lacks runs."""
    done = finished(results)
    for runs in widths:
        missing = sum(run.id not in done for run in runs)
        if missing:
            raise GridError(
                f"{results} lacks {missing} runs of the sweep; run the same command again"
            )
    return read(results, where="averaging == 'cooldown'", needed=NEEDED)


def _width(grid: Grid, runs: Sequence[Run], table: Runs) -> Tuned:
    rates = {run.id: _stated(run) for run in runs}
    frame = table.frame.assign(lr=table.frame["run_id"].map(rates)).dropna(subset="lr")
    means = frame.groupby("lr")["loss"].mean()
    own = min((_stated(run) for run in runs), key=lambda rate: abs(np.log(rate / grid.rate)))
    width, params = runs[0].shape.width, runs[0].shape.params().total
    stated = float(means[own]) if own in means else None
    try:
        best = best_of_sweep(replace(table, frame=frame)).frame.iloc[0]
    except FitError:
        return Tuned(width=width, params=params, rate=None, loss=None, stated=stated)
    return Tuned(
        width=width, params=params, rate=float(best["lr"]), loss=float(best["loss"]), stated=stated
    )


def _stated(run: Run) -> float:
    """The rate of a run as its grid file states it: that of the matrices at width 32."""
    return run.learning_rate or run.embedding_rate
