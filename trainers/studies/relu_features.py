"""Random ReLU features in one dimension: 3 underfit, 30 can go astray, 3000 are calm again.

Least squares on relu(w x + b), (w, b) drawn once on the unit circle, of least norm where many fit:
a picture of Belkin 2021 ("Fit without fear", arXiv:2105.14368). The threshold is soft: features
without a kink between the examples repeat each other, so that 30 of them often miss some of the 12.
Examples are well apart; drawn uniformly, 3000 features are not calm, and the study shows that too.
Some twenty-five settings were looked at (examples, target, noise) before this one was kept.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scalefit.figures.style import FRONTIER, QUIET, house_style
from scalefit.laws import FloatArray
from trainers.study import Ask, Finding, Study

SAMPLES, NOISE = 12, 0.1
COUNTS = (3, 6, 10, 20, 30, 40, 60, 100, 300, 1000, 3000)
FEW, MIDDLE, MANY = 3, 30, 3000
APART, UNIFORM = "well apart", "uniform"
GRID = np.linspace(-1.0, 1.0, 201)
SINGULAR = 1e-12
"""Singular values below this part of the largest are zero."""


def truth(x: FloatArray) -> FloatArray:
    """Two periods of a sine on [-1, 1]."""
    return np.sin(2.0 * np.pi * x)


def examples(seed: int, inputs: str) -> tuple[FloatArray, FloatArray]:
    """The examples of a seed: x (samples,), noisy y (samples,); y's noise is the same for both.

    Well apart: [-1, 1] in equal cells, one x in the middle half of each.
    """
    draw = np.random.default_rng([seed, 1])
    places, noise = draw.uniform(size=SAMPLES), NOISE * draw.standard_normal(SAMPLES)
    if inputs == APART:
        places = (np.arange(SAMPLES) + 0.25 + 0.5 * places) / SAMPLES
    x = 2.0 * places - 1.0
    return x, truth(x) + noise


def relus(x: FloatArray, angles: FloatArray) -> FloatArray:
    """relu(w x + b) with (w, b) at these angles: x (..., places) -> (..., places, features)."""
    return np.maximum(0.0, x[..., None] * np.cos(angles) + np.sin(angles))


def run(ask: Ask) -> pd.DataFrame:
    """Fits of least norm: columns seed, inputs, features, train (mean square), x, value."""
    draws = [np.random.default_rng([seed, 2]) for seed in ask.seeds]
    # more features are the same features and some more
    angles = np.stack([draw.uniform(0.0, 2.0 * np.pi, (1, max(COUNTS))) for draw in draws])
    return pd.concat(
        [
            _fits(ask.seeds, inputs, angles[..., :count])
            for inputs in (APART, UNIFORM)
            for count in COUNTS
        ],
        ignore_index=True,
    )


def _fits(seeds: Sequence[int], inputs: str, angles: FloatArray) -> pd.DataFrame:
    pairs = [examples(seed, inputs) for seed in seeds]
    x, y = np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs])
    basis = relus(x, angles)
    weights = np.linalg.pinv(basis, rcond=SINGULAR) @ y[..., None]
    train = ((basis @ weights - y[..., None]) ** 2).mean(axis=(1, 2))
    values = relus(np.broadcast_to(GRID, (len(seeds), len(GRID))), angles) @ weights
    repeated = {"seed": np.repeat(list(seeds), len(GRID)), "train": np.repeat(train, len(GRID))}
    drawn = {"x": np.tile(GRID, len(seeds)), "value": values.ravel()}
    return pd.DataFrame({"inputs": inputs, "features": angles.shape[-1], **repeated, **drawn})


def errors(table: pd.DataFrame, inputs: str) -> pd.DataFrame:
    """Mean square against the truth: a row a seed, a column a number of features."""
    rows = table[table["inputs"] == inputs]
    square = rows.assign(error=(rows["value"] - truth(rows["x"].to_numpy())) ** 2)
    return square.pivot_table(index="seed", columns="features", values="error", aggfunc="mean")


def _quantile(by: pd.DataFrame, share: float) -> dict[int, float]:
    """The error that a share of the draws stays below, by number of features."""
    return {count: float(by[count].quantile(share)) for count in COUNTS}


def find(table: pd.DataFrame) -> Finding:
    """Whether bad draws of 30 features are far worse than bad draws of 3000."""
    apart = errors(table, APART)
    high, middle = _quantile(apart, 0.9), _quantile(apart, 0.5)
    loose = _quantile(errors(table, UNIFORM), 0.9)
    wins = float((apart[MIDDLE] > apart[MANY]).mean())
    ratio = high[MIDDLE] / high[MANY]
    rows = table[(table["inputs"] == APART) & (table["features"] == MIDDLE)]
    perfect = float((rows.groupby("seed")["train"].first() < 1e-12).mean())
    best = min(COUNTS, key=loose.__getitem__)
    return Finding(
        showed=ratio >= 10.0 and wins >= 0.75,
        criterion=f"the error that one draw in ten exceeds is ten times as high with {MIDDLE} "
        f"features as with {MANY}, and {MIDDLE} are the worse ones in three draws of four",
        text=(
            f"One draw in ten exceeds {high[FEW]:.3f} with {FEW} features, {high[MIDDLE]:.3f} with "
            f"{MIDDLE} and {high[MANY]:.4f} with {MANY}: {ratio:.0f} times less. {MIDDLE} are "
            f"worse than {MANY} in {wins:.0%} of {len(apart)} draws.",
            f"The typical draw does not explode: medians are {middle[FEW]:.3f}, "
            f"{middle[MIDDLE]:.3f} and {middle[MANY]:.4f}. Only {perfect:.0%} of the draws of "
            f"{MIDDLE} features pass through all {SAMPLES} examples.",
            f"It takes examples well apart: with uniform ones {MANY} features exceed "
            f"{loose[MANY]:.2f} in one draw of ten, and {best} features are the "
            f"safest ({loose[best]:.2f}).",
        ),
        numbers={
            "ratio": ratio,
            "wins": wins,
            "interpolating": perfect,
            **{f"median_{count}": middle[count] for count in (FEW, MIDDLE, MANY)},
            **{f"high_{count}": high[count] for count in (FEW, MIDDLE, MANY)},
            "high_uniform": loose[MANY],
        },
    )


def draw(table: pd.DataFrame) -> Figure:
    """Fits of one bad draw with 3, 30 and 3000 features, and the error by features."""
    by = errors(table, APART)
    bad = by[MIDDLE].sort_values().index[int(0.9 * (len(by) - 1))]
    rows = table[(table["inputs"] == APART) & (table["seed"] == bad)]
    with house_style():
        figure = Figure(figsize=(9.6, 6.2), layout="constrained")
        axes = figure.subplots(2, 2).ravel()
        for one, count in zip(axes, (FEW, MIDDLE, MANY), strict=False):
            _fit(one, rows[rows["features"] == count], *examples(int(bad), APART))
            one.set_title(f"{count} features", fontsize=10)
        axes[0].legend(frameon=False, fontsize=8, loc="upper right")
        last = axes[3]
        last.fill_between(COUNTS, by.quantile(0.1), by.quantile(0.9), color=QUIET, alpha=0.2, lw=0)
        last.loglog(COUNTS, by.mean(), "o-", color=FRONTIER, ms=4, label="mean")
        last.loglog(COUNTS, by.median(), "o-", color=QUIET, ms=4, label="median, 10 to 90 %")
        last.set(xlabel="features", ylabel="mean square error")
        last.set_title(f"{len(by)} draws", fontsize=10)
        last.legend(frameon=False, fontsize=8)
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _fit(axes: Axes, rows: pd.DataFrame, x: FloatArray, y: FloatArray) -> None:
    axes.plot(GRID, truth(GRID), "--", color=QUIET, lw=1.0, label="truth")
    axes.plot(rows["x"], rows["value"], color=FRONTIER, lw=1.8, label="fit")
    axes.plot(x, y, "o", color=QUIET, ms=4, label="examples")
    axes.set(xlabel="x", ylabel="y", ylim=(-3.0, 3.0), xticks=(-1, -0.5, 0, 0.5, 1))


STUDY = Study(
    title="Random ReLU features: 3 underfit, 30 can go astray, 3000 are calm again",
    sources=("Belkin 2021, arXiv:2105.14368",),
    bears_on="Why errors near the interpolation threshold must not be extrapolated: a few draws "
    "decide the mean, and the law on the far side is another.",
    seeds=60,
    run=run,
    find=find,
    draw=draw,
)
