"""The overfit ladder: how many random labels a network learns by heart: 1 batch, 10, 100.

A network that cannot learn one batch by heart has a fault; the rung on which it first fails is its
capacity, here of a 32-w-10 network within 1000 steps of Adam. Labels are drawn at random, so there
is nothing else to learn (Zhang et al. 2017, arXiv:1611.03530). What does doubling the width do?
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from torch import Tensor

from scalefit.figures.style import QUIET, house_style
from trainers.studies.tools.mlp import Networks, cross_entropy, draw_networks, wrong
from trainers.study import Ask, Finding, Study

INPUTS, CLASSES, BATCH = 32, 10, 8
WIDTHS = (4, 8, 16, 32)
RUNGS = np.geomspace(1, 1000, 25)
"""Batches on each rung, each 4/3 of the one below; 1, 10 and 100 are among them."""
STEPS, RATE, CHECK = 1000, 1e-2, 25
COLOURS = ("#443983", "#31688e", "#21918c", "#5ec962")


def run(ask: Ask) -> pd.DataFrame:
    """Climb until no seed learns a rung; columns seed, width, params, batches, examples, right.

    right is the largest share of examples that was ever right, of those asked every CHECK steps.
    """
    return pd.concat([_climb(ask.seeds, width) for width in WIDTHS], ignore_index=True)


def _climb(seeds: Sequence[int], width: int) -> pd.DataFrame:
    rungs = []
    for batches in RUNGS:
        examples = round(batches * BATCH)
        inputs, labels = (torch.stack(one) for one in zip(*_data(seeds, examples), strict=True))
        networks = draw_networks(seeds, (INPUTS, width, CLASSES))
        right = memorise(networks, inputs, labels)
        rung = {"width": width, "params": networks.size, "batches": batches, "examples": examples}
        rungs.append(pd.DataFrame({"seed": list(seeds), **rung, "right": right.numpy()}))
        if (right < 1.0).all():
            break
    return pd.concat(rungs)


def _data(seeds: Sequence[int], examples: int) -> list[tuple[Tensor, Tensor]]:
    """Normal inputs with random labels; a higher rung has those of the lower ones first."""
    found = []
    for seed in seeds:
        images = np.random.default_rng([seed, 0]).standard_normal((examples, INPUTS))
        labels = np.random.default_rng([seed, 1]).integers(CLASSES, size=examples)
        found.append((torch.from_numpy(images).float(), torch.from_numpy(labels)))
    return found


def memorise(networks: Networks, inputs: Tensor, labels: Tensor) -> Tensor:
    """The largest share of examples right at a check, shape (replicas,); stops when all is."""
    leaves = [one.clone().requires_grad_() for one in networks.parameters]
    layers = len(networks.weights)
    walker = Networks(
        seeds=networks.seeds,
        weights=tuple(leaves[:layers]),
        biases=tuple(leaves[layers:]),
        activation=networks.activation,
    )
    optimiser = torch.optim.Adam(leaves, lr=RATE, foreach=True)
    best = torch.zeros(len(networks.seeds), dtype=torch.float64)
    for step in range(1, STEPS + 1):
        outputs = walker(inputs)
        if step % CHECK == 0:
            best = torch.maximum(best, 1.0 - wrong(outputs.detach(), labels))
            if bool((best == 1.0).all()):
                break
        total = cross_entropy(outputs, labels).sum()
        for leaf, slope in zip(leaves, torch.autograd.grad(total, leaves), strict=True):
            leaf.grad = slope
        optimiser.step()
    return best


def capacity(table: pd.DataFrame) -> pd.DataFrame:
    """Examples on the highest rung learned by heart (0 if none), a row a seed, a column a width."""
    learned = table["examples"].where(table["right"] == 1.0, 0)
    return table.assign(learned=learned).pivot_table(
        "learned", index="seed", columns="width", aggfunc="max"
    )


def doubled(table: pd.DataFrame) -> "pd.Series[float]":
    """By seed, the capacity at the largest width over that at half of it."""
    found = capacity(table)
    ratio: pd.Series[float] = found[WIDTHS[-1]] / found[WIDTHS[-2]]
    return ratio


def find(table: pd.DataFrame) -> Finding:
    """Whether capacity grew with every doubling, and the last one did 1.5 to 4 times as much."""
    found, ratio = capacity(table), doubled(table)
    grows = bool((found.diff(axis=1).iloc[:, 1:] > 0).all(axis=None))
    mean = found.mean()
    params = table.groupby("width")["params"].first()
    each = mean / params
    half, whole = WIDTHS[-2:]
    rungs = ", ".join(f"{batches} by {_widths(table, batches * BATCH)}" for batches in (1, 10, 100))
    return Finding(
        showed=grows and bool(ratio.between(1.5, 4.0).all()),
        criterion="in every seed each doubling of the width raises what is learned by heart, and "
        f"the one from {half} to {whole} by 1.5 to 4 times; a rung is 4/3 of the one below",
        text=(
            f"Batches of {BATCH} learned by heart, in all {len(found)} seeds: {rungs}.",
            "Examples learned (mean over seeds): "
            + ", ".join(f"{mean[width]:.0f} at width {width}" for width in WIDTHS)
            + f"; that is {each[half]:.2f} and {each[whole]:.2f} a parameter at the last two.",
            f"Doubling the width from {half} to {whole} gives {params[whole] / params[half]:.2f} "
            f"times the parameters and {ratio.min():.1f} to {ratio.max():.1f} times the examples. "
            "With fewer units than classes the layer is a bottleneck: there the examples go from "
            f"{mean[WIDTHS[0]]:.0f} to {mean[WIDTHS[1]]:.0f} on doubling.",
            f"This is what Adam finds in {STEPS} steps, not what the network could hold.",
        ),
        numbers={f"learned{width}": float(mean[width]) for width in WIDTHS}
        | {"doubling": float(ratio.mean())},
    )


def _widths(table: pd.DataFrame, examples: int) -> str:
    """The widths from which on all seeds learned this rung, in words."""
    rung = table[table["examples"] == examples].groupby("width")["right"].min()
    failed = [width for width in WIDTHS if rung.get(width, 0.0) < 1.0]
    able = [width for width in WIDTHS if width > max(failed, default=0)]
    return f"width {able[0]} and more" if able else "no width here"


def draw(table: pd.DataFrame) -> Figure:
    """Left the share learned on every rung, right the capacity by parameters."""
    with house_style():
        figure = Figure(figsize=(9.6, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        for colour, (width, rows) in zip(COLOURS, table.groupby("width"), strict=True):
            mean = rows.groupby("batches")["right"].mean()
            left.plot(mean.index, mean, "o-", color=colour, lw=1.8, ms=4, label=f"width {width}")
        left.set(xscale="log", xlabel=f"batches of {BATCH}", ylabel="share learned by heart")
        left.xaxis.set_major_formatter("{x:g}")
        left.legend(frameon=False, loc="lower left")
        found = capacity(table)
        params = table.groupby("width")["params"].first()
        right.axline((100, 100), slope=1, color=QUIET, lw=1.0, ls="--", label="one a parameter")
        for colour, width in zip(COLOURS, WIDTHS, strict=True):
            values = found[width][found[width] > 0]
            right.plot([params[width]] * len(values), values, "o", color=colour, ms=7, alpha=0.8)
            right.annotate(
                f"width {width}",
                (params[width], values.max()),
                (9, -5),
                textcoords="offset points",
                fontsize=9,
            )
        right.set(xscale="log", yscale="log", xlabel="parameters")
        right.set_ylabel("examples learned by heart")
        right.set(xlim=(130, 2800), ylim=(4, 2200))
        right.set_xticks([200, 500, 1000, 2000])
        for axis in (right.xaxis, right.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_locator(NullLocator())
        right.legend(frameon=False, loc="lower right")
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


STUDY = Study(
    title="Random labels learned by heart: the overfit ladder",
    sources=("Zhang et al. 2017, arXiv:1611.03530", "the lecture on overfitting: in practice"),
    bears_on="Where N stops mattering: below its capacity a model fits any data, noise included.",
    seeds=3,
    run=run,
    find=find,
    draw=draw,
)
