"""Polynomials of degree 1, 5 and 20: bias falls with capacity, variance rises, 20 explodes.

Least squares on noisy examples of a sine: a lecture's picture of under- and overfitting; bias and
variance as in Geman, Bienenstock & Doursat 1992 (Neural Computation 4, 1-58). The error of degree
20 is so heavy-tailed that its variance is no number to quote: the study gives its median, and says
how much of the error lies beyond the outermost examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator
from numpy.polynomial import legendre

from scalefit.errors import StudyError
from scalefit.figures.style import FRONTIER, QUIET, house_style
from scalefit.laws import FloatArray
from trainers.study import Ask, Finding, Study

SAMPLES, NOISE = 30, 0.3
DEGREES = (1, 2, 3, 5, 7, 9, 12, 16, 20)
LOW, RIGHT, HIGH = 1, 5, 20
NODES, SHARES = legendre.leggauss(81)
"""Gauss-Legendre: the mean of a squared fit over [-1, 1] is exact, and the ends lie dense."""


def truth(x: FloatArray) -> FloatArray:
    """One period of a sine on [-1, 1]."""
    return np.sin(np.pi * x)


def examples(
    seeds: Sequence[int], count: int, noise: float = NOISE
) -> tuple[FloatArray, FloatArray]:
    """Inputs x uniform on [-1, 1] and noisy y of every seed: (seeds, count) each."""
    draws = [np.random.default_rng(seed) for seed in seeds]
    x = np.stack([draw.uniform(-1.0, 1.0, count) for draw in draws])
    return x, truth(x) + noise * np.stack([draw.standard_normal(count) for draw in draws])


def fit(x: FloatArray, y: FloatArray, degree: int) -> FloatArray:
    """Legendre coefficients of the least squares of every seed: (seeds, degree + 1)."""
    directions, triangle = np.linalg.qr(legendre.legvander(x, degree))
    solved: FloatArray = np.linalg.solve(triangle, directions.mT @ y[..., None])
    return solved[..., 0]


def run(ask: Ask) -> pd.DataFrame:
    """Fits: columns seed, degree, x (the nodes), between (the outermost examples or not), value."""
    if len(ask.seeds) < 2:
        raise StudyError("one draw has no variance; give the study polynomials --seeds 2 or more")
    x, y = examples(ask.seeds, SAMPLES)
    between = (x.min(axis=1, keepdims=True) < NODES) & (x.max(axis=1, keepdims=True) > NODES)
    drawn = {
        "seed": np.repeat(list(ask.seeds), len(NODES)),
        "x": np.tile(NODES, len(ask.seeds)),
        "between": between.ravel(),
    }
    parts = []
    for degree in DEGREES:
        values = fit(x, y, degree) @ legendre.legvander(NODES, degree).T
        parts.append(pd.DataFrame({"degree": degree, **drawn, "value": values.ravel()}))
    return pd.concat(parts, ignore_index=True)


def fits(table: pd.DataFrame, degree: int) -> FloatArray:
    """The fits of a degree at the nodes: (seeds, nodes)."""
    rows = table[table["degree"] == degree]
    return rows.pivot_table(index="seed", columns="x", values="value").to_numpy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Squared bias, variance, and the error of every draw (draws,), averaged over [-1, 1]."""

    bias: float
    variance: float
    errors: FloatArray


def parts_of_error(values: FloatArray) -> Parts:
    """What the errors of fits consist of, against the truth.

    The mean fit of a few draws is off by variance / draws, which the squared bias is freed from:
    the mean of the errors is exactly bias + variance.

    Args:
        values: fits (draws, nodes), two draws or more.
    """
    share, mean = SHARES / 2.0, values.mean(axis=0)
    variance = float((values.var(axis=0, ddof=1) * share).sum())
    bias = float(((mean - truth(NODES)) ** 2 * share).sum()) - variance / len(values)
    errors = ((values - truth(NODES)) ** 2 * share).sum(axis=1)
    return Parts(bias=bias, variance=variance, errors=errors)


def find(table: pd.DataFrame) -> Finding:
    """Whether degree 1 underfits, 5 fits and 20 overfits, in bias, variance and median error."""
    parts = {degree: parts_of_error(fits(table, degree)) for degree in (LOW, RIGHT, HIGH)}
    bias = {degree: part.bias for degree, part in parts.items()}
    variance = {degree: part.variance for degree, part in parts.items()}
    median = {degree: float(np.median(part.errors)) for degree, part in parts.items()}
    inside, outside = _by_place(table, HIGH)
    return Finding(
        showed=median[RIGHT] < median[LOW] / 5.0
        and median[HIGH] > 1e3 * median[RIGHT]
        and bias[RIGHT] < bias[LOW] / 10.0
        and variance[RIGHT] > variance[LOW],
        criterion="the median error of degree 5 is under a fifth of that of degree 1, and that of "
        "degree 20 a thousand times it; from degree 1 to 5 squared bias falls to a tenth or less "
        "and variance rises",
        text=(
            f"Median error against the truth: degree 1 {median[LOW]:.3f}, degree 5 "
            f"{median[RIGHT]:.4f}, degree 20 {median[HIGH]:.1e} ({SAMPLES} examples, "
            f"{len(parts[HIGH].errors)} draws).",
            f"Degree 1 errs by bias (squared {bias[LOW]:.3f}, variance {variance[LOW]:.3f}), "
            f"degree 5 by variance ({variance[RIGHT]:.3f}, squared bias {bias[RIGHT]:.4f}).",
            f"Degree 20 has a sample variance of {variance[HIGH]:.0e} that a few draws decide, and "
            "its bias cannot be read off: neither is a number to quote.",
            f"Of its error {outside / (inside + outside):.1%} lies beyond the outermost examples, "
            f"where it extrapolates; between them it is still {inside:.3g} (medians over draws).",
            "These are errors against the truth; against new noisy examples each is larger by the "
            "variance of the noise, which the lecture's decomposition leaves out.",
        ),
        numbers={
            **{f"median_{degree}": value for degree, value in median.items()},
            **{f"bias_{degree}": bias[degree] for degree in (LOW, RIGHT)},
            **{f"variance_{degree}": variance[degree] for degree in (LOW, RIGHT, HIGH)},
            "inside": inside,
            "outside": outside,
        },
    )


def _by_place(table: pd.DataFrame, degree: int) -> tuple[float, float]:
    """Parts of the error between and beyond the outermost examples: medians over draws."""
    rows = table[table["degree"] == degree]
    square = (rows["value"] - truth(rows["x"].to_numpy())) ** 2
    weighed = square * np.interp(rows["x"], NODES, SHARES / 2.0)
    between, seeds = rows["between"], rows["seed"]
    inside = weighed.where(between, 0.0).groupby(seeds).sum().median()
    return float(inside), float(weighed.where(~between, 0.0).groupby(seeds).sum().median())


def draw(table: pd.DataFrame) -> Figure:
    """Fits of degree 1, 5 and 20, and bias, variance and median error by degree."""
    with house_style():
        figure = Figure(figsize=(9.6, 6.2), layout="constrained")
        axes = figure.subplots(2, 2).ravel()
        for one, degree in zip(axes, (LOW, RIGHT, HIGH), strict=False):
            values = fits(table, degree)
            one.plot(NODES, values[:25].T, color=QUIET, lw=0.6, alpha=0.6)
            one.plot(NODES, np.median(values, axis=0), color=FRONTIER, lw=2.0, label="median fit")
            one.plot(NODES, truth(NODES), "--", color="C0", lw=1.6, label="truth")
            one.set(xlabel="x", ylabel="y", ylim=(-2.5, 2.5), xticks=(-1, -0.5, 0, 0.5, 1))
            one.set_title(f"degree {degree}, {min(25, len(values))} draws", fontsize=10)
        axes[0].legend(frameon=False, fontsize=8, loc="upper left")
        _by_degree(axes[3], table)
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _by_degree(axes: Axes, table: pd.DataFrame) -> None:
    parts = [parts_of_error(fits(table, degree)) for degree in DEGREES]
    draws = table["seed"].nunique()
    known = [
        (degree, part.bias)
        for degree, part in zip(DEGREES, parts, strict=True)
        if part.bias > 0.0 and part.variance / draws < 1e-3
    ]
    if known:
        axes.semilogy(*zip(*known, strict=True), "o-", color="C0", ms=4, label="squared bias")
    variance, median = (
        [part.variance for part in parts],
        [np.median(part.errors) for part in parts],
    )
    axes.semilogy(DEGREES, variance, "o-", color=QUIET, ms=4, label="variance")
    axes.semilogy(DEGREES, median, "o-", color=FRONTIER, ms=4, label="error, median draw")
    axes.xaxis.set_major_locator(FixedLocator(DEGREES))
    axes.set(xlabel="degree", ylabel="mean over [-1, 1]", ylim=(1e-4, 1e7))
    axes.set_title("squared bias where it can be told from variance", fontsize=10)
    axes.legend(frameon=False, fontsize=8, loc="upper left")


STUDY = Study(
    title="Polynomials of degree 1, 5, 20: underfitting, fitting, overfitting",
    sources=("Geman, Bienenstock & Doursat 1992, Neural Computation 4, 1-58",),
    bears_on="The additive law L(N, D) has no term that grows with N at fixed D: it can hold only "
    "where capacity is not yet too much for the data.",
    seeds=200,
    run=run,
    find=find,
    draw=draw,
)
