"""Double descent in its smallest model: broken lines through six points of a parabola.

g(x) = alpha + beta x + sum of gamma_k |x - t_k| / 2 with knots t_k drawn at random and, among the
best fits, the one of least ||gamma||. With four knots there are as many weights as points and the
expected error is infinite, while that of a typical draw falls all the time: a lecture's example,
after mlu-explain.github.io/double-descent2 (phenomenon: Belkin et al. 2018, arXiv:1812.11118).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from scalefit.figures.style import FRONTIER, QUIET, house_style
from scalefit.laws import FloatArray
from trainers.studies.spline import POINTS, VALUES, free_knots, heights, least_gamma, truth
from trainers.study import Ask, Finding, Study

COUNTS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 100, 300, 1000)
THRESHOLD, NEAR, FAR = 4, (3, 4, 5), 30
GAP_DRAWS = 250
"""How many more sets of four knots, one in each gap after the first, a seed draws."""
FREE, ONE_A_GAP = "anywhere", "one a gap"
TOP = 0.02
"""The share of the largest errors from which the index of their tail is read."""


def pieces(knots: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The straight pieces of lines on [0, 5]; the slope grows by gamma_k at knot k.

    Args:
        knots: (draws, knots).
        weights: alpha, beta, gamma: (draws, 2 + knots).

    Returns:
        Where pieces start and, last, end (draws, knots + 2); the line's heights at their starts,
        and their slopes (draws, knots + 1).
    """
    gamma, order = weights[:, 2:], np.argsort(knots, axis=1)
    ends = np.pad(np.take_along_axis(knots, order, axis=1), ((0, 0), (1, 1)))
    ends[:, -1] = POINTS[-1]
    jumps = np.pad(np.take_along_axis(gamma, order, axis=1), ((0, 0), (1, 0)))
    slopes = weights[:, 1:2] - 0.5 * gamma.sum(axis=1, keepdims=True) + jumps.cumsum(axis=1)
    first = weights[:, :1] + 0.5 * (gamma * knots).sum(axis=1, keepdims=True)
    climbs = (slopes * np.diff(ends))[:, :-1].cumsum(axis=1)
    return ends, np.concatenate([first, first + climbs], axis=1), slopes


def mean_square(knots: FloatArray, weights: FloatArray) -> FloatArray:
    """Squared error against the parabola, averaged over [0, 5] without a grid: (draws,).

    On a piece the error is a quadratic and its square a quartic: three Gauss-Legendre nodes are
    exact. A grid would miss the needles between near knots, which are what the mean is made of.
    """
    ends, starts, slopes = pieces(knots, weights)
    nodes, shares = np.polynomial.legendre.leggauss(3)
    lengths = np.diff(ends)[..., None]
    inside = lengths * (nodes + 1.0) / 2.0
    errors = starts[..., None] + slopes[..., None] * inside - truth(ends[:, :-1, None] + inside)
    total: FloatArray = (errors**2 * lengths * shares / 2.0).sum(axis=(1, 2)) / POINTS[-1]
    return total


def worst_at_knots(knots: FloatArray) -> FloatArray:
    """Largest error at a knot of the one line through all points: (draws,).

    Args:
        knots: (draws, 4), the first in (1, 2), the second in (2, 3), and so on.
    """
    slope = np.full(len(knots), VALUES[1] - VALUES[0])
    worst = np.zeros(len(knots))
    for place, knot in enumerate(knots.T, start=1):
        height = VALUES[place] + slope * (knot - place)
        worst = np.maximum(worst, np.abs(height - truth(knot)))
        slope = (VALUES[place + 1] - height) / (place + 1 - knot)
    return worst


def tail_index(errors: FloatArray, share: float = TOP) -> float:
    """Hill's estimate of a in P(error > s) ~ s^-a, from the largest errors (Hill 1975)."""
    top = np.sort(errors)[-max(2, round(share * len(errors))) :]
    return float(1.0 / np.log(top[1:] / top[0]).mean())


def run(ask: Ask) -> pd.DataFrame:
    """Columns seed, drawn, knots, train (mean square in the lecture's scale, y / 100), error.

    The error is the mean square on [0, 5], or the largest at a knot where knots are one a gap.
    """
    free = free_knots(ask.seeds, max(COUNTS))
    parts = [_anywhere(ask.seeds, free[:, :count]) for count in COUNTS]
    draws = [np.random.default_rng([seed, THRESHOLD]) for seed in ask.seeds]
    gaps = np.concatenate([draw.uniform(size=(GAP_DRAWS, THRESHOLD)) for draw in draws])
    worst = worst_at_knots(gaps + np.arange(1.0, THRESHOLD + 1))
    columns = {"drawn": ONE_A_GAP, "knots": THRESHOLD, "train": 0.0, "error": worst}
    parts.append(pd.DataFrame({"seed": np.repeat(list(ask.seeds), GAP_DRAWS), **columns}))
    return pd.concat(parts, ignore_index=True)


def _anywhere(seeds: Sequence[int], knots: FloatArray) -> pd.DataFrame:
    weights = least_gamma(knots)
    train = ((heights(POINTS, knots, weights) - VALUES) ** 2).mean(axis=1) / 100.0**2
    errors = {"train": train, "error": mean_square(knots, weights)}
    return pd.DataFrame({"seed": list(seeds), "drawn": FREE, "knots": knots.shape[1], **errors})


def find(table: pd.DataFrame) -> Finding:
    """Whether the mean error explodes at the threshold, by decades: its mean has no value."""
    free = table[table["drawn"] == FREE]
    by = free.groupby("knots")["error"]
    mean, median = by.mean(), by.median()
    plateau = float(free.loc[free["knots"] == 0, "train"].mean())
    perfect = float((free.loc[free["knots"] == THRESHOLD, "train"] < 1e-9).mean())
    worst = table.loc[table["drawn"] == ONE_A_GAP, "error"].to_numpy()
    index, few = tail_index(worst), worst[: max(1, len(worst) // 100)]
    ratio = float(mean.loc[list(NEAR)].min() / mean[FAR])
    return Finding(
        showed=ratio > 100.0 and index < 1.0,
        criterion=f"the mean error with 3, 4 and 5 knots is 100 times that with {FAR}, and the "
        "tail of the errors at the threshold has an index below 1, with which no mean exists",
        text=(
            f"Mean error: {mean[1]:.0f} with one knot, {mean[4]:.1e} with four (as many weights as "
            f"points), {mean[FAR]:.3f} with {FAR}, {mean[max(COUNTS)]:.3f} with {max(COUNTS)}.",
            f"The median shows none of this: {median[1]:.1f}, {median[4]:.1f}, {median[FAR]:.3f}, "
            f"{median[max(COUNTS)]:.3f}. Of four knots drawn anywhere only {perfect:.0%} of the "
            "draws pass through all points.",
            f"With a knot in each gap the mean of the largest error grows with the draws: "
            f"{few.mean():.0f} over {len(few)}, {worst.mean():.0f} over {len(worst)} (median "
            f"{np.median(worst):.1f}). The index of the largest {TOP:.0%} is {index:.2f}; it is 1 "
            "in the limit, as the lecture's single knot says, but three knots multiply: "
            "P(error > s) goes as (log s)^2 / s.",
            f"Without knots the mean square stays at {plateau:.6f} in the lecture's scale, not at "
            "0.11: that is its alpha. Do not say that the typical draw explodes, and do not quote "
            "a mean near the threshold as a value.",
        ),
        numbers={
            "ratio": ratio,
            "index": index,
            "plateau": plateau,
            "interpolating": perfect,
            "median_threshold": float(median[THRESHOLD]),
            "median_most": float(median[max(COUNTS)]),
        },
    )


def draw(table: pd.DataFrame) -> Figure:
    """Left: mean and median error by weights; right: the tail of errors at the threshold."""
    with house_style():
        figure = Figure(figsize=(9.6, 4.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        _by_weights(left, table[table["drawn"] == FREE])
        worst = np.sort(table.loc[table["drawn"] == ONE_A_GAP, "error"])[::-1]
        shares = np.arange(1, len(worst) + 1) / len(worst)
        right.loglog(worst, shares, color=FRONTIER, lw=2, label="draws with a larger error")
        at = np.geomspace(np.median(worst), worst[0], 50)
        right.loglog(at, 0.5 * at[0] / at, ":", color=QUIET, label="1 / s: faster, or no mean")
        right.set(xlabel="largest error at a knot, s", ylabel="share of draws")
        right.set_title("four knots, one in each gap", fontsize=10)
        right.legend(frameon=False, fontsize=9)
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _by_weights(axes: Axes, free: pd.DataFrame) -> None:
    by = free.groupby("knots")["error"]
    weights = by.mean().index + 2
    axes.fill_between(weights, by.quantile(0.1), by.quantile(0.9), color=QUIET, alpha=0.2, lw=0)
    axes.loglog(weights, by.mean(), "o-", color=FRONTIER, ms=4, label="mean over draws")
    axes.loglog(weights, by.median(), "o-", color=QUIET, ms=4, label="median, 10 to 90 %")
    axes.axvline(len(POINTS), color=QUIET, lw=0.8, ls="--", label="as many weights as points")
    axes.xaxis.set_major_locator(FixedLocator([2, 6, 32, 102, 1002]))
    axes.xaxis.set_major_formatter(FixedFormatter(["2", "6", "32", "102", "1002"]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="weights (knots + 2)", ylabel="mean square error on [0, 5]")
    axes.legend(frameon=False, fontsize=9)


STUDY = Study(
    title="Six points, broken lines: the expected error has no value where weights equal points",
    sources=("Belkin et al. 2018, arXiv:1812.11118", "mlu-explain.github.io/double-descent2"),
    bears_on="Why a law fitted on one side of the interpolation threshold says nothing of the "
    "other, and why near it a mean over few seeds is no measurement.",
    seeds=400,
    run=run,
    find=find,
    draw=draw,
)
