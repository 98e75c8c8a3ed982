"""Least L1 or L2 norm on Fourier features: which interpolant wins depends on the target.

Features cos(2 pi k x)/k and sin(2 pi k x)/k for k <= d/2, more of them than samples, and a free
constant. Of all functions through the samples one has the least L2 norm of its coefficients, one
the least L1 norm (Bach's blog on gradient flows, which the lecture follows). With many features the
L2 one is the periodic piecewise-linear interpolant: sum_k cos(2 pi k t)/k^2 is a parabola in t,
and the free constant cancels its curvature.
"""

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import linprog

from scalefit.figures.style import FRONTIER, QUIET, house_style
from scalefit.laws import FloatArray
from trainers.study import Ask, Finding, Study

FEATURES, SAMPLES = 100, (10, 20, 30, 40, 60)
MANY, FIXED = (50, 200, 1000, 4000), 20  # features and samples on the way to the limit
TERMS, EXACT = 5, 1e-8
GRID = np.arange(1024) / 1024.0
TARGETS = {"sparse": "#1b7837", "dense": "#7b3294", "triangle": "#d95f0e", "step": QUIET}
NORMS = {"L1": FRONTIER, "L2": "#2c7fb8"}


def run(ask: Ask) -> pd.DataFrame:
    """Errors of both interpolants, and how far the L2 one is from its limit.

    Columns seed, target (a key of TARGETS, or limit), features, samples, norm, error: mean
    square error over the variance of the target on a grid; for "limit" the largest distance from
    the piecewise-linear interpolant.
    """
    rows = [row for seed in ask.seeds for row in (*_errors(seed), *_limits(seed))]
    columns = ["seed", "target", "features", "samples", "norm", "error"]
    return pd.DataFrame(rows, columns=columns)


def features(x: FloatArray, count: int) -> FloatArray:
    """Cosines and sines of frequencies up to count / 2 over their frequency, (samples, count)."""
    k = np.arange(1, count // 2 + 1)
    turns = 2.0 * np.pi * k * x[:, None]
    return np.concatenate((np.cos(turns) / k, np.sin(turns) / k), axis=1)


def least_squares_norm(design: FloatArray, values: FloatArray) -> FloatArray:
    """Constant and coefficients of the least L2 norm through the values; the constant is free."""
    mean = design.mean(axis=0)
    centred, *_ = np.linalg.lstsq(design - mean, values - values.mean(), rcond=1e-13)
    solution: FloatArray = np.r_[values.mean() - mean @ centred, centred]
    return solution


def least_absolute_norm(
    design: FloatArray, values: FloatArray, *, constant: bool = True
) -> FloatArray:
    """Coefficients of the least L1 norm through the values, after a free constant if there is one.

    A linear programme in the positive and the negative parts of the coefficients.
    """
    count, free = design.shape[1], int(constant)
    found = linprog(
        np.r_[np.zeros(free), np.ones(2 * count)],
        A_eq=np.column_stack((np.ones((len(values), free)), design, -design)),
        b_eq=values,
        bounds=[(None, None)] * free + [(0, None)] * (2 * count),
    )
    positive, negative = found.x[free : free + count], found.x[free + count :]
    solution: FloatArray = np.r_[found.x[:free], positive - negative]
    return solution


def targets(seed: int) -> dict[str, Callable[[FloatArray], FloatArray]]:
    """Functions on the circle [0, 1): a few features, all, a triangle wave, a step."""
    draw = np.random.default_rng((seed, 1))
    chosen = draw.choice(FEATURES, TERMS, replace=False)
    few, all_of_them = np.zeros(FEATURES), draw.standard_normal(FEATURES)
    few[chosen] = draw.standard_normal(TERMS)
    return {
        "sparse": lambda x: features(x, FEATURES) @ few,
        "triangle": lambda x: 1.0 - 4.0 * np.abs(x - 0.5),
        "step": lambda x: np.where(x < 0.5, 1.0, -1.0),
        "dense": lambda x: features(x, FEATURES) @ all_of_them,
    }


def _errors(seed: int) -> Iterator[tuple[object, ...]]:
    solvers = {"L1": least_absolute_norm, "L2": least_squares_norm}
    x = np.random.default_rng(seed).random(max(SAMPLES))
    everywhere = np.c_[np.ones(GRID.size), features(GRID, FEATURES)]
    for (name, target), count in product(targets(seed).items(), SAMPLES):
        truth = target(GRID)
        for norm, solve in solvers.items():
            found = solve(features(x[:count], FEATURES), target(x[:count]))
            error = ((everywhere @ found - truth) ** 2).mean() / truth.var()
            yield seed, name, FEATURES, count, norm, error


def _limits(seed: int) -> Iterator[tuple[object, ...]]:
    draw = np.random.default_rng((seed, 2))
    x = (np.arange(FIXED) + draw.random(FIXED)) / FIXED  # apart: the limit is slow where two meet
    values = draw.standard_normal(FIXED)
    line = np.interp(GRID, x, values, period=1.0)
    for count in MANY:
        found = least_squares_norm(features(x, count), values)
        curve = found[0] + features(GRID, count) @ found[1:]
        yield seed, "limit", count, FIXED, "L2", np.abs(curve - line).max()


def pairs(table: pd.DataFrame) -> pd.DataFrame:
    """Both norms side by side: columns target, samples, seed, L1, L2, better (L1 is), exact."""
    rows = table[table["target"].ne("limit")]
    index = ["target", "samples", "seed"]
    both = rows.pivot_table(index=index, columns="norm", values="error").reset_index()
    return both.assign(better=both["L1"] < both["L2"], exact=both["L1"] < EXACT)


def _exact(table: pd.DataFrame) -> dict[int, float]:
    """Share of seeds in which L1 finds the sparse target, by samples."""
    both = pairs(table)
    sparse = both[both["target"].eq("sparse")]
    return {n: float(sparse.loc[sparse["samples"].eq(n), "exact"].mean()) for n in SAMPLES}


def find(table: pd.DataFrame) -> Finding:
    """Whether L1 is exact on the sparse target while L2 is better on the dense one."""
    both = pairs(table)
    wide = both[both["samples"].ge(20)]
    share = {name: float(wide.loc[wide["target"].eq(name), "better"].mean()) for name in TARGETS}
    exact = _exact(table)
    limit = table[table["target"].eq("limit")].groupby("features")["error"].median()
    return Finding(
        showed=exact[40] >= 0.9 and share["sparse"] >= 0.8 and share["dense"] <= 1 / 3,
        criterion=f"on a target of {TERMS} of {FEATURES} features, L1 through 40 samples is exact "
        "in nine seeds of ten, and better in four of five pairs of seed and samples (20 or more); "
        "on a target of all features, L2 is better in two of three",
        text=(
            "L1 found the sparse target exactly in "
            + ", ".join(f"{found:.0%}" for found in exact.values())
            + f" of the seeds, with {', '.join(map(str, exact))} samples.",
            "With 20 samples or more, L1 was better in "
            + ", ".join(f"{found:.0%} ({name})" for name, found in share.items())
            + f" of {len(wide) // len(TARGETS)} pairs of seed and samples: neither norm is the "
            "right one for every target.",
            "The largest distance of the L2 interpolant from the periodic piecewise-linear one "
            f"fell from {limit[MANY[0]]:.2g} with {MANY[0]} features to {limit[MANY[-1]]:.2g} with "
            f"{MANY[-1]} (medians).",
            "The step does not decide: where two samples stand close on both sides of the jump, "
            "both norms fail. So counts and medians are given, not means.",
        ),
        numbers={f"exact_{n}": found for n, found in exact.items()}
        | {f"better_{name}": found for name, found in share.items()}
        | {f"limit_{n}": float(limit[n]) for n in MANY},
    )


def draw(table: pd.DataFrame) -> Figure:
    """How often L1 is better, its errors on the sparse target, and the limit of many features."""
    with house_style():
        figure = Figure(figsize=(12.0, 4.2), layout="constrained")
        wins, sparse, limit = figure.subplots(1, 3)
        for name, rows in pairs(table).groupby("target"):
            share = rows.groupby("samples")["better"].mean()
            colour = TARGETS[str(name)]
            wins.plot(share.index, share, "o-", color=colour)
            wins.text(62, share.iloc[-1], str(name), color=colour, va="center", fontsize=9)
        wins.plot(SAMPLES, [0.5] * len(SAMPLES), ":", color=QUIET, lw=0.8)
        wins.set(xlabel="samples", ylabel="share of seeds", ylim=(0, 1.04))
        wins.set_xlim(8, 76)
        wins.set_title(f"L1 is better than L2, {FEATURES} features", fontsize=10)
        for (norm, colour), height in zip(NORMS.items(), (1e-7, 8.0), strict=True):
            rows = table[table["target"].eq("sparse") & table["norm"].eq(norm)]
            _many(sparse, rows.assign(error=rows["error"].clip(lower=EXACT)), "samples", colour)
            sparse.text(40, height, f"least {norm} norm", color=colour, fontsize=9)
        found = ", ".join(f"{share:.0%}" for share in _exact(table).values())
        sparse.set_title(f"sparse target, L1 exact: {found}", fontsize=10)
        sparse.set(
            yscale="log", xlabel="samples", ylabel="squared error over variance", ylim=(3e-9, 80)
        )
        _many(limit, table[table["target"].eq("limit")], "features", NORMS["L2"])
        limit.set(xscale="log", yscale="log", xlabel="features", ylabel="largest distance")
        limit.set_title("L2 from the piecewise-linear interpolant", fontsize=10)
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _many(axes: Axes, rows: pd.DataFrame, across: str, colour: str) -> None:
    """The error of every seed, and their median."""
    for _, one in rows.groupby("seed"):
        axes.plot(one[across], one["error"], color=colour, lw=0.6, alpha=0.4)
    middle = rows.groupby(across)["error"].median()
    axes.plot(middle.index, middle, "o-", color=colour, lw=2.2)


STUDY = Study(
    title="Fourier features: the least L1 norm or the least L2 norm through the samples?",
    sources=("the lecture, after Bach's blog on gradient flows",),
    bears_on="Why exponents belong to a task and a trainer: which interpolant is right depends.",
    seeds=20,
    run=run,
    find=find,
    draw=draw,
)
