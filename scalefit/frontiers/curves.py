"""Training curves: the loss of every run at every compute that it passed through.

A curve is read between its own checkpoints only, by monotone cubic interpolation (Fritsch & Carlson
1980) of log L in log C: straight lines between checkpoints lie above a curve that bends.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.interpolate import PchipInterpolator

from scalefit.errors import FitError
from scalefit.frontiers.checkpoints import Numbers, rows_by_run, stretches, warming
from scalefit.laws import Flags, FloatArray
from scalefit.runs import Runs

GAP = 5.0  # checkpoints farther apart in compute, as a factor, are not joined
LEAST_SIZES = 3  # of an envelope
COLUMNS = ("log_c", "log_d", "log_l", "size", "run")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """Rows of runs: log C, log D and log L, the number of the size and of the run; each (rows,)."""

    log_c: FloatArray
    log_d: FloatArray
    log_l: FloatArray
    size: Numbers
    run: Numbers

    def take(self, rows: Flags) -> "Checkpoints":
        """Some of them."""
        return Checkpoints(
            log_c=self.log_c[rows],
            log_d=self.log_d[rows],
            log_l=self.log_l[rows],
            size=self.size[rows],
            run=self.run[rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """One curve a size.

    Attributes:
        log_n: of each size, shape (sizes,), ascending.
        grid: log C, shape (budgets,), evenly spaced.
        log_l: at each, shape (sizes, budgets); inf where the size has no curve.
        log_d: likewise.
        runs: how many runs are behind each size, shape (sizes,).
        seeds: of how many of them its curve is the mean, shape (sizes,).
        rows: the checkpoints themselves.
    """

    log_n: FloatArray
    grid: FloatArray
    log_l: FloatArray
    log_d: FloatArray
    runs: Numbers
    seeds: Numbers
    rows: Checkpoints

    def shifted(self, by: FloatArray) -> "Sizes":
        """The same with ``by``, shape (sizes,), added to the log loss of each size."""
        rows = replace(self.rows, log_l=self.rows.log_l + by[self.rows.size])
        return replace(self, log_l=self.log_l + by[:, None], rows=rows)

    def lowest(self, log_c: FloatArray) -> FloatArray:
        """The least log L at each log C; inf where no size has a curve.

        Of the parabola in log N through the best size and its two neighbours, if all three have a
        curve at every one of these log C; the best size alone is above it by what its distance from
        the optimum costs. Mixing the two would bend L*.
        """
        present = np.flatnonzero(np.isfinite(self.log_l).any(axis=1))
        log_n = self.log_n[present]
        at = self._read(self.log_l, present[:, None], log_c)
        at[~np.isfinite(at)] = np.inf
        middle, place = np.clip(at.argmin(axis=0), 1, len(at) - 2), np.arange(len(log_c))
        low, mid, high = (at[middle + step, place] for step in (-1, 0, 1))
        with np.errstate(all="ignore"):
            vertex = mid + _vertex(
                log_n[middle] - log_n[middle - 1], low - mid, log_n[middle + 1] - log_n[middle],
                high - mid,
            )  # fmt: skip
        least: FloatArray = vertex if np.isfinite(vertex).all() else at.min(axis=0)
        return least

    def data(self, size: Numbers, log_c: FloatArray) -> FloatArray:
        """Log D of the curve of each size at a log C within it; shapes that broadcast."""
        return self._read(self.log_d, size, log_c)

    def _read(self, curves: FloatArray, size: Numbers, log_c: FloatArray) -> FloatArray:
        place = (log_c - self.grid[0]) / (self.grid[1] - self.grid[0])
        place = np.clip(place, 0, len(self.grid) - 1)
        left = np.clip(place.astype(np.intp), 0, len(self.grid) - 2)
        low, high = curves[size, left], curves[size, left + 1]
        with np.errstate(invalid="ignore"):  # off a curve they are inf
            between: FloatArray = low + (place - left) * (high - low)
        return between


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """The curves of a table, ordered by size and then recipe.

    Attributes:
        log_n: of each size, shape (sizes,), ascending.
        grid: log C, shape (budgets,).
        log_l: shape (curves, budgets); inf where there is none.
        log_d: likewise.
        size, recipe, run: their numbers, shape (curves,). Runs of one recipe differ in seed alone.
        rows: all checkpoints, those of runs too short for a curve among them.
        total: how many runs there are.
        notes: what was left out, in words.
    """

    log_n: FloatArray
    grid: FloatArray
    log_l: FloatArray
    log_d: FloatArray
    size: Numbers
    recipe: Numbers
    run: Numbers
    rows: Checkpoints
    total: int
    notes: tuple[str, ...]

    def by_size(self, counts: FloatArray | None = None) -> Sizes:
        """The curve of each size: the mean over seeds, of those the least over recipes.

        ``counts``, shape (runs,), is how often each run was drawn; None for once.
        """
        drawn = np.ones(self.total) if counts is None else counts
        weight = drawn[self.run]
        kept = np.flatnonzero(weight)
        where = np.array([mine.start for _, mine in stretches(self.recipe[kept])])
        first = kept[where]
        weight = weight[kept]
        total = np.add.reduceat(weight[:, None] * self.log_l[kept], where)
        mean = total / np.add.reduceat(weight, where)[:, None]
        log_l = np.full((len(self.log_n), len(self.grid)), np.inf)
        log_d = np.zeros_like(log_l)
        for number, mine in stretches(self.size[first]):
            best = mean[mine].argmin(axis=0)
            log_l[number] = mean[mine].min(axis=0)
            log_d[number] = self.log_d[first[mine][best], np.arange(len(self.grid))]
        recipes = np.bincount(self.size[first], minlength=len(self.log_n))
        runs = np.bincount(self.size[kept], minlength=len(self.log_n))
        return Sizes(
            log_n=self.log_n,
            grid=self.grid,
            log_l=log_l,
            log_d=log_d,
            runs=runs,
            seeds=np.where(recipes == 1, runs, 1),
            rows=self.rows if counts is None else self.rows.take(drawn[self.rows.run] > 0),
        )

    def spread(self) -> tuple[float, int]:
        """Squares of the distances in log L of runs from the mean over seeds; their freedom."""
        squares, freedom = 0.0, 0
        for _, mine in stretches(self.recipe):
            log_l = self.log_l[mine]
            both = np.isfinite(log_l).all(axis=0)
            if len(log_l) > 1 and both.any():
                squares += float(log_l[:, both].mean(axis=1).var() * len(log_l))
                freedom += len(log_l) - 1
        return squares, freedom


def _vertex(below: FloatArray, low: FloatArray, above: FloatArray, high: FloatArray) -> FloatArray:
    """Least value of the parabola through (-below, low), (0, 0) and (above, high).

    NaN if it is not between the outer two.
    """
    bend = (low * above + high * below) / (below * above * (below + above))
    slope = high / above - bend * above
    at = -slope / (2 * bend)
    return np.where((bend > 0) & (at > -below) & (at < above), slope * at / 2, np.nan)


def curves(runs: Runs, *, budgets: int, warmup: float | None) -> Curves:
    """Read the training curves of a table.

    Args:
        runs: the table; rows of one run are checkpoints of one curve.
        budgets: how many values of log C, evenly over the range of the curves.
        warmup: share of its own compute that is left out at the start of each run. None leaves out
            what can be told to be warm-up: where the learning rate rises, or else what comes before
            the end of a fall that is more than twice as steep as the start of the curve.

    Raises:
        FitError: if there are no curves, or no two sizes have one at the same compute.
    """
    rows = rows_by_run(runs)
    cold = warming(rows, warmup)
    rows = rows[~cold]
    columns: dict[str, npt.NDArray[Any]] = {name: rows[name].to_numpy() for name in COLUMNS}
    checkpoints = Checkpoints(**columns)
    parts = [(run, mine) for run, mine in stretches(columns["run"]) if mine.stop - mine.start > 1]
    if len({columns["size"][mine.start] for _, mine in parts}) < LEAST_SIZES:
        raise _too_few(runs, parts)
    long = np.concatenate([columns["log_c"][mine] for _, mine in parts])
    grid = np.linspace(long.min(), long.max(), budgets)
    read = [_read(checkpoints, mine, grid) for _, mine in parts]
    starts = np.array([mine.start for _, mine in parts])
    found = Curves(
        log_n=rows.groupby("size")["log_n"].median().to_numpy(),
        grid=grid,
        log_l=np.stack([curve[0] for curve in read]),
        log_d=np.stack([curve[1] for curve in read]),
        size=columns["size"][starts],
        recipe=rows["recipe"].to_numpy()[starts],
        run=columns["run"][starts],
        rows=checkpoints,
        total=int(columns["run"][-1]) + 1,
        notes=(),
    )
    _check_overlap(found, runs.source)
    said = (
        _warmup_note(int(cold.sum()), warmup),
        _short_note(len(parts), found.total),
        _gap_note(sum(curve[2] for curve in read)),
        _seed_note(found),
        _decay_note(rows),
    )
    return replace(found, notes=tuple(note for note in said if note))


def _read(rows: Checkpoints, mine: slice, grid: FloatArray) -> tuple[FloatArray, FloatArray, int]:
    """Log L (inf off the curve) and log D of one run on the grid; how many gaps it has."""
    log_c = rows.log_c[mine]
    log_l, log_d = np.full(len(grid), np.inf), np.interp(grid, log_c, rows.log_d[mine])
    wide = np.flatnonzero(np.diff(log_c) > np.log(GAP))
    on = (grid >= log_c[0]) & (grid <= log_c[-1])
    for gap in wide:
        on &= (grid <= log_c[gap]) | (grid >= log_c[gap + 1])
    log_l[on] = PchipInterpolator(log_c, rows.log_l[mine])(grid[on])
    return log_l, log_d, len(wide)


def _too_few(runs: Runs, parts: list[tuple[int, slice]]) -> FitError:
    return FitError(
        f"{runs.source}: an envelope takes curves of {LEAST_SIZES} sizes or more, and its "
        f"{len(parts)} runs of two checkpoints or more have fewer; add sizes, or fit with "
        "parametric"
    )


def _check_overlap(found: Curves, source: str) -> None:
    sizes = np.isfinite(found.by_size().log_l).sum(axis=0)
    if sizes.max() < 2:
        raise FitError(
            f"{source}: no two sizes have a curve at the same compute, so at no budget is one "
            "better than another; train each size to where the next one begins, or fit with "
            "parametric"
        )


def _warmup_note(rows: int, warmup: float | None) -> str:
    if warmup is not None and not rows:
        return ""
    if warmup is not None:
        return f"rows left out in the first {warmup:.3g} of their run's compute: {rows}"
    if not rows:
        return "no curve shows a warm-up, so none is left out"
    return (
        f"rows left out as warm-up: {rows}, those before the learning rate is highest, or else "
        "before the fastest fall of the loss is over"
    )


def _short_note(curves: int, total: int) -> str:
    return f"runs of one row, which is no curve: {total - curves} of {total}" * (curves < total)


def _gap_note(gaps: int) -> str:
    said = f"checkpoints more than {GAP:g} times apart in compute are not joined (gaps: {gaps})"
    return said * (gaps > 0)


def _seed_note(found: Curves) -> str:
    recipes = len(np.unique(found.recipe))
    if recipes == len(found.recipe):
        return ""
    return f"{len(found.recipe)} curves are averaged to {recipes}: the others differ in seed alone"


def _decay_note(rows: pd.DataFrame) -> str:
    """Hoffmann et al. 2022, section 3.1 and appendix B: the schedule should end where D does."""
    if "lr" not in rows:
        return ""
    rate = rows.groupby("run")["lr"]
    falling = int((rate.last() < 0.99 * rate.max()).sum())
    said = (
        "the learning rate falls along the curves, and before its end a loss is higher than that "
        f"of a run which ends there (curves: {falling})"
    )
    return said * (falling > 0)
