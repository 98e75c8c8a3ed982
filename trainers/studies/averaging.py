"""Averaging a training loss: over which n steps? Too few are noise, too many are the past.

A loss curve of known truth, .3 + 2 exp(-t/600), is seen through batches of b examples: noise of
standard deviation .8/sqrt(b). What is wanted is the loss now. A mean of the last n steps has the
noise over sqrt(n) and lags by (n - 1)/2 steps; to leading order n^3 = 2 var / (b mean L'^2) is
best. The mean since the beginning never forgets: no batch, however large, takes its bias away.
"""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from scalefit.figures.style import FRONTIER, QUIET, house_style
from scalefit.laws import FloatArray
from trainers.study import Ask, Finding, Study

FLOOR, FALL, SCALE = 0.3, 2.0, 600.0
NOISE = 0.8
"""Standard deviation of the loss of one example."""
STEPS, FROM = 3000, 500
"""Errors are counted from here on, where every window has seen all its steps."""
BATCHES = (1, 8, 64)
WINDOWS = np.unique(np.geomspace(1, FROM, 37).round().astype(int))
COLOURS = ("#3b528b", "#21918c", FRONTIER)
RUNNING, WINDOW = "since the beginning", "last n"


def truth() -> FloatArray:
    """The loss that is sought, by step from 1; shape (steps,)."""
    steps = np.arange(1.0, STEPS + 1.0)
    found: FloatArray = FLOOR + FALL * np.exp(-steps / SCALE)
    return found


def seen(seed: int, batch: int) -> FloatArray:
    """The losses of the batches of one run, shape (steps,)."""
    draw = np.random.default_rng([seed, batch])
    found: FloatArray = truth() + NOISE / np.sqrt(batch) * draw.standard_normal(STEPS)
    return found


def last(losses: FloatArray, n: int) -> FloatArray:
    """Mean of the last `n` losses, or of as many as there are yet; shape (steps,)."""
    total = np.concatenate([[0.0], np.cumsum(losses)])
    end = np.arange(1, len(losses) + 1)
    begin = np.maximum(end - n, 0)
    found: FloatArray = (total[end] - total[begin]) / (end - begin)
    return found


def run(ask: Ask) -> pd.DataFrame:
    """Error of every mean, columns seed, batch, way, n, rmse, end.

    rmse is the root mean square of mean minus truth over the steps from FROM on; end is mean minus
    truth at the last step.
    """
    rows = []
    for seed in ask.seeds:
        for batch in BATCHES:
            losses = seen(seed, batch)
            ways = [(WINDOW, int(n)) for n in WINDOWS] + [(RUNNING, STEPS)]
            for way, n in ways:
                error = last(losses, n) - truth()
                rmse = float(np.sqrt((error[FROM:] ** 2).mean()))
                rows.append((seed, batch, way, n, rmse, error[-1]))
    return pd.DataFrame(rows, columns=["seed", "batch", "way", "n", "rmse", "end"])


def best(table: pd.DataFrame) -> pd.DataFrame:
    """The window of least error of every seed and batch, columns seed, batch, n, rmse, running."""
    windows = table[table["way"] == WINDOW]
    rows = windows.loc[windows.groupby(["seed", "batch"])["rmse"].idxmin()]
    since = table[table["way"] == RUNNING][["seed", "batch", "rmse"]]
    return rows.merge(since.rename(columns={"rmse": "running"}), on=["seed", "batch"])


def predicted(batch: float) -> float:
    """The best n to leading order, where the lag is short beside SCALE."""
    slope = np.gradient(truth())[FROM:]
    return float((2.0 * NOISE**2 / (batch * (slope**2).mean())) ** (1.0 / 3.0))


def find(table: pd.DataFrame) -> Finding:
    """Whether the mean since the beginning lost everywhere and the best n fell with the batch."""
    found = best(table)
    typical = {
        batch: float(np.exp(np.log(found["n"][found["batch"] == batch]).mean()))
        for batch in BATCHES
    }
    small, *_, large = typical
    power = float(np.polyfit(np.log(list(typical)), np.log(list(typical.values())), 1)[0])
    pairs = found.pivot_table(index="seed", columns="batch", values="n")
    falls = bool((pairs.diff(axis=1).iloc[:, 1:] < 0).all(axis=None))
    loses = int((found["running"] > found["rmse"]).sum())
    error, running = (found.groupby("batch")[name].mean() for name in ("rmse", "running"))
    end = table[table["way"] == RUNNING].groupby("batch")["end"].mean()
    said = ", ".join(f"n = {n:.0f} for batches of {batch}" for batch, n in typical.items())
    return Finding(
        showed=falls and loses == len(found),
        criterion="the mean since the beginning is worse than the best window for every batch and "
        "seed, and the best window gets shorter with every larger batch, in every seed",
        text=(
            f"Best is {said} (geometric means over seeds): n ~ batch^{power:.2f}, where the "
            f"leading order says {predicted(small):.0f} to {predicted(large):.0f} and batch^-0.33.",
            f"Its error is {error[small]:.3f} and {error[large]:.3f}; one batch alone has "
            f"{_one(table, small):.3f} and {_one(table, large):.3f}.",
            f"The mean since the beginning has {running[small]:.3f} and {running[large]:.3f}: a "
            "bias, which no batch mends. At the last step it is still "
            f"{end[small]:+.3f} and {end[large]:+.3f} off.",
            "The best n belongs to this curve and this noise. Late in training, where the loss "
            "hardly falls, more steps may be averaged than early.",
        ),
        numbers={"power": power, "running": float(running.mean())}
        | {f"n{batch}": n for batch, n in typical.items()},
    )


def _one(table: pd.DataFrame, batch: int) -> float:
    """Error of the loss of one batch, as it comes."""
    alone = table[(table["way"] == WINDOW) & (table["n"] == 1) & (table["batch"] == batch)]
    return float(alone["rmse"].mean())


def draw(table: pd.DataFrame) -> Figure:
    """Left a run through three means, right the error by n for every batch."""
    with house_style():
        figure = Figure(figsize=(9.6, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        _curves(left)
        _errors(right, table)
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _curves(axes: Axes) -> None:
    losses, steps = seen(0, BATCHES[0]), np.arange(1, STEPS + 1)
    n = round(predicted(BATCHES[0]))
    axes.plot(steps, losses, color="0.85", lw=0.4, label="one example", rasterized=True)
    axes.plot(steps, last(losses, STEPS), color="#e69f00", lw=1.8, label="mean " + RUNNING)
    axes.plot(steps, last(losses, n), color=FRONTIER, lw=1.4, label=f"mean of the last {n}")
    axes.plot(steps, truth(), color="black", lw=1.2, ls="--", label="the loss itself")
    axes.set(xlabel="step", ylabel="training loss", ylim=(-0.6, 2.6), xlim=(0, STEPS))
    axes.legend(loc="upper right", framealpha=1.0, edgecolor="none", borderaxespad=0.0)


def _errors(axes: Axes, table: pd.DataFrame) -> None:
    windows = table[table["way"] == WINDOW]
    for colour, batch in zip(COLOURS, BATCHES, strict=True):
        mean = windows[windows["batch"] == batch].groupby("n")["rmse"].mean()
        axes.plot(mean.index, mean, color=colour, lw=2.0, label=f"batch {batch}")
        lowest = int(mean.to_numpy().argmin())
        axes.plot(mean.index[lowest], mean.iloc[lowest], "o", color=colour, ms=7)
    running = table[table["way"] == RUNNING]["rmse"].mean()
    axes.axhline(running, color=QUIET, ls="--", lw=1.2, label=RUNNING)
    axes.set(xscale="log", yscale="log", xlabel="steps averaged, n")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel(f"RMS error of the mean, from step {FROM}")
    axes.legend(frameon=False, loc="lower left")


STUDY = Study(
    title="A training loss is averaged over n steps: the larger the batch, the fewer",
    sources=("the lecture on overfitting: computing the loss",),
    bears_on="Why the loss of a run must be averaged before a law is fitted to it, and how.",
    seeds=10,
    run=run,
    find=find,
    draw=draw,
)
