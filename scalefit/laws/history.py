"""What a learning-rate schedule has done by each step, in few numbers for a law to be summed over.

A loss that depends on the whole schedule is a sum over every earlier step. But a far step acts
smoothly: a block of steps that is short against its distance is replaced by a few of them, weighted
as in polynomial interpolation (a treecode: Barnes & Hut 1986; with interpolation in place of
multipoles: Fong & Darve 2009). A sum over tens of thousands of steps becomes one over about two
hundred, which is off by less than a millionth of the largest learning rate.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pandas as pd

from scalefit.errors import DataError
from scalefit.laws.base import Flags, FloatArray

Steps = npt.NDArray[np.intp]

NODES = 6  # steps that stand for a block
WIDE = 2.0  # longest block over its distance, and largest rise of its rate over its least rate
SAME = 1e-6  # relative: rates written in single precision differ by less
STRAIGHT = 1e-5  # of the rate: how well it must follow its polynomial through a block's nodes

WARMUP = "warmup_steps"  # a column that says at which step each run's warm-up ends
LONGEST = 20_000_000  # steps; more are tokens by another name
GAP = 10.0  # usual distances between rows; in a wider gap a change of the rate is unknown
NOTICEABLE = 0.01  # of the largest rate


def looking_back(frame: pd.DataFrame) -> tuple[FloatArray, FloatArray]:
    """What rows with a step and a learning rate look back on, each along its own run.

    Args:
        frame: with columns steps and lr, and run_id unless all rows are of one run; where a column
            warmup_steps is, it says at which step a run's warm-up ended.

    Returns:
        The learning rate summed to each row, S(t), shape (rows,), and ``History.at`` it, shape
        (rows, 3, K).

    Raises:
        DataError: if the rows of a run do not tell its schedule.
    """
    _check_frame(frame)
    frame = frame.reset_index(drop=True)
    run = frame["run_id"] if "run_id" in frame else pd.Series("the curve", index=frame.index)
    seen = [
        (curve.index.to_numpy(), *_of_one_run(f"run {name!r}", curve))
        for name, curve in frame.groupby(run.astype(str), sort=False)
    ]
    total = np.empty(len(frame))
    histories = np.zeros((len(frame), 3, max(history.shape[-1] for *_, history in seen)))
    for rows, summed, history in seen:
        total[rows] = summed
        histories[rows, :, : history.shape[-1]] = history
    return total, histories


def per_step(steps: FloatArray, lr: FloatArray, warmup: float) -> FloatArray:
    """The learning rate of every step from 0 to the last, from rows that tell that of some.

    Before the first row it rises linearly from 0 until step ``warmup``, or the first row if that
    comes earlier. A change between two rows about which it is constant is a jump, at the later row;
    other rows are joined by monotone cubics (Fritsch & Carlson 1980).

    Args:
        steps: of the rows, whole and increasing, shape (rows,).
        lr: there, shape (rows,).
        warmup: the step at which the warm-up ends; 0 for none.
    """
    from scipy.interpolate import PchipInterpolator

    every, start = np.arange(steps[-1] + 1), int(steps[0])
    rise = min(warmup, start)
    rate = np.full(len(every), lr[0])
    if rise > 0:
        rate[:start] *= np.minimum(every[:start] / rise, 1.0)
    if len(steps) > 1:
        rate[start:] = PchipInterpolator(steps, lr)(every[start:])
    still = np.isclose(lr[1:], lr[:-1], rtol=SAME, atol=0.0)
    jump = ~still & np.r_[False, still[:-1]] & np.r_[still[1:], False]
    for i in np.flatnonzero(jump):
        rate[int(steps[i]) : int(steps[i + 1])] = lr[i]
    return rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """All blocks of one length: their nodes and weights (blocks, NODES), and what they allow.

    Attributes:
        steps: the steps that stand for each block.
        weights: the changes of the learning rate that each stands for.
        few: whether the block changes the rate at these steps only, so that they are all of it.
        smooth: whether the polynomial through the nodes is the schedule.
    """

    steps: Steps
    weights: FloatArray
    few: Flags
    smooth: Flags


class History:
    """The changes of a learning rate, lr(k) - lr(k-1), as each step looks back on them."""

    def __init__(self, lr: FloatArray) -> None:
        """Sort the steps into blocks.

        Args:
            lr: of every step from 0, shape (steps,), positive but for a first that may be 0.
        """
        self.lr, self.total = lr, np.cumsum(lr)
        self._before = self.total - lr
        depth = max(0, int(np.ceil(np.log2(len(lr) / NODES))))
        rate = np.pad(lr, (0, NODES * 2**depth - len(lr)), mode="edge")
        change = np.diff(rate, prepend=0.0)
        self._levels = [_level(rate, change, NODES * 2**k) for k in range(depth + 1)]

    def at(self, rows: Steps) -> FloatArray:
        """What steps look back on, shape (rows, 3, K).

        For each change of the rate: its size, the log of the rate changed to, and the log of the
        learning rate summed since, S(t) - S(k-1). Changes of 0 fill up what needs fewer than K.
        """
        row, step, weight = self._nodes(rows)
        order = np.argsort(row, kind="stable")
        row, step, weight = row[order], step[order], weight[order]
        count = np.bincount(row, minlength=len(rows))
        column = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        found = np.zeros((len(rows), 3, int(count.max(initial=1))))
        since = self.total[rows[row]] - self._before[step]
        for k, values in enumerate((weight, np.log(self.lr[step]), np.log(since))):
            found[row, k, column] = values
        return found

    def _nodes(self, rows: Steps) -> tuple[Steps, Steps, FloatArray]:
        """Which row looks back on which steps, with which weights; three of equal length."""
        found = []
        row, block = np.arange(len(rows)), np.zeros(len(rows), dtype=np.intp)
        for depth, level in reversed(list(enumerate(self._levels))):
            size = NODES * 2**depth
            changes = np.count_nonzero(level.weights, axis=1) > 0
            begun = changes[block] & (block * size <= rows[row])
            row, block = row[begun], block[begun]
            far = level.smooth[block] & self._far(rows[row], block, size)
            enough = level.few[block] | far
            step, weight = level.steps[block[enough]], level.weights[block[enough]]
            passed = (weight != 0) & (step <= rows[row[enough], None])
            found.append((np.repeat(row[enough], passed.sum(axis=1)), step[passed], weight[passed]))
            row = np.repeat(row[~enough], 2)
            block = (2 * block[~enough, None] + [0, 1]).ravel()
        nodes, steps, weights = (np.concatenate(part) for part in zip(*found, strict=True))
        return nodes, steps, weights

    def _far(self, row: Steps, block: Steps, size: int) -> Flags:
        """Whether blocks lie before a row, and far enough for it to see them as smooth."""
        first = block * size
        last = np.minimum(first + size, len(self.lr)) - 1
        length = self._before[last] - self._before[first]
        distance = self.total[row] - self._before[last]
        far: Flags = (last <= row) & (length <= WIDE * distance)
        return far


def _level(rate: FloatArray, change: FloatArray, size: int) -> Level:
    """The blocks of one size."""
    rates, changes = rate.reshape(-1, size), change.reshape(-1, size)
    place, through = _interpolation(size)
    few = np.count_nonzero(changes, axis=1) <= NODES
    # Steps that change the rate come first in this order.
    those = np.argsort(changes == 0, axis=1, kind="stable")[:, :NODES]
    step = np.where(few[:, None], those, place)
    own = np.take_along_axis(changes, step, axis=1)
    low, high = rates.min(axis=1), rates.max(axis=1)
    off = np.abs(rates[:, place] @ through.T - rates).max(axis=1)
    return Level(
        steps=step + size * np.arange(len(rates))[:, None],
        weights=np.where(few[:, None], own, changes @ through),
        few=few,
        smooth=(off <= STRAIGHT * low) & (high <= (1 + WIDE) * low),
    )


@cache
def _interpolation(size: int) -> tuple[Steps, FloatArray]:
    """Chebyshev's nodes among the steps of a block, and each node's polynomial at every step.

    Shapes (NODES,) and (size, NODES).
    """
    from scipy.interpolate import BarycentricInterpolator

    if size == NODES:
        return np.arange(NODES), np.eye(NODES)
    angles = np.linspace(0, np.pi, NODES)
    place = np.rint((size - 1) * (1 - np.cos(angles)) / 2).astype(np.intp)
    return place, BarycentricInterpolator(place, np.eye(NODES))(np.arange(size))


def _of_one_run(name: str, curve: pd.DataFrame) -> tuple[FloatArray, FloatArray]:
    """S(t) and history of the rows of one run, in their order."""
    steps, lr = (curve[column].to_numpy(dtype=np.float64) for column in ("steps", "lr"))
    order = np.argsort(steps, kind="stable")
    _check_values(name, steps, lr)
    _check_gaps(name, steps[order], lr[order])
    past = History(per_step(steps[order], lr[order], _warmup(name, curve, steps)))
    rows = steps.astype(np.intp)
    return past.total[rows], past.at(rows)


def _check_frame(frame: pd.DataFrame) -> None:
    """A law is of one model, and every row of one of its curves."""
    sizes = sorted(frame["params"].dropna().unique()) if "params" in frame else []
    if len(sizes) > 1:
        listed = ", ".join(f"{size:g}" for size in sizes[:6])
        raise DataError(
            f"these curves are of {len(sizes)} model sizes ({listed}), and a multi-power law is of "
            f'one; choose it as in --where "params == {sizes[0]:g}"'
        )
    if "run_id" in frame and frame["run_id"].isna().any():
        raise DataError(
            f"{frame['run_id'].isna().sum()} rows name no run, so the schedule behind them is "
            "unknown; fill in the column run_id"
        )


def _check_values(name: str, steps: FloatArray, lr: FloatArray) -> None:
    """Steps are counts, and rates positive."""
    for i in np.flatnonzero(~((lr > 0) & np.isfinite(lr))):
        raise DataError(
            f"{name}, step {steps[i]:g}: the learning rate is {lr[i]:g}; a multi-power law takes "
            'rates above 0, so leave such rows out with --where "lr > 0"'
        )
    for step in steps[~((steps == np.rint(steps)) & (steps >= 0) & (steps <= LONGEST))]:
        raise DataError(
            f"{name} has a step of {step:g}; steps count updates of the weights, from 0 to "
            f"{LONGEST:,}, so map another column with --column steps=NAME"
        )


def _check_gaps(name: str, steps: FloatArray, lr: FloatArray) -> None:
    """Rows in order tell the rate between them."""
    gaps, change = np.diff(steps), np.abs(np.diff(lr))
    for i in np.flatnonzero(gaps == 0):
        raise DataError(
            f"{name} has two rows of step {steps[i]:g}, but a curve passes each step once; "
            "tell runs apart in a column run_id, or leave one row out"
        )
    usual = np.median(gaps) if len(gaps) else 0.0
    for i in np.flatnonzero((gaps > GAP * usual) & (change > NOTICEABLE * lr.max())):
        raise DataError(
            f"{name} has no row between steps {steps[i]:g} and {steps[i + 1]:g}, where its "
            f"learning rate goes from {lr[i]:g} to {lr[i + 1]:g}; add rows that tell how"
        )


def _warmup(name: str, curve: pd.DataFrame, steps: FloatArray) -> float:
    """The step at which the warm-up of a run ends."""
    if WARMUP in curve:
        told = pd.to_numeric(curve[WARMUP], errors="coerce").unique()
        if len(told) != 1 or not 0 <= told[0] < np.inf:
            raise DataError(f"{name}: {WARMUP} must be one number of 0 or more in all of its rows")
        return float(told[0])
    first, last = steps.min(), steps.max()
    if first > last / 2:
        raise DataError(
            f"{name} has rows from step {first:g} to {last:g} only, so its earlier learning rates "
            f"are unknown; add rows, or a column {WARMUP} if the rate was constant after it"
        )
    return float(first)
