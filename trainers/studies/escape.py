"""Escape: out of a sharp minimum Adam comes as soon as SGD of equal noise, or sooner.

It is told that SGD's noise lets it leave a sharp basin sooner than Adam, which tempers that noise
(Zhou et al. 2020, arXiv:2010.05627; shown there for Levy-driven equations). Here networks of three
tanh units on 64 noisy examples have several minima, kept apart by a little weight decay. Each walk
starts at the sharpest or the flattest; at some steps gradient descent goes on from a copy: if that
does not come back to the start's function, the basin has been left. Optimisers are compared where
the noise lifts the loss inside the basin by the same amount.

Adam's moments are gathered at the minimum for a thousand steps before it moves. Looked at before:
no weight decay, where minima are valleys without an end; Adam without those moments; other rates.
"""

from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from torch import Tensor

from scalefit.figures.style import FRONTIER, QUIET, house_style
from trainers.studies.parts.basins import Rule, Task, batches_of, chosen, extremes, walks
from trainers.studies.tools.mlp import Networks, draw_networks
from trainers.study import Ask, Finding, Study

EXAMPLES, SIZES, NOISE, DECAY = 64, (2, 3, 1), 0.5, 0.006
STARTS, SEARCH, SETTLE, LEAST = 40, 4000, 600, 0.005
"""Starts, steps of descent from each and from a copy, and the least eigenvalue of a minimum."""
BATCH, TRIALS, WARM = 4, 4, 1000
CHECKS = tuple(int(step) for step in np.geomspace(30, 10_000, 11).round())
OTHER = 0.05
"""Root mean square difference of the outputs of two minima."""
BLUE = "#2c7fb8"
RULES = (
    *(Rule(optimiser="GD", lr=lr) for lr in (0.04, 0.16)),
    *(Rule(optimiser="SGD", lr=lr) for lr in (0.02, 0.04, 0.08, 0.16)),
    *(Rule(optimiser="Adam", lr=lr) for lr in (0.02, 0.04, 0.08, 0.16)),
)
OPTIMISERS, KINDS = ("GD", "SGD", "Adam"), ("sharp", "flat")


def run(ask: Ask) -> pd.DataFrame:
    """Whether a walk is still in its basin, a row a seed, start, rule, trial and check.

    Columns seed, start (sharp or flat), optimiser, lr, trial, step; away, how far the function is
    that gradient descent finds from there (NaN: diverged), and its trace; level, the loss of the
    batches since the last check; floor and first, loss and trace at the start.
    """
    seeds = list(ask.seeds)
    drawn = [torch.stack(part) for part in zip(*map(_data, seeds), strict=True)]
    tasks = Task(inputs=drawn[0], targets=drawn[1], decay=DECAY)
    minima, found = _minima(seeds, tasks)
    walker = torch.arange(len(found)).repeat_interleave(len(RULES) * TRIALS)
    task, start = tasks.at(walker // len(KINDS)), chosen(minima, walker)
    home, rows = start(task.inputs), found.loc[walker.numpy()].reset_index(drop=True)
    rules = [rule for rule in RULES for _ in range(TRIALS)] * len(found)
    rows["optimiser"], rows["lr"] = [rule.optimiser for rule in rules], [rule.lr for rule in rules]
    rows["trial"] = np.tile(np.arange(TRIALS), len(found) * len(RULES))
    groups, tables = len(KINDS) * len(RULES), []
    batches = batches_of(seeds, examples=EXAMPLES, batch=BATCH, trials=TRIALS, groups=groups)
    for step, level, networks in walks(task, start, rules, batches, CHECKS, warm=WARM):
        ask.tell(f"{step} steps of {CHECKS[-1]}")
        reached = task.descend(networks, SETTLE)
        away = (reached(task.inputs) - home).square().mean((1, 2)).sqrt()
        trace = task.curved(reached)[1].diagonal(dim1=1, dim2=2).sum(1)
        measured = {"step": step, "level": level, "away": away, "trace": trace}
        tables.append(pd.concat([rows, pd.DataFrame(measured)], axis=1))
    return pd.concat(tables, ignore_index=True)


def _data(seed: int) -> tuple[Tensor, Tensor]:
    """Normal inputs, and a smooth function of them with noise."""
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(EXAMPLES, SIZES[0], generator=draw)
    truth = torch.sin(2 * inputs[:, :1]) * torch.cos(inputs[:, 1:])
    return inputs, truth + NOISE * torch.randn(EXAMPLES, 1, generator=draw)


def _minima(seeds: list[int], tasks: Task) -> tuple[Networks, pd.DataFrame]:
    """The sharpest and the flattest minimum of each seed; columns seed, start, floor, first."""
    draws = [1000 * seed + start for seed in seeds for start in range(STARTS)]
    task = tasks.at(torch.arange(len(seeds)).repeat_interleave(STARTS))
    tried = draw_networks(draws, SIZES, activation=torch.tanh, gain=2.0)
    reached = task.descend(tried, SEARCH)
    ends, traces = extremes(task, reached, STARTS, LEAST)
    places = ends.flatten()
    minima = chosen(reached, places)
    floor = task.at(places).curved(minima)[0]
    found = {"seed": np.repeat(seeds, len(KINDS)), "start": KINDS * len(seeds)}
    return minima, pd.DataFrame(found | {"floor": floor.numpy(), "first": traces.flatten().numpy()})


def exits(table: pd.DataFrame, *, for_good: bool = False) -> pd.DataFrame:
    """Of each walk: when it left, and how the loss was before.

    Columns seed, start, optimiser, lr, trial; left, step (the check at which it was first found
    outside, or the last one), lift (mean loss until then above the floor, NaN if it left at once),
    after (trace at the end over that at the start), diverged.

    Args:
        table: of `run`.
        for_good: who comes back has not left.
    """
    keys = ["seed", "start", "optimiser", "lr", "trial"]
    return pd.DataFrame([
        dict(zip(keys, key, strict=True)) | _exit(rows, for_good=for_good)
        for key, rows in table.groupby(keys, sort=False)
    ])  # fmt: skip


def _exit(rows: pd.DataFrame, *, for_good: bool) -> dict[str, Any]:
    out = ~(rows["away"] <= OTHER).to_numpy()
    first = int(np.argmax(out)) if out.any() else len(out)
    lasting = len(out) - int(np.argmin(out[::-1])) if not out.all() else 0
    count = lasting if for_good else first
    steps = rows["step"].to_numpy()
    spans = np.diff(steps, prepend=0)[:first]
    inside = float(np.average(rows["level"].to_numpy()[:first], weights=spans)) if first else np.nan
    return {
        "left": count < len(out),
        "step": steps[min(count, len(out) - 1)],
        "lift": inside - rows["floor"].iloc[0],
        "after": rows["trace"].iloc[-1] / rows["first"].iloc[0],
        "diverged": bool(rows["away"].isna().any()),
    }


def means(found: pd.DataFrame) -> pd.DataFrame:
    """Means over trials of `exits`, for each seed, start, optimiser and rate."""
    return found.groupby(["seed", "start", "optimiser", "lr"], as_index=False).agg(
        left=("left", "mean"), step=("step", "mean"), lift=("lift", "mean"),
        after=("after", "mean"), diverged=("diverged", "any"),
    )  # fmt: skip


def compared(averages: pd.DataFrame) -> "pd.Series[float]":
    """By seed: how many times as long SGD stays in the sharp basin as Adam at equal lift.

    Steps are interpolated between rates, both in logarithms, and compared over all lifts that both
    have and where one left at least. Stays are cut at the last check, so this is nearer to 1 than
    the truth.
    """
    sharp = averages[averages["start"].eq("sharp") & ~averages["diverged"] & (averages["lift"] > 0)]
    sharp = sharp.sort_values("lift")
    ratios: dict[object, float] = {}
    for seed, rows in sharp.groupby("seed"):
        sgd, adam = (
            np.log(rows.loc[rows["optimiser"] == name, ["lift", "step"]].to_numpy()).T
            for name in ("SGD", "Adam")
        )
        if min(sgd.shape[1], adam.shape[1]) > 1:
            lifts = np.linspace(max(sgd[0][0], adam[0][0]), min(sgd[0][-1], adam[0][-1]), 200)
            stays = np.interp(lifts, *sgd), np.interp(lifts, *adam)
            use = np.minimum(*stays) < np.log(CHECKS[-1]) - 1e-9
            if use.any() and lifts[0] < lifts[-1]:
                ratios[seed] = float(np.exp((stays[0] - stays[1])[use].mean()))
    return pd.Series(ratios, dtype=float)


def find(table: pd.DataFrame) -> Finding:
    """Whether SGD leaves the sharp basin sooner than Adam where both are lifted as high."""
    found = exits(table)
    ratios, lasting = compared(means(found)), compared(means(exits(table, for_good=True)))
    seeds, sooner = table["seed"].nunique(), int((ratios < 1.0).sum())
    geometric, good = (float(np.exp(np.log(one).mean())) for one in (ratios, lasting))
    left = found.groupby(["optimiser", "start"])["left"].mean()
    gone = found[found["left"] & found["start"].eq("sharp")].groupby("optimiser")["after"].median()
    gone, first = gone.reindex(["SGD", "Adam"]), table.groupby("start")["first"].mean()
    stayed = (
        f"at equal lift it stayed {geometric:.1f} times as long, geometric mean over seeds; "
        f"{good:.1f} times if who comes back has not left"
        if len(ratios)
        else "there is nothing to compare"
    )
    return Finding(
        showed=seeds > 0 and sooner >= 0.8 * seeds,
        criterion="SGD leaves the sharpest minimum in fewer steps than Adam where the noise of "
        "both lifts the loss inside the basin by the same amount, in four seeds of five",
        text=(
            f"SGD left sooner than Adam in {sooner} of {seeds} seeds and later in "
            f"{int((ratios > 1.0).sum())}: {stayed}.",
            f"From the sharpest minima (trace {first['sharp']:.0f}, mean) left, in "
            f"{CHECKS[-1]} steps and over all rates, {left['SGD', 'sharp']:.0%} of walks of SGD "
            f"and {left['Adam', 'sharp']:.0%} of Adam; from the flattest ({first['flat']:.0f}) "
            f"{left['SGD', 'flat']:.0%} and {left['Adam', 'flat']:.0%}; without noise, by "
            f"gradient descent, {left['GD', 'sharp']:.0%} and {left['GD', 'flat']:.0%}. Rates of "
            "the two are in other units: of these, compare only sharp with flat.",
            "The trace of those that had left the sharpest ended at "
            f"{gone['SGD']:.2f} of its start with SGD and {gone['Adam']:.2f} with Adam (medians).",
            "It may not be concluded that SGD is the slower one everywhere: these networks have "
            "13 weights, their noise is that of four examples, and equal lift is one way to match "
            "rates among others; the published result is on equations with heavy-tailed noise.",
        ),
        numbers={"stays": geometric, "stays_for_good": good, "sooner": float(sooner)}
        | {f"{name}_{kind}": float(left[name, kind]) for name in OPTIMISERS for kind in KINDS},
    )  # fmt: skip


def draw(table: pd.DataFrame) -> Figure:
    """Steps inside the sharp basin by the lift of the loss (five seeds), and who left at all."""
    found = exits(table)
    sharp = means(found)[lambda rows: rows["start"].eq("sharp")]
    seeds = list(sharp["seed"].unique()[:5])
    with house_style():
        figure = Figure(figsize=(2.1 * len(seeds) + 3.4, 4.0), layout="constrained")
        panels = figure.subplots(1, len(seeds) + 1, width_ratios=[1.0] * len(seeds) + [1.6])
        for axes, seed in zip(panels, seeds, strict=False):
            _draw_stays(axes, sharp[sharp["seed"] == seed])
            axes.set_title(f"seed {seed}", fontsize=10)
            axes.tick_params(labelleft=axes is panels[0])
        panels[0].set_ylabel("mean steps in the sharpest minimum")
        panels[0].legend(frameon=False, loc="lower left")
        panels[(len(seeds) - 1) // 2].set_xlabel("how far noise lifts the loss inside the basin")
        left = 100 * found.groupby(["optimiser", "start"])["left"].mean()
        for shift, kind, colour in ((-0.2, "sharp", "0.3"), (0.2, "flat", "0.75")):
            heights = [left[name, kind] for name in OPTIMISERS]
            bars = panels[-1].bar(np.arange(3) + shift, heights, 0.38, color=colour)
            bars.set_label(f"from the {'sharp' if kind == 'sharp' else 'flatt'}est")
            panels[-1].bar_label(bars, fmt="%.0f", fontsize=9)
        panels[-1].set_xticks(range(3), OPTIMISERS)
        panels[-1].set(ylabel=f"walks that left in {CHECKS[-1]} steps, all rates, %", ylim=(0, 100))
        panels[-1].legend(frameon=False, loc="upper left")
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _draw_stays(axes: Axes, rows: pd.DataFrame) -> None:
    """One seed: a point a rate."""
    for name, colour in (("SGD", FRONTIER), ("Adam", BLUE)):
        part = rows[rows["optimiser"] == name].sort_values("lift")
        axes.plot(part["lift"], part["step"], "o-", color=colour, ms=5, lw=1.5, label=name)
    axes.axhline(CHECKS[-1], color=QUIET, lw=0.8, ls=":")
    axes.set(xscale="log", yscale="log", xlim=(0.01, 0.6), ylim=(30, 1.4 * CHECKS[-1]))
    axes.set_xticks([0.01, 0.1], ["0.01", "0.1"])
    axes.xaxis.set_minor_formatter(NullFormatter())


STUDY = Study(
    title="Out of a sharp minimum: SGD is not the faster one at equal noise",
    sources=("Zhou et al. 2020, arXiv:2010.05627",),
    bears_on="Whether runs of two optimisers belong in one fit: at one loss their noise carries "
    "them to other places.",
    seeds=5,
    run=run,
    find=find,
    draw=draw,
)
