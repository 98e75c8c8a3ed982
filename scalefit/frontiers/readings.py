"""Four readings of an envelope: at which compute each size is the best one.

"crossing" takes two sizes of which one is about four times the other, and the compute at which the
larger overtakes. There the optimum is their geometric mean if a profile is symmetric in log N; if
it is not, it is off by one factor at every compute. So neither the ends of the list of sizes nor
its steps bend the exponent. "minimum" (Hoffmann et al. 2022, arXiv:2203.15556, section 3.1), "hull"
(the lower convex hull in logarithms) and "binned" (both as in McLeish et al. 2025,
arXiv:2502.06857) take the size of least loss, which at the ends of the list is the best that was
trained and not the best that there is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull

from scalefit.frontiers.checkpoints import Numbers
from scalefit.frontiers.curves import Sizes
from scalefit.laws import Flags, FloatArray

APART = float(np.log(4.0))  # of log N between two sizes whose crossing is taken
NEAR = 0.5  # of log C about a crossing, over which the slope of the difference is taken
NO_CROSSING = "neither size overtakes the other where both have a curve"
INCOMPLETE = "no smaller size hands over to this one, or it hands over to no larger one"
ENDS = "the smallest or the largest size there is the best one"
EDGES = (INCOMPLETE, ENDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Optima:
    """Sizes and the compute at which they are optimal, all of shape (optima,).

    Attributes:
        log_c, log_n, log_d: C, N* and D*, in logarithms; log_d is NaN where there is no optimum.
        weights: in the line.
        runs: how many are behind it.
        notes: why it is not used; empty if it is.
    """

    log_c: FloatArray
    log_n: FloatArray
    log_d: FloatArray
    weights: FloatArray
    runs: Numbers
    notes: tuple[str, ...]

    @property
    def used(self) -> Flags:
        """Which of them the line goes through."""
        return np.array([not note for note in self.notes], dtype=bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossings:
    """Pairs of sizes and where the larger overtakes the smaller.

    Attributes:
        pair: the numbers of the smaller and of the larger sizes, shape (2, pairs).
        gap: log L of the smaller less that of the larger, shape (pairs, budgets); NaN where either
            has no curve.
        log_c: where they cross, shape (pairs,); NaN where they do not.
        ends: the range of log C in which both have a curve, shape (2, pairs).
    """

    pair: Numbers
    gap: FloatArray
    log_c: FloatArray
    ends: FloatArray


def crossings(sizes: Sizes) -> Crossings:
    """Where the curves of each two sizes cross that are about ``APART``.

    Noisy curves can cross several times. The place taken is that before which the smaller size is
    the better one for as long as the larger is after it: there the difference is zero if its values
    are put in ascending order.
    """
    alive = np.isfinite(sizes.log_l)
    pair = _pairs(sizes.log_n, np.flatnonzero(alive.any(axis=1)))
    both = alive[pair[0]] & alive[pair[1]]
    pair, both = pair[:, both.any(axis=1)], both[both.any(axis=1)]
    gap = np.full(both.shape, np.nan)
    np.subtract(sizes.log_l[pair[0]], sizes.log_l[pair[1]], out=gap, where=both)
    behind = both & (gap < 0)
    count, before = np.cumsum(both, axis=1), behind.sum(axis=1)
    last = sizes.grid[(count == before[:, None]).argmax(axis=1)]
    following = sizes.grid[(count == before[:, None] + 1).argmax(axis=1)]
    low = np.where(behind, gap, -np.inf).max(axis=1, initial=-np.inf)
    high = np.where(both & ~behind, gap, np.inf).min(axis=1, initial=np.inf)
    step = sizes.grid[1] - sizes.grid[0]
    crossed = np.isfinite(low) & np.isfinite(high) & (following - last < 1.5 * step)
    crossed &= _rises(sizes.grid, gap, both)
    log_c = np.full(len(both), np.nan)
    share = low[crossed] / (low[crossed] - high[crossed])
    log_c[crossed] = last[crossed] + share * (following - last)[crossed]
    first, final = both.argmax(axis=1), both.shape[1] - 1 - both[:, ::-1].argmax(axis=1)
    return Crossings(
        pair=pair, gap=gap, log_c=log_c, ends=np.stack([sizes.grid[first], sizes.grid[final]])
    )


def _rises(x: FloatArray, y: FloatArray, where: Flags) -> Flags:
    """Whether the line through y (rows, places) over x (places,) rises; by row."""
    middle = (where * x).sum(axis=1) / where.sum(axis=1)
    rises: Flags = (np.where(where, y, 0.0) * (x - middle[:, None])).sum(axis=1) > 0
    return rises


def _pairs(log_n: FloatArray, present: Numbers) -> Numbers:
    """Each size with the one nearest to ``APART`` above it, or to half the range if that is less.

    A size has none if the nearest is off by more than half of that, unless it is the next one and
    there is nothing nearer.
    """
    size = log_n[present]
    wanted = min(APART, float(size[-1] - size[0]) / 2)
    off = np.abs(size - size[:, None] - wanted)
    off[np.tril_indices(len(size))] = np.inf
    chosen, place = off.argmin(axis=1), np.arange(len(size))
    near = off[place, chosen] <= wanted / 2 * (1 + 1e-9)
    near[:-1] |= np.diff(size) > wanted
    pair: Numbers = np.stack([present, present[chosen]])[:, near]
    return pair


def steepness(sizes: Sizes, found: Crossings) -> FloatArray:
    """By log C the slope of each difference, in ascending order, about its crossing; (pairs,)."""
    slope = np.full(len(found.log_c), np.nan)
    for k in np.flatnonzero(np.isfinite(found.log_c)):
        both = np.isfinite(found.gap[k])
        near = np.clip(found.log_c[k] + np.array([-NEAR, NEAR]), *found.ends[:, k])
        low, high = np.interp(near, sizes.grid[both], np.sort(found.gap[k, both]))
        slope[k] = (high - low) / (near[1] - near[0])
    return slope


def crossing(sizes: Sizes) -> Optima:
    """An optimum where the curves of two sizes cross: between them."""
    found = crossings(sizes)
    crossed = np.isfinite(found.log_c)
    log_c = np.where(crossed, found.log_c, found.ends.mean(axis=0))
    return Optima(
        log_c=log_c,
        log_n=sizes.log_n[found.pair].mean(axis=0),
        log_d=np.where(crossed, sizes.data(found.pair, log_c).mean(axis=0), np.nan),
        weights=np.ones(len(log_c)),
        runs=sizes.runs[found.pair].sum(axis=0),
        notes=tuple("" if yes else NO_CROSSING for yes in crossed),
    )


def best(sizes: Sizes) -> tuple[Numbers, Flags]:
    """The size of least loss at each budget, and whether a smaller and a larger one were there.

    Both of shape (budgets,); -1 where no size has a curve.
    """
    alive = np.isfinite(sizes.log_l)
    some, winner = alive.any(axis=0), sizes.log_l.argmin(axis=0)
    last = len(alive) - 1 - alive[::-1].argmax(axis=0)
    return np.where(some, winner, -1), some & (winner > alive.argmax(axis=0)) & (winner < last)


def minimum(sizes: Sizes) -> Optima:
    """Each size of least loss, once: in the middle of the budgets that it holds, by their number.

    It is used if the envelope passes to it from a smaller size and from it to a larger one where
    both have curves. Where it holds fewer budgets than it would of more sizes or longer curves,
    their middle is off.
    """
    winner, _ = best(sizes)
    alive = np.isfinite(sizes.log_l)
    place = np.arange(1, len(winner))
    onward = (winner[1:] > winner[:-1]) & (winner[:-1] >= 0)
    onward &= alive[winner[:-1], place] & alive[winner[1:], place - 1]
    onward = np.concatenate([[False], onward, [False]])  # whether a budget begins such a stretch
    held = np.unique(winner[winner >= 0])
    mine = [np.flatnonzero(winner == size) for size in held]
    complete = [onward[at[0]] and onward[at[-1] + 1] for at in mine]
    return _by_size(
        sizes,
        held,
        [sizes.grid[at] for at in mine],
        [len(at) for at in mine],
        ["" if yes else INCOMPLETE for yes in complete],
    )


def hull(sizes: Sizes) -> Optima:
    """Each size on the lower convex hull of log L over log C, once: in the middle of its corners.

    Those that the hull begins and ends on are not used.
    """
    winner, _ = best(sizes)
    some = np.flatnonzero(winner >= 0)
    log_c, log_l = sizes.grid[some], sizes.log_l.min(axis=0)[some]
    above = [log_c.mean(), log_l.max() + np.ptp(log_l) + 1]  # so that corners lie below
    corners = np.sort(ConvexHull(np.vstack([np.stack([log_c, log_l], axis=1), above])).vertices)
    corners = some[corners[corners < len(some)]]
    held = list(dict.fromkeys(winner[corners].tolist()))
    ends = {int(winner[corners[0]]), int(winner[corners[-1]])}
    return _by_size(
        sizes,
        np.array(held),
        [sizes.grid[corners[winner[corners] == size]] for size in held],
        [1] * len(held),
        [INCOMPLETE if size in ends else "" for size in held],
    )


def _by_size(
    sizes: Sizes,
    held: Numbers,
    log_c: list[FloatArray],
    weights: list[int],
    notes: list[str],
) -> Optima:
    """One optimum for each of these sizes, from the compute of the places that it holds."""
    return Optima(
        log_c=np.array([at.mean() for at in log_c]),
        log_n=sizes.log_n[held],
        log_d=np.array([sizes.data(k, at).mean() for k, at in zip(held, log_c, strict=True)]),
        weights=np.array(weights, dtype=np.float64),
        runs=sizes.runs[held],
        notes=tuple(notes),
    )


def binned(sizes: Sizes, bins: int = 30) -> Optima:
    """The checkpoint of least loss in each bin of log C, as it is.

    It is not used where its size is the smallest or the largest in the bin.
    """
    rows = sizes.rows
    edges = np.linspace(rows.log_c.min(), rows.log_c.max(), bins + 1)
    number = np.clip(np.searchsorted(edges, rows.log_c, side="right") - 1, 0, bins - 1)
    order = np.lexsort((rows.log_l, number))
    chosen = order[np.flatnonzero(np.diff(number[order], prepend=-1))]
    size, filled = rows.size, np.unique(number)
    low, high = np.full(bins, len(sizes.log_n)), np.full(bins, -1)
    np.minimum.at(low, number, size)
    np.maximum.at(high, number, size)
    inner = (size[chosen] > low[filled]) & (size[chosen] < high[filled])
    return Optima(
        log_c=rows.log_c[chosen],
        log_n=sizes.log_n[size[chosen]],
        log_d=rows.log_d[chosen],
        weights=np.ones(len(chosen)),
        runs=np.bincount(np.unique(np.stack([number, rows.run]), axis=1)[0])[filled],
        notes=tuple("" if yes else ENDS for yes in inner),
    )


READINGS: Mapping[str, Callable[[Sizes], Optima]] = {
    "crossing": crossing,
    "minimum": minimum,
    "hull": hull,
    "binned": binned,
}
