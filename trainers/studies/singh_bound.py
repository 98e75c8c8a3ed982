"""Why loss peaks at interpolation: the smallest eigenvalue of the Hessian vanishes there.

Singh et al. 2022 (ICLR, arXiv:2203.07337) bound the loss from below by what is left when the
tested example is trained on as well, plus sigma^2 alpha lambda_min(C) / ((n + 1) lambda_r(H)). In
least squares on normal features every term is known. By their form for squared error the bound is
infinite where sqrt(n) = c sqrt(p), so at p = n / c^2 (a lecture prints n / sqrt(c), a slip of
algebra). To tell the two apart c must not be 1: here every example comes k times, c = sqrt(k).
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import chi2

from scalefit.figures.style import FRONTIER, QUIET, house_style
from trainers.studies.tools.features import Floats
from trainers.study import Ask, Finding, Study

EXAMPLES, FEATURES, NOISE, TESTS = 100, 400, 0.5, 2000
COPIES = (1, 2, 4)
SIZES = (*range(5, 151, 5), 200, 300, 400)
STEP = 5
ALPHA = 0.5
"""Share of examples counted in the bound: the half of larger residuals. All would make it 0, for
there the smallest residual is."""
SMALLEST = float(chi2.median(1))
"""Smallest squared residual of that half, with variance 1."""


def run(ask: Ask) -> pd.DataFrame:
    """The loss and its bound, by number of parameters and copies of each example.

    Columns seed, copies, params; loss, half the expected squared error; gap, by how much it falls
    if the tested example is trained on as well; first_order, the gap that influence functions
    give; bound, and inverse, 1 / lambda_r(H).
    """
    return pd.DataFrame([row for seed in ask.seeds for row in _measure(seed)])


def _measure(seed: int) -> Iterator[dict[str, float]]:
    draw = np.random.default_rng(seed)
    truth = draw.standard_normal(FEATURES) / np.sqrt(FEATURES)
    tests = draw.standard_normal((TESTS, FEATURES))
    answers = tests @ truth + NOISE * draw.standard_normal(TESTS)
    for copies in COPIES:
        inputs = np.repeat(draw.standard_normal((EXAMPLES // copies, FEATURES)), copies, axis=0)
        values = inputs @ truth + NOISE * draw.standard_normal(EXAMPLES)
        for params in SIZES:
            where = {"seed": seed, "copies": copies, "params": params}
            yield where | terms(inputs[:, :params], values, tests[:, :params], answers, truth)


def terms(
    inputs: Floats, values: Floats, tests: Floats, answers: Floats, truth: Floats
) -> dict[str, float]:
    """What is measured of a least-squares fit of minimum norm to normal features.

    Args:
        inputs: training features that the model sees, shape (n, p).
        values: what is fitted, shape (n,).
        tests: fresh features, shape (tests, p).
        answers: what belongs to them, shape (tests,).
        truth: weights of all features, those that the model does not see as well.

    Returns:
        loss, gap, first_order, bound and inverse, as the table has them.
    """
    left, singular, right = np.linalg.svd(inputs, full_matrices=False)
    there = singular > singular[0] * 1e-10
    weights = right[there].T @ ((left.T @ values)[there] / singular[there])
    missed = truth - np.pad(weights, (0, truth.size - weights.size))
    spread = float(missed @ missed) + NOISE**2
    residuals2 = (answers - tests @ weights) ** 2
    leverage = (((tests @ right[there].T) / singular[there]) ** 2).sum(axis=1)
    # outside the span of the examples one more example is fitted exactly
    kept = 1.0 / (1.0 + leverage) ** 2 if there.sum() == tests.shape[1] else 0.0
    gap = float((0.5 * residuals2 * (1.0 - kept)).mean())
    n = len(inputs)
    inverse = n / float(singular[there].min()) ** 2
    loss = 0.5 * spread
    return {
        "loss": loss,
        "gap": gap,
        "first_order": float((residuals2 * leverage).mean()) * n / (n + 1),
        "bound": max(loss - gap, 0.0) + SMALLEST * spread * ALPHA * inverse / (n + 1),
        "inverse": inverse,
    }


def peaks(table: pd.DataFrame) -> pd.DataFrame:
    """Where the loss, the bound and 1 / lambda_r are highest, by seed and copies."""
    found = table.groupby(["seed", "copies"], as_index=False)[["seed", "copies"]].first()
    for name in ("loss", "bound", "inverse"):
        highest = table.sort_values(name).drop_duplicates(["seed", "copies"], keep="last")
        found[name] = highest.sort_values(["seed", "copies"])["params"].to_numpy()
    return found.assign(
        right=EXAMPLES / found["copies"], printed=EXAMPLES / np.sqrt(np.sqrt(found["copies"]))
    )


def exceeded(table: pd.DataFrame) -> pd.DataFrame:
    """Sizes at which the bound is above the loss in half of the seeds, with p c^2 / n."""
    rows = table.assign(above=table["bound"] > table["loss"])
    share = rows.groupby(["copies", "params"], as_index=False)["above"].mean()
    share["ratio"] = share["params"] * share["copies"] / EXAMPLES
    often: pd.DataFrame = share[share["above"] >= 0.5]
    return often


def find(table: pd.DataFrame) -> Finding:
    """Whether loss, 1 / lambda_r and the bound peak where n / c^2 says."""
    found = peaks(table)
    names = ["loss", "bound", "inverse"]
    near = (found[names].sub(found["right"], axis=0).abs() <= STEP).all(axis=1)
    printed = (found["loss"] - found["printed"]).abs() <= STEP
    several = found["copies"] > 1
    above = exceeded(table)["ratio"]
    half = table[table["params"] * table["copies"] * 2 == EXAMPLES]
    theory = 1.0 / (1.0 - np.sqrt(0.5)) ** 2
    most = table["gap"].div(table["loss"]).max()
    return Finding(
        showed=bool(near.all()),
        criterion="the loss, the bound and 1 / lambda_r(H) are all highest at p = n / c^2, within "
        f"{STEP} parameters, in every seed, with each example there once, twice and four times",
        text=(
            f"All three peak there in {int(near.sum())} of {len(near)} runs: the loss at "
            + ", ".join(
                f"p = {rows['loss'].median():.0f} where n / c^2 = {rows['right'].iloc[0]:.0f}"
                for _, rows in found.groupby("copies")
            )
            + f" (n = {EXAMPLES}, medians).",
            "The formula printed in the lecture, n / sqrt(c), is met in "
            f"{int(printed[several].sum())} of the {int(several.sum())} runs with c above 1: "
            "sqrt(n) = c sqrt(p) gives p = n / c^2.",
            f"At half of the threshold 1 / lambda_r is {half['inverse'].median():.1f}; the form "
            f"n / (sqrt(n) - c sqrt(p))^2 says {theory:.1f}.",
            f"Near the threshold it is no bound: from {above.min():.2f} to {above.max():.2f} of "
            "n / c^2 it lies above the loss itself in half of the seeds or more. It comes from the "
            "first order in 1 / n; the true gap is at most the loss (measured: at most "
            f"{most:.2f} of it, with the error of {TESTS} tests), the first-order one is not.",
            "So lambda_r says where the loss peaks and how the peak begins, not how high it is.",
        ),
        numbers={
            "near": float(near.mean()),
            "printed": float(printed[several].mean()),
            "inverse_at_half": float(half["inverse"].median()),
            "above_from": float(above.min()),
            "above_to": float(above.max()),
        },
    )


def draw(table: pd.DataFrame) -> Figure:
    """A panel for each number of copies: loss, bound, and where the two formulas put the peak."""
    median = table.groupby(["copies", "params"])[["loss", "bound"]].median()
    with house_style():
        figure = Figure(figsize=(10.4, 3.9), layout="constrained")
        panels = figure.subplots(1, len(COPIES), sharey=True)
        for axes, copies in zip(panels, COPIES, strict=True):
            rows = median.loc[copies]
            axes.plot(rows.index, rows["loss"], color=FRONTIER, lw=2.0, label="test loss")
            axes.plot(rows.index, rows["bound"], color=QUIET, lw=1.4, ls="--", label="the bound")
            axes.axvline(EXAMPLES / copies, color=QUIET, lw=0.9, label="n / c²")
            if copies > 1:
                axes.axvline(
                    EXAMPLES / copies**0.25, color=QUIET, lw=0.9, ls=":", label="n / √c (misprint)"
                )
            times = {1: "once", 2: "twice", 4: "four times"}[copies]
            axes.set_title(f"each example {times}, c = {copies**0.5:.3g}", fontsize=10)
            axes.set(yscale="log", xlim=(0, 150), ylim=(0.1, 1e4), xlabel="parameters p")
        panels[0].set_ylabel("loss (median over seeds)")
        panels[-1].legend(frameon=False, fontsize=9)
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


STUDY = Study(
    title=f"Least squares on {EXAMPLES} examples: loss peaks where an eigenvalue vanishes",
    sources=("Singh et al. 2022, arXiv:2203.07337",),
    bears_on="Why extrapolation across the interpolation threshold fails: the loss is governed by "
    "the distance to it, not by a power of the size.",
    seeds=10,
    run=run,
    find=find,
    draw=draw,
)
