"""Depth: deeper small networks vary less, not more, which is not what ResNets do.

Yang et al. 2020 (arXiv:2002.11328, section 4) find for ResNets on CIFAR-10 that depth lowers the
bias and raises the variance, also on corrupted images. Here networks of one width and 1 to 6
hidden layers learn clean digits from five disjoint sets, and are tested as they are and on digits
moved by one pixel. It is a proxy on a CPU; the sign it gives for the variance is the opposite.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from scalefit.figures.style import FRONTIER, QUIET, house_style
from trainers.studies.tools.bias import split_error
from trainers.studies.tools.digits import CLASSES, PIXELS, Floats, Labels, one_hot, shuffled
from trainers.studies.tools.lines import seed_lines
from trainers.studies.tools.mlp import Networks, draw_networks, squared, walk
from trainers.study import Ask, Finding, Study

SETS, EXAMPLES, WIDTH = 5, 200, 64
DEPTHS = (1, 2, 4, 6)
STEPS = 600
STOPS = (10, 20, 30, 45, 65, 100, 150, 220, 320, 450, STEPS)
LR = 0.01
MATCHED = 0.05
"""Squared training error at which depths are compared that learn at different speeds."""


def run(ask: Ask) -> pd.DataFrame:
    """Terms of the squared error by depth and step.

    Columns seed, depth, step; train, the squared training error; variance, bias2 and wrong (share
    of images given another class) on test images, and moved_* on the same moved by a pixel.
    """
    return pd.DataFrame([row for seed in ask.seeds for row in _measure(seed)])


def _measure(seed: int) -> Iterator[dict[str, float]]:
    images, labels = shuffled(seed)
    taught = SETS * EXAMPLES
    inputs = _tensor(images[:taught]).view(SETS, EXAMPLES, PIXELS)
    targets = _tensor(one_hot(labels[:taught])).view(SETS, EXAMPLES, CLASSES)
    tests, answers = images[taught:], labels[taught:]
    for depth in DEPTHS:
        start = draw_networks(range(SETS), (PIXELS, *[WIDTH] * depth, CLASSES))
        way = walk(start, inputs, targets, loss=squared, lr=LR, stops=STOPS)
        for step, networks in way:
            yield {
                "seed": seed,
                "depth": depth,
                "step": step,
                "train": float(squared(networks(inputs), targets).mean()),
                **_terms(networks, tests, answers, ""),
                **_terms(networks, moved(tests), answers, "moved_"),
            }


def _terms(networks: Networks, tests: Floats, labels: Labels, prefix: str) -> dict[str, float]:
    outputs = networks(_tensor(tests)).double().numpy()
    variance, bias2 = split_error(outputs, one_hot(labels))
    wrong = float((outputs.argmax(axis=-1) != labels).mean())
    return {f"{prefix}variance": variance, f"{prefix}bias2": bias2, f"{prefix}wrong": wrong}


def _tensor(values: Floats) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)


def moved(images: Floats) -> Floats:
    """Images moved one pixel to the right; the left column is empty, the right one is lost."""
    square = images.reshape(-1, 8, 8)
    return np.pad(square, ((0, 0), (0, 0), (1, 0)))[:, :, :-1].reshape(-1, PIXELS)


def last(table: pd.DataFrame) -> pd.DataFrame:
    """The rows at the end of training."""
    rows: pd.DataFrame = table[table["step"] == table["step"].max()]
    return rows


def matched(table: pd.DataFrame) -> pd.DataFrame:
    """For each seed and depth the first stop at which the training error is small enough."""
    low = table[table["train"] <= MATCHED]
    return low.sort_values("step").drop_duplicates(["seed", "depth"]).sort_index()


def change(rows: pd.DataFrame, name: str) -> pd.Series:
    """A quantity at the greatest depth less that at the smallest, by seed."""
    grid = rows.pivot_table(name, "seed", "depth")
    return grid[max(DEPTHS)] - grid[min(DEPTHS)]


def find(table: pd.DataFrame) -> Finding:
    """Whether depth lowers the bias and raises the variance, as was published for ResNets."""
    end, equal = last(table), matched(table)
    more = change(end, "variance") > 0
    less = change(end, "bias2") < 0
    seeds = len(more)
    equal_more = int((change(equal, "variance") > 0).sum())
    moved_more = int((change(end, "moved_variance") > 0).sum())
    return Finding(
        showed=bool((more & less).mean() >= 0.8),
        criterion=f"in four seeds of five, {max(DEPTHS)} hidden layers have more variance and "
        f"less squared bias than {min(DEPTHS)} at the end of training (the claim for ResNets)",
        text=(
            "The published sign of the effect of depth on variance "
            + ("is seen" if more.all() else "is not reproduced")
            + f": from {min(DEPTHS)} to {max(DEPTHS)} hidden layers the variance goes from "
            f"{_means(end, 'variance')} and rises in {int(more.sum())} of {seeds} seeds; the "
            f"squared bias goes from {_means(end, 'bias2')} and falls in {int(less.sum())}.",
            f"At equal training error (the first stop below {MATCHED}) the variance goes from "
            f"{_means(equal, 'variance')} and rises in {equal_more} of {seeds}, so the speed of "
            "learning is not the reason.",
            "On images moved by one pixel the variance goes from "
            f"{_means(end, 'moved_variance')} and rises in {moved_more} of {seeds}; the squared "
            f"bias goes from {_means(end, 'moved_bias2')}.",
            f"Test images given a wrong class: {_means(end, 'wrong')}.",
            "These are fully connected networks of one width on 200 small images; nothing follows "
            "for ResNets on CIFAR.",
        ),
        numbers={
            f"{name}_{depth}": float(end.loc[end["depth"] == depth, name].mean())
            for name in ("variance", "bias2", "moved_variance", "moved_bias2", "wrong")
            for depth in DEPTHS
        },
    )


def _means(rows: pd.DataFrame, name: str) -> str:
    mean = rows.groupby("depth")[name].mean()
    return f"{mean[min(DEPTHS)]:.3f} to {mean[max(DEPTHS)]:.3f}"


def draw(table: pd.DataFrame) -> Figure:
    """Variance and bias by depth, on test images as they are and moved; every seed."""
    with house_style():
        figure = Figure(figsize=(9.6, 4.0), layout="constrained")
        panels = zip(figure.subplots(1, 2), ("", "moved_"), strict=True)
        for axes, prefix in panels:
            for name, colour in (("variance", FRONTIER), ("bias2", QUIET)):
                label = "bias²" if name == "bias2" else name
                look = {"colour": colour, "label": label, "marker": "o"}
                seed_lines(axes, last(table), "depth", prefix + name, **look)
                equal = matched(table).groupby("depth")[prefix + name].mean()
                axes.plot(
                    equal.index,
                    equal,
                    color=colour,
                    lw=1.4,
                    ls="--",
                    label=f"{label}, at training error {MATCHED}",
                )
            axes.set(xlabel="hidden layers", ylabel="part of the squared test error")
            axes.set(ylim=(0, None), xticks=DEPTHS)
            axes.set_title("moved by one pixel" if prefix else "test images", fontsize=10)
        axes.legend(frameon=False, fontsize=8)
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


STUDY = Study(
    title="Depth of small networks on digits: the variance falls",
    sources=("Yang et al. 2020, arXiv:2002.11328",),
    bears_on="Whether shape may be left out of L(N, D): at one width, depth moves the variance.",
    seeds=3,
    run=run,
    find=find,
    draw=draw,
)
