"""Of all broken lines through the points, the least bent one is the natural cubic spline.

alpha + beta x + sum of gamma_k |x - t_k| / 2 with more knots than points. As knots grow dense,
K ||gamma||^2 approaches the integral of g''^2 / p (p the density of knots), which the natural cubic
spline makes least: a lecture's example (on Belkin et al. 2018, arXiv:1812.11118). It is so only if
alpha and beta cost nothing: as K grows gamma becomes cheap beside them, so that the minimum norm of
all weights, where gradient descent from 0 ends, drives alpha and beta to 0 instead.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter
from scipy.interpolate import CubicSpline
from scipy.linalg import null_space

from scalefit.figures.style import FRONTIER, QUIET, house_style
from scalefit.laws import FloatArray
from trainers.study import Ask, Finding, Study


def truth(x: FloatArray) -> FloatArray:
    """The parabola that the points are taken from."""
    return 4.0 * (x - 2.5) ** 2


POINTS = np.arange(6.0)
VALUES = truth(POINTS)
SPLINE = CubicSpline(POINTS, VALUES, bc_type="natural")
COUNTS = (20, 50, 100, 200, 500, 1000)
SHOWN = 200
BY_TEN = (0.1, 0.01)
"""The lecture trains on x / 10 and y / 100."""
SINGULAR = 1e-11
"""Singular values below this part of the largest are zero."""
GAMMA, ALL, SMALL = "least ||gamma||", "least norm of all", "least norm of all, x/10, y/100"
GRID = np.linspace(0.0, 5.0, 101)


def bends(x: FloatArray, knots: FloatArray) -> FloatArray:
    """|x - t| / 2 of every place (places,) and knot (draws, knots): (draws, places, knots)."""
    return 0.5 * np.abs(x[:, None] - knots[:, None, :])


def design(x: FloatArray, knots: FloatArray) -> FloatArray:
    """1, x and the bends: (draws, places, 2 + knots)."""
    line = np.stack([np.ones_like(x), x], axis=1)
    every = np.broadcast_to(line, (len(knots), *line.shape))
    return np.concatenate([every, bends(x, knots)], axis=2)


def heights(x: FloatArray, knots: FloatArray, weights: FloatArray) -> FloatArray:
    """Values of the lines with weights (draws, 2 + knots): (draws, places)."""
    values: FloatArray = np.einsum("dpk,dk->dp", design(x, knots), weights)
    return values


def least_gamma(knots: FloatArray) -> FloatArray:
    """The best fit to the six points and, among equals, that of least ||gamma||.

    What a straight line can do is left to alpha and beta; gamma is solved for in the four
    directions of the points that no line reaches.

    Args:
        knots: (draws, knots), in any order.

    Returns:
        alpha, beta and gamma: (draws, 2 + knots).
    """
    line, basis = np.stack([np.ones_like(POINTS), POINTS], axis=1), bends(POINTS, knots)
    across = null_space(line.T)
    gamma = np.linalg.pinv(across.T @ basis, rcond=SINGULAR) @ (across.T @ VALUES)
    rest = VALUES - np.einsum("dpk,dk->dp", basis, gamma)
    return np.concatenate([rest @ np.linalg.pinv(line).T, gamma], axis=1)


def least_all(knots: FloatArray, scale: tuple[float, float] = (1.0, 1.0)) -> FloatArray:
    """The best fit of least norm of all weights, where x and y are multiplied by `scale`."""
    basis = design(POINTS * scale[0], knots * scale[0])
    return unscaled(np.linalg.pinv(basis, rcond=SINGULAR) @ (VALUES * scale[1]), scale)


def unscaled(weights: FloatArray, scale: tuple[float, float]) -> FloatArray:
    """The same lines in x and y as they are: only alpha does not multiply an x."""
    weights = weights / scale[1]
    weights[:, 1:] *= scale[0]
    return weights


def run(ask: Ask) -> pd.DataFrame:
    """Fitted lines by solver and knots: columns seed, solver, knots, gamma (norm), x, value."""
    free = free_knots(ask.seeds, max(COUNTS))
    parts = []
    for count in COUNTS:
        knots = free[:, :count]
        fits = {GAMMA: least_gamma(knots), ALL: least_all(knots), SMALL: least_all(knots, BY_TEN)}
        parts += [lines(ask.seeds, solver, knots, weights) for solver, weights in fits.items()]
    return pd.concat(parts, ignore_index=True)


def free_knots(seeds: Sequence[int], count: int) -> FloatArray:
    """Knots uniform on [0, 5], (seeds, count): fewer knots are the first of more."""
    return np.stack([np.random.default_rng(seed).uniform(0.0, 5.0, count) for seed in seeds])


def lines(
    seeds: Sequence[int], solver: str, knots: FloatArray, weights: FloatArray
) -> pd.DataFrame:
    """Rows of the table: every line on the grid."""
    bent = np.linalg.norm(weights[:, 2:], axis=1)
    columns = {"seed": list(seeds), "gamma": bent}
    repeated = {name: np.repeat(column, len(GRID)) for name, column in columns.items()}
    drawn = {"x": np.tile(GRID, len(seeds)), "value": heights(GRID, knots, weights).ravel()}
    return pd.DataFrame({"solver": solver, "knots": knots.shape[1], **repeated, **drawn})


def distances(table: pd.DataFrame) -> pd.DataFrame:
    """Greatest distance to the spline, and ||gamma||, of every solver, knots and seed."""
    away = table.assign(distance=(table["value"] - SPLINE(table["x"])).abs())
    by = away.groupby(["solver", "knots", "seed"])
    return by.agg({"distance": "max", "gamma": "first"}).reset_index()


def bending() -> float:
    """What K ||gamma||^2 approaches: the integral of the spline's g''^2 / p with p = 1/5."""
    left, right = SPLINE(POINTS[:-1], 2), SPLINE(POINTS[1:], 2)
    return 5.0 * float(((left**2 + left * right + right**2) / 3.0).sum())


def find(table: pd.DataFrame) -> Finding:
    """Whether the line of least ||gamma|| approaches the spline and that of least norm does not."""
    rows = distances(table)
    away = rows.groupby(["solver", "knots"])["distance"].median()
    least, most = min(COUNTS), max(COUNTS)
    near, before = float(away[GAMMA, most]), float(away[GAMMA, 100])
    slope = float(np.polyfit(np.log(COUNTS), np.log([away[GAMMA, k] for k in COUNTS]), 1)[0])
    dense = rows[(rows["solver"] == GAMMA) & (rows["knots"] == most)]
    energy = float((most * dense["gamma"] ** 2).mean()) / bending()
    far = float(away[ALL].min())
    return Finding(
        showed=near < 0.2 and near < 0.5 * before and far > 0.8,
        criterion=f"least ||gamma|| with {most} knots is nearer to the natural spline than 0.2 and "
        "than half its distance with 100; the least norm of all weights stays farther than 0.8 "
        "(greatest distance, medians over seeds)",
        text=(
            f"Least ||gamma|| is {before:.3f} from the natural spline with 100 knots, {near:.3f} "
            f"with {most}: as K to the power {slope:.2f}. K ||gamma||^2 is {energy:.3f} of the "
            "integral that the spline makes least.",
            f"The least norm of all weights does not approach it: {away[ALL, least]:.2f} with "
            f"{least} knots, {away[ALL, most]:.2f} with {most}. Scale matters to it, not to least "
            f"||gamma||: with x/10 and y/100 it comes to {away[SMALL].min():.2f} and then leaves, "
            f"to {away[SMALL, most]:.2f}.",
            "So the spline is not what training finds by itself: it takes a penalty that spares "
            "alpha and beta.",
        ),
        numbers={"near": near, "before": before, "slope": slope, "energy": energy, "far": far},
    )


def draw(table: pd.DataFrame) -> Figure:
    """Left: the lines of one draw less the spline; right: distance to the spline by knots."""
    rows = distances(table)
    first = table[(table["seed"] == table["seed"].min()) & (table["knots"] == SHOWN)]
    with house_style():
        figure = Figure(figsize=(9.6, 4.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        for solver, colour in {GAMMA: FRONTIER, ALL: "C0", SMALL: "C9"}.items():
            one = first[first["solver"] == solver]
            left.plot(one["x"], one["value"] - SPLINE(one["x"]), color=colour, lw=1.6)
            middle = rows[rows["solver"] == solver].groupby("knots")["distance"].median()
            right.plot(middle.index, middle, "o-", color=colour, ms=4, label=solver)
        left.plot(POINTS, np.zeros_like(POINTS), "o", color=QUIET, label="the six points")
        left.axhline(0.0, color=QUIET, lw=0.8)
        left.set(xlabel="x", ylabel="line minus natural spline")
        left.set_title(f"one draw of {SHOWN} knots", fontsize=10)
        right.set(xscale="log", yscale="log", xlabel="knots K", ylabel="distance to the spline")
        right.set_title("greatest distance, median over draws", fontsize=10)
        right.xaxis.set_major_formatter(ScalarFormatter())
        right.yaxis.set_major_formatter(ScalarFormatter())
        right.set_ylim(0.05, 2.0)
        left.legend(frameon=False, fontsize=9)
        right.legend(frameon=False, fontsize=9)
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


STUDY = Study(
    title="Of all broken lines through the points, the least bent is the natural spline",
    sources=("Belkin et al. 2018, arXiv:1812.11118",),
    bears_on="Why more parameters than data need not overfit: what is least decides, not how many.",
    seeds=20,
    run=run,
    find=find,
    draw=draw,
)
