"""Adam does not find the fit of least norm: its fit is as perfect, and another one.

Broken lines through six points of a parabola (see the study spline), trained as a lecture does it:
x/10, y/100, Adam (Kingma & Ba 2015, arXiv:1412.6980) with rate 0.01, from 0. Gradient descent stays
in the span of the examples and so ends at the least norm of all weights; Adam, which gives every
weight its own step, leaves the span (Wilson et al. 2017, arXiv:1705.08292).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from scalefit.figures.style import FRONTIER, QUIET, house_style
from scalefit.laws import FloatArray
from trainers.studies.spline import BY_TEN, POINTS, VALUES, design, free_knots, least_all, unscaled
from trainers.study import Ask, Finding, Study

COUNTS = (0, 20, 50, 100, 200)
RATE = 0.01
STEPS = 3000
"""The lecture takes 50,000. Where nothing is left to learn Adam forgets how small its gradients
were, jumps out of the minimum and comes back; a draw is judged at its least loss."""
EVERY = 50
GRID = np.linspace(0.0, 5.0, 101)


def adam(knots: FloatArray, steps: Sequence[int]) -> tuple[FloatArray, FloatArray]:
    """Full-batch Adam from 0 on mean square error, all draws at once, in the lecture's scale.

    Args:
        knots: (draws, knots).
        steps: after which steps to look, ascending.

    Returns:
        Losses (steps, draws), and weights in x and y as they are, (steps, draws, 2 + knots).
    """
    basis = torch.as_tensor(design(POINTS * BY_TEN[0], knots * BY_TEN[0]))
    wanted = torch.as_tensor(VALUES * BY_TEN[1])
    weights = torch.zeros(basis.shape[0], basis.shape[2], dtype=torch.float64)
    optimiser, losses, seen = torch.optim.Adam([weights], lr=RATE), [], []
    for step in range(steps[-1] + 1):
        wrong = torch.einsum("dpk,dk->dp", basis, weights) - wanted
        if step in steps:
            losses.append(wrong.square().mean(dim=1).numpy())
            seen.append(unscaled(weights.numpy(), BY_TEN))
        weights.grad = torch.einsum("dpk,dp->dk", basis, wrong) * (2.0 / len(wanted))
        optimiser.step()
    return np.array(losses), np.array(seen)


def run(ask: Ask) -> pd.DataFrame:
    """Adam's way by number of knots.

    Returns:
        Columns seed, knots, step, loss (lecture's scale), alpha (lecture's scale), norm (of all
        weights, in the lecture's scale, over the least one), distance (greatest, to the line of
        least norm; x and y as they are).
    """
    free = free_knots(ask.seeds, max(COUNTS))
    return pd.concat([_way(ask.seeds, free[:, :count]) for count in COUNTS], ignore_index=True)


def _way(seeds: Sequence[int], knots: FloatArray) -> pd.DataFrame:
    steps = range(0, STEPS + 1, EVERY)
    losses, weights = adam(knots, steps)
    least = least_all(knots, BY_TEN)
    apart = np.einsum("dpk,sdk->sdp", design(GRID, knots), weights - least)
    columns = {
        "loss": losses,
        "alpha": weights[:, :, 0] * BY_TEN[1],
        "norm": _norm(weights) / _norm(least),
        "distance": np.abs(apart).max(axis=2),
    }
    flat = {name: column.ravel() for name, column in columns.items()}
    drawn = {"seed": np.tile(list(seeds), len(steps)), "step": np.repeat(steps, len(seeds))}
    return pd.DataFrame({"knots": knots.shape[1], **drawn, **flat})


def _norm(weights: FloatArray) -> FloatArray:
    """Norm of weights (..., 2 + knots) as they are in the lecture's scale: (...)."""
    scaled = weights * BY_TEN[1]
    scaled[..., 1:] /= BY_TEN[0]
    norm: FloatArray = np.sqrt((scaled**2).sum(axis=-1))
    return norm


def settled(table: pd.DataFrame) -> pd.DataFrame:
    """The row of least loss of every number of knots and seed."""
    return table.loc[table.groupby(["knots", "seed"])["loss"].idxmin()]


def find(table: pd.DataFrame) -> Finding:
    """Whether Adam fits every point with more norm than the least, wherever a choice is left."""
    last = settled(table)
    plateau, alpha = (
        float(last.loc[last["knots"] == 0, name].mean()) for name in ("loss", "alpha")
    )
    many = last[last["knots"] > 0]
    worst, least = float(many["loss"].max()), float(many["norm"].min())
    by = many.groupby("knots")[["norm", "distance"]].median()
    few, most = by.index.min(), by.index.max()
    said = [
        f"{by.loc[count, 'norm']:.3f} times the least norm and {by.loc[count, 'distance']:.2f} "
        f"from that line with {count} knots"
        for count in (few, most)
    ]
    return Finding(
        showed=worst < 1e-5 and least > 1.005,
        criterion="with more knots than points Adam's loss is under 0.00001 in every draw and its "
        "weights have at least 1.005 times the least norm",
        text=(
            f"Without knots Adam's loss stops at {plateau:.6f} with alpha {alpha:.4f}. The "
            "lecture's plateau of 0.11 is that alpha, not a mean square.",
            f"With more knots than points it fits them all (loss {worst:.0e} at worst), yet ends "
            f"at {', and at '.join(said)} (medians over draws; y runs from 0 to 25).",
            "So what least norm says of a fit is not said of what Adam finds. Which of the two is "
            "better is not asked here.",
        ),
        numbers={
            "plateau": plateau,
            "alpha": alpha,
            "worst": worst,
            "least": least,
            "norm": float(by.loc[most, "norm"]),
            "distance": float(by.loc[most, "distance"]),
        },
    )


def draw(table: pd.DataFrame) -> Figure:
    """Left: loss by step; right: norm of the weights over the least, by step; medians."""
    looks = (QUIET, "#f5b7b1", "#e6867a", "#d9594c", FRONTIER)
    with house_style():
        figure = Figure(figsize=(9.6, 4.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        for knots, colour in zip(COUNTS, looks, strict=True):
            rows = table[(table["knots"] == knots) & (table["step"] > 0)]
            middle = rows.groupby("step")[["loss", "norm"]].median()
            left.semilogy(middle.index, middle["loss"], color=colour, lw=1.8)
            if knots:
                label = f"{knots} knots"
                right.plot(middle.index, middle["norm"], color=colour, lw=1.8, label=label)
        left.annotate("no knots", (STEPS, 1.3e-2), ha="right", va="bottom", color=QUIET)
        right.axhline(1.0, color=QUIET, lw=1.0, ls="--")
        right.annotate(
            "least norm: gradient descent",
            (STEPS, 1.0),
            (0, -5),
            ha="right",
            va="top",
            textcoords="offset points",
            color=QUIET,
        )
        left.set(xlabel="steps of Adam", ylabel="mean square on the points", ylim=(1e-12, 1e-1))
        right.set(xlabel="steps of Adam", ylabel="norm of weights / least norm", ylim=(0.85, 1.2))
        right.legend(frameon=False, fontsize=9, loc="upper right", ncols=2)
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


STUDY = Study(
    title="Adam fits every point, but not with the least norm",
    sources=("Kingma & Ba 2015, arXiv:1412.6980", "Wilson et al. 2017, arXiv:1705.08292"),
    bears_on="Why runs of different optimisers are not points of one law: at equal training loss "
    "they are different models.",
    seeds=20,
    run=run,
    find=find,
    draw=draw,
)
