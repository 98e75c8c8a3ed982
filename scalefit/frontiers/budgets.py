"""Runs of equal compute: which rows count, which budget each is of, and the profile of each.

An isoFLOP profile is the loss of several model sizes trained with one compute (Hoffmann et al.
2022, arXiv:2203.15556, section 3.2).
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from scalefit.cleaning import QUANTITIES
from scalefit.errors import FitError
from scalefit.laws import Flags, FloatArray
from scalefit.runs import Runs

TOLERANCE = 0.1
"""How far a row's compute may be from its budget's: digitised tables differ by several per cent."""
EXACT = 1e-4  # likewise, relative, of budgets at which losses were read off curves on purpose
FEW = 0.5  # sizes of a budget, of those at the budget of a typical row, below which it is strays
MOSTLY = 0.9  # part of the rows that must share a compute for that to be so
ONE_SIZE = 0.01  # sizes nearer in log N are one: between them a profile has no shape
ANNEALED = ("cooldown", "ema")
Rows = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The runs of one budget, by model size.

    Attributes:
        flops: the budget C, the median of its rows.
        rows: their numbers in the table, shape (rows,), smallest size first.
        log_params, log_tokens: log N and log D.
        loss: L in the table's unit.
        size: the number of each row's size, from 0.
        run: the number of each row's run.
        note: why this profile can have no optimum, in words; empty if it can.
    """

    flops: float
    rows: Rows
    log_params: FloatArray
    log_tokens: FloatArray
    loss: FloatArray
    size: Rows
    run: Rows
    note: str = ""

    @property
    def sizes(self) -> int:
        """How many different sizes there are."""
        return int(self.size[-1]) + 1

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest log N."""
        return float(self.log_params[0]), float(self.log_params[-1])

    @property
    def by_size(self) -> tuple[FloatArray, FloatArray]:
        """Log N of each size, shape (sizes,), and what averages rows by size, (sizes, rows)."""
        average = (self.size == np.arange(self.sizes)[:, None]).astype(np.float64)
        average /= average.sum(axis=1, keepdims=True)
        return average @ self.log_params, average

    def lowest(self, sizes: int) -> "Profile":
        """The part of so many sizes that lies about the lowest loss."""
        if sizes >= self.sizes:
            return self
        best = int((self.by_size[1] @ np.log(self.loss)).argmin())
        first = int(np.clip(best - sizes // 2, 0, self.sizes - sizes))
        return self.take((self.size >= first) & (self.size < first + sizes))

    def take(self, keep: Flags) -> "Profile":
        """Some of its rows."""
        return replace(
            self,
            rows=self.rows[keep],
            log_params=self.log_params[keep],
            log_tokens=self.log_tokens[keep],
            loss=self.loss[keep],
            size=np.unique(self.size[keep], return_inverse=True)[1],
            run=self.run[keep],
        )

    def tokens_at(self, log_params: FloatArray) -> FloatArray:
        """Log D of models of these sizes at this budget; any shape.

        A parabola through the rows' own log D, so that it holds whatever C counts: under C = 6ND it
        is the line log(C/6) - log N, and the few per cent that rows miss their budget by average
        out.
        """
        middle = float(np.mean(self.ends))
        degree = min(2, self.sizes - 1)
        powers = np.vander(self.log_params - middle, degree + 1)
        found = np.linalg.lstsq(powers, self.log_tokens, rcond=None)[0]
        value: FloatArray = np.polyval(found, log_params - middle)
        return value


def profiles(
    runs: Runs, *, tolerance: float, least: int, sizes: int | None = None
) -> tuple[Runs, list[Profile]]:
    """The rows that have a budget in common with others, and the profile of each budget.

    Args:
        runs: the table.
        tolerance: how far a row's compute may be from its budget's, relative; of no account where
            most rows share their compute exactly.
        least: different sizes that a profile needs.
        sizes: how many sizes about the lowest loss are taken of each; None for all.

    Returns:
        The runs whose rows the profiles number, and the profiles in order of compute.

    Raises:
        FitError: if no two sizes share a budget, or the table was read without a quantity.
    """
    lacking = [name for name in QUANTITIES if name not in runs.frame]
    if lacking:
        raise FitError(
            f"{runs.source} has no {lacking[0]!r}, which isoFLOP profiles are about; map a column "
            f"with --column {lacking[0]}=NAME"
        )
    runs = finished(runs)
    label = grouped(runs.frame, tolerance)
    if (label < 0).all():
        raise FitError(
            f"{runs.source}: no two model sizes were trained with the same compute to within "
            f"{tolerance:.0%}, so there is no isoFLOP profile; fit a law to all runs instead"
        )
    runs, label = _only(runs, label, label >= 0, "at a compute that few other sizes have")
    found = _profiles(runs, label)
    if sizes is not None:
        found = [profile.lowest(sizes) for profile in found]
        near = np.isin(np.arange(len(runs)), np.concatenate([p.rows for p in found]))
        runs, label = _only(runs, label, near, f"not among the {sizes} sizes about a lowest loss")
        found = _profiles(runs, label)
    found = [replace(p, note=_fault(p, runs.frame, least)) for p in found]
    return runs, sorted(found, key=lambda profile: profile.flops)


def finished(runs: Runs) -> Runs:
    """The rows that stand for a finished run.

    The last row of each run, rows of annealed weights, and all rows of a table of losses that were
    read off curves at given budgets: there most rows share their compute exactly.
    """
    labels = runs.cluster
    if labels is None or _cut(runs.frame):
        return runs
    tokens = runs.frame["tokens"]
    last = tokens == tokens.groupby(labels).transform("max")
    if "averaging" in runs.frame:
        last |= runs.frame["averaging"].isin(ANNEALED)
    keep = last.to_numpy(dtype=bool)
    return runs if keep.all() else runs.only(keep, "before the end of their run")


def grouped(frame: pd.DataFrame, tolerance: float) -> Rows:
    """The number of each row's budget, shape (rows,); -1 where there are not enough other sizes.

    Where most rows share their compute exactly, as many budgets as there are. Otherwise the densest
    stretch of log C is a budget, then the densest of what remains, and so on, so that stray runs
    between two budgets do not join them; a stretch with few sizes is strays itself.
    """
    log_c, log_n = (np.log(frame[name].to_numpy(np.float64)) for name in ("flops", "params"))
    exact = _cut(frame)
    label = _chained(log_c) if exact else _dense(log_c, float(np.log1p(tolerance)))
    sizes = np.ones(len(label))
    for number in range(label.max() + 1):
        mine = np.flatnonzero(label == number)
        sizes[mine] = _chained(log_n[mine], ONE_SIZE).max() + 1
    enough = 2.0 if exact else max(2.0, FEW * float(np.median(sizes)))
    kept: Rows = np.full(len(label), -1)
    kept[sizes >= enough] = np.unique(label[sizes >= enough], return_inverse=True)[1]
    return kept


def _dense(log_c: FloatArray, reach: float) -> Rows:
    order = np.argsort(log_c, kind="stable")
    label = np.full(len(log_c), -1)
    number = 0
    while len(order):
        x = log_c[order]
        counts = np.searchsorted(x, x + 2 * reach, side="right") - np.arange(len(x))
        first = int(counts.argmax())
        if counts[first] < 2:
            break
        mine = np.abs(x - np.median(x[first : first + counts[first]])) <= reach
        label[order[mine]] = number
        order, number = order[~mine], number + 1
    return label


def _chained(log_c: FloatArray, gap: float = EXACT) -> Rows:
    """The number of each value's group, of values that are not farther than a gap from the next."""
    order = np.argsort(log_c, kind="stable")
    label = np.empty(len(log_c), dtype=np.intp)
    label[order] = np.cumsum(np.diff(log_c[order], prepend=log_c.min()) > gap)
    return label


def _cut(frame: pd.DataFrame) -> bool:
    """Whether most rows share their compute exactly with a row of another size."""
    log_c, log_n = (np.log(frame[name]) for name in ("flops", "params"))
    alike = log_n.groupby(_chained(log_c.to_numpy(np.float64)))
    spread = alike.transform("max") - alike.transform("min")
    return bool((spread >= ONE_SIZE).mean() >= MOSTLY)


def _only(runs: Runs, label: Rows, keep: Flags, reason: str) -> tuple[Runs, Rows]:
    return (runs, label) if keep.all() else (runs.only(keep, reason), label[keep])


def _profiles(runs: Runs, label: Rows) -> list[Profile]:
    names = ("flops", "params", "tokens", "loss")
    flops, params, tokens, loss = (runs.frame[name].to_numpy(np.float64) for name in names)
    labels = runs.cluster
    run = np.arange(len(runs)) if labels is None else np.unique(labels, return_inverse=True)[1]
    order = np.argsort(params, kind="stable")
    found = []
    for number in range(label.max() + 1):
        rows = order[label[order] == number]
        log_n = np.log(params[rows])
        found.append(
            Profile(
                flops=float(np.exp(np.median(np.log(flops[rows])))),
                rows=rows,
                log_params=log_n,
                log_tokens=np.log(tokens[rows]),
                loss=loss[rows],
                size=_chained(log_n, ONE_SIZE),
                run=run[rows],
            )
        )
    return found


def _fault(profile: Profile, frame: pd.DataFrame, least: int) -> str:
    if "loss_unit" in frame:
        units = sorted(set(frame["loss_unit"].iloc[profile.rows].dropna().astype(str)))
        if len(units) > 1:
            return f"its losses are in {' and in '.join(units)}"
    if profile.sizes < least:
        return f"it has {profile.sizes} sizes, and a minimum takes {least} here"
    return ""
