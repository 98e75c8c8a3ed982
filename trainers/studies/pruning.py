"""Data pruning: by its hardest examples a student learns more than the power law allows.

A teacher perceptron labels Gaussian inputs of N = 50 dimensions; a student learns the separator of
largest margin from alpha N of them. Taken at random, its angle to the teacher falls as 1/alpha.
Taken are those nearest to the teacher's boundary, a share f of a pool that grows, and the angle
falls faster, until it does so no more (Sorscher et al. 2022, arXiv:2206.14486).
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter
from scipy.optimize import nnls

from scalefit.figures.style import FRONTIER, QUIET, house_style
from scalefit.laws import FloatArray
from trainers.study import Ask, Finding, Study

DIMENSION = 50
ALPHAS = (2, 4, 8, 16, 32)
COLOURS = {1.0: QUIET, 0.5: "#fdae61", 0.25: "#e8743b", 0.1: FRONTIER, 0.02: "#5e1a12"}
FRACTIONS = tuple(COLOURS)
QUARTER, TENTH = 0.25, 0.1
PROBE = 20.0
"""Degrees between the teacher and who judges what is hard, where that is not the teacher."""
POOL = 32
"""The pool, in examples a dimension, of which ever less is kept."""
HARD, EASY, JUDGED, POOLED = "hard", "easy", "hard by a probe", "hard, one pool"


def separator(inputs: FloatArray, labels: FloatArray) -> FloatArray:
    """The separator through the origin of largest margin, exactly; shape (dimensions,), unit norm.

    It is the shortest w with labels * (inputs @ w) >= 1, that is least-distance programming by
    non-negative least squares (Lawson & Hanson 1974, chapter 23).

    Args:
        inputs: shape (examples, dimensions), separable.
        labels: +1 or -1, shape (examples,).
    """
    signed = labels[:, None] * inputs
    bound, goal = 1.0, np.append(np.zeros(inputs.shape[1]), 1.0)
    for _ in range(2):
        # "at least bound" instead of 1 only scales w; at |w| = 1 nothing is lost by rounding
        system = np.vstack([signed.T, np.full(len(signed), bound)])
        weights, _residual = nnls(system, goal, maxiter=100 * len(signed))
        residual = system @ weights - goal
        found: FloatArray = -residual[:-1] / residual[-1]
        norm = float(np.linalg.norm(found))
        bound /= norm
    return found / norm


def angle(one: FloatArray, other: FloatArray) -> float:
    """Angle of two unit vectors over pi: the test error of a student for Gaussian inputs."""
    # by the chord, which stays exact for small angles
    return float(2.0 * np.arcsin(min(float(np.linalg.norm(one - other)) / 2.0, 1.0)) / np.pi)


def run(ask: Ask) -> pd.DataFrame:
    """Generalisation error, columns seed, arm, alpha, fraction, error.

    alpha is what is kept, in examples a dimension; fraction is its share of the pool; error is the
    angle to the teacher over pi.
    """
    cells = [(HARD, float(alpha), fraction) for alpha in ALPHAS for fraction in FRACTIONS]
    cells += [(arm, float(alpha), QUARTER) for alpha in ALPHAS for arm in (EASY, JUDGED)]
    cells += [(POOLED, POOL * fraction, fraction) for fraction in FRACTIONS]
    rows = [(seed, *cell, _error(seed, *cell)) for seed in ask.seeds for cell in cells]
    return pd.DataFrame(rows, columns=["seed", "arm", "alpha", "fraction", "error"])


def _error(seed: int, arm: str, alpha: float, fraction: float) -> float:
    """Error of one student; the pools of a seed all begin with the same examples."""
    draw = np.random.default_rng(seed)
    teacher, aside = draw.standard_normal((2, DIMENSION))
    teacher /= np.linalg.norm(teacher)
    inputs = draw.standard_normal((round(alpha / fraction * DIMENSION), DIMENSION))
    judge = _turned(teacher, aside, PROBE) if arm == JUDGED else teacher
    order = np.argsort(np.abs(inputs @ judge))
    kept = (order[::-1] if arm == EASY else order)[: round(alpha * DIMENSION)]
    chosen = inputs[kept]
    return angle(separator(chosen, np.sign(chosen @ teacher)), teacher)


def _turned(teacher: FloatArray, aside: FloatArray, degrees: float) -> FloatArray:
    """A unit vector at this angle to the teacher."""
    across = aside - (aside @ teacher) * teacher
    across /= np.linalg.norm(across)
    turn = np.radians(degrees)
    found: FloatArray = np.cos(turn) * teacher + np.sin(turn) * across
    return found


def errors(table: pd.DataFrame, arm: str = HARD) -> pd.DataFrame:
    """Mean error of an arm over seeds, a row a fraction, a column an alpha."""
    return table[table["arm"] == arm].pivot_table("error", index="fraction", columns="alpha")


def slopes(error: FloatArray) -> FloatArray:
    """Local exponents of an error at ALPHAS, one between each two neighbours."""
    found: FloatArray = np.diff(np.log(error)) / np.diff(np.log(ALPHAS))
    return found


def halved(table: pd.DataFrame, alpha: float = 8.0) -> "pd.Series[bool]":
    """By seed, whether the hardest tenth has at most half the error of as many at random."""
    chosen = table[(table["arm"] == HARD) & (table["alpha"] == alpha)]
    seeds = chosen.pivot_table("error", index="seed", columns="fraction")
    return seeds[TENTH] <= seeds[1.0] / 2.0


def find(table: pd.DataFrame) -> Finding:
    """Whether hard examples halved the error in every seed, and fell faster than 1/alpha."""
    mean, half = errors(table), halved(table)
    at_random, tenth, quarter = (mean.loc[share].to_numpy() for share in (1.0, TENTH, QUARTER))
    random, hard = slopes(at_random), slopes(tenth)
    pool = table[table["arm"] == POOLED].groupby("fraction")["error"].mean()
    easy, probe = (errors(table, arm).loc[QUARTER].to_numpy() for arm in (EASY, JUDGED))
    first, then, *_, last = ALPHAS
    eight = ALPHAS.index(8)
    frontier, harder = mean.min().to_numpy(), mean.idxmin().to_numpy()
    return Finding(
        showed=bool(half.all() and hard[0] < -1.5),
        criterion="at alpha = 8 the hardest tenth has at most half the error of a random choice in "
        "every seed, and its first local exponent is steeper than -1.5",
        text=(
            f"At alpha = 8 the error is {at_random[eight]:.4f} at random and {tenth[eight]:.4f} "
            f"with the hardest tenth; it is halved in {half.sum()} of {len(half)} seeds.",
            f"From alpha {first} to {then} the hardest tenth falls as alpha^{hard[0]:.2f}, a "
            f"random choice as alpha^{random[0]:.2f}. Then both are power laws: mean exponents "
            f"{hard[1:].mean():.2f} and {random[1:].mean():.2f} up to alpha {last}.",
            "So at a fixed share only the constant is better. The exponent is beaten where a "
            f"growing pool is pruned ever harder: of these shares the best, {harder[0]:g} at alpha "
            f"{first} and {harder[1]:g} at alpha {then}, has errors {frontier[0]:.4f} and "
            f"{frontier[1]:.4f}.",
            f"Of one pool, alpha = {POOL}, a quarter has error {pool[QUARTER]:.4f} and all of it "
            f"{pool[1.0]:.4f}: without noise the largest margin hangs on the hardest alone.",
            f"With little data it is otherwise. Of a quarter kept at alpha {first} the easy ones "
            f"give {easy[0]:.3f}, the hard {quarter[0]:.3f}; hard by a judge {PROBE:g} degrees "
            f"off, {probe[0]:.3f}, against {at_random[0]:.3f} at random.",
            "The teacher knows what is hard and no label is wrong. Neither holds for text.",
        ),
        numbers={
            "random": float(at_random[eight]),
            "hard": float(tenth[eight]),
            "slope_random": float(random[0]),
            "slope_hard": float(hard[0]),
            "slope_hard_later": float(hard[1:].mean()),
        },
    )


def draw(table: pd.DataFrame) -> Figure:
    """Left the error by what is kept for every share, right by who chooses a quarter."""
    with house_style():
        figure = Figure(figsize=(9.6, 4.4), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        mean = errors(table)
        for fraction, colour in COLOURS.items():
            name = "at random" if fraction == 1.0 else f"hardest {fraction:.0%}"
            left.plot(
                mean.columns, mean.loc[fraction], "o-", color=colour, lw=1.8, ms=4, label=name
            )
        arms = {"at random": mean.loc[1.0], "hard, by the teacher": mean.loc[QUARTER]}
        arms["easy"] = errors(table, EASY).loc[QUARTER]
        arms[f"hard, by a judge {PROBE:g}° off"] = errors(table, JUDGED).loc[QUARTER]
        shades = (QUIET, COLOURS[QUARTER], "#2a788e", "#7b3294")
        for colour, (name, row) in zip(shades, arms.items(), strict=True):
            right.plot(row.index, row, "o-", color=colour, lw=1.8, ms=4, label=name)
        left.set_ylabel("test error (angle to the teacher / π)")
        _axes(left, "kept of a growing pool")
        _axes(right, "a quarter kept, chosen by whom")
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _axes(axes: Axes, heading: str) -> None:
    axes.set(xscale="log", yscale="log", xlabel="examples kept, a dimension: α", xticks=ALPHAS)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_title(heading, fontsize=10)
    axes.legend(frameon=False, fontsize=9, loc="lower left")


STUDY = Study(
    title="Data pruning in a teacher-student perceptron",
    sources=("Sorscher et al. 2022, arXiv:2206.14486",),
    bears_on="The exponent of data belongs to how data are chosen: pruned well, D counts for more.",
    seeds=8,
    run=run,
    find=find,
    draw=draw,
)
