"""Minima of small networks: isolated points where parameters are few, manifolds where many.

Where p parameters fit n examples exactly, the Hessian of the squared error is 2 J'J / n, with J the
Jacobian of the outputs: of rank n at most, so that p - n directions or more are flat, and the
minima form a manifold of that dimension (Cooper 2018, arXiv:1804.10200). With fewer parameters than
examples an error is left, and a minimum has no flat direction. Both are counted at minima of tanh
networks of one hidden layer, found by Levenberg and Marquardt's method in float64.

Targets come from a wider network, without noise. With noise of .3 or .1, looked at before, the best
fits of few parameters are no minima: a unit grows into a step, and its weights without bound.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.func import jacrev

from scalefit.figures.style import FRONTIER, QUIET, house_style
from trainers.studies.tools.curvature import flatten, hessian, unflatten
from trainers.studies.tools.mlp import Networks, draw_networks, squared, with_parameters
from trainers.studies.tools.words import span
from trainers.study import Ask, Finding, Study

EXAMPLES, INPUTS, TEACHER = 40, 3, 12
WIDTHS = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 30)
STARTS, STEPS = 6, 300
ARRIVED = 1e-8
"""A minimum is reached where the gradient is no longer than this."""
ZERO = 1e-12
"""An eigenvalue of this share of the greatest, or less, is 0."""
FEW, MANY = 0.5, 1.25
"""Parameters an example: what is few and what is many; between them nothing is asked."""


def run(ask: Ask) -> pd.DataFrame:
    """Eigenvalues of the Hessian at the best minimum of each size, smallest first.

    Columns seed, params, place (of the eigenvalue, from 0), eigenvalue; and, the same in all rows
    of a minimum, mse, slope (the gradient's length), rank (of the Jacobian) and arrived (how many
    starts reached a minimum).
    """
    return pd.concat([_measured(width, list(ask.seeds)) for width in WIDTHS], ignore_index=True)


def problem(seed: int) -> tuple[Tensor, Tensor]:
    """Inputs (n, inputs) and what a tanh network of `TEACHER` units makes of them (n, 1)."""
    draw = np.random.default_rng(seed)
    inputs = draw.standard_normal((EXAMPLES, INPUTS))
    into = draw.standard_normal((INPUTS, TEACHER)) / np.sqrt(INPUTS)
    out = draw.standard_normal((TEACHER, 1)) / np.sqrt(TEACHER)
    return torch.from_numpy(inputs), torch.from_numpy(np.tanh(inputs @ into) @ out)


def _measured(width: int, seeds: Sequence[int]) -> pd.DataFrame:
    """The minima of this width, all seeds and starts in one batch."""
    drawn = draw_networks(
        [STARTS * seed + start for seed in seeds for start in range(STARTS)],
        (INPUTS, width, 1),
        gain=1.0,
        activation=torch.tanh,
    )
    networks = with_parameters(drawn, [one.double() for one in drawn.parameters])
    inputs, targets = (
        torch.stack(part).repeat_interleave(STARTS, 0)
        for part in zip(*(problem(seed) for seed in seeds), strict=True)
    )
    found = fit(networks, inputs, targets, STEPS)
    mse = squared(found(inputs), targets)
    slope = 2.0 / EXAMPLES * _pull(*linearised(found, inputs, targets)).norm(dim=1)
    # where no start has arrived, the one of lowest error stands in the table, with its slope
    order = torch.where(slope <= ARRIVED, mse, mse + mse.max() + 1.0).view(-1, STARTS)
    best = order.argmin(1) + STARTS * torch.arange(len(seeds))
    eigenvalues, rank = _curvature(found, inputs, targets, best)
    rows = {"mse": mse[best], "slope": slope[best], "rank": rank}
    rows |= {"arrived": (slope <= ARRIVED).view(-1, STARTS).sum(1)}
    tables = [
        pd.DataFrame(
            {"seed": seed, "params": found.size, "place": np.arange(found.size)}
            | {"eigenvalue": eigenvalues[index].numpy()}
            | {name: values[index].item() for name, values in rows.items()}
        )
        for index, seed in enumerate(seeds)
    ]
    return pd.concat(tables, ignore_index=True)


def _curvature(
    networks: Networks, inputs: Tensor, targets: Tensor, chosen: Tensor
) -> tuple[Tensor, Tensor]:
    """Eigenvalues of the Hessian (chosen, size) and the rank of the Jacobian, of these replicas."""
    few = replace(networks, seeds=tuple(networks.seeds[one] for one in chosen.tolist()))
    few = with_parameters(few, [one[chosen] for one in networks.parameters])
    inputs, targets = inputs[chosen], targets[chosen]
    curved = hessian(lambda at: squared(with_parameters(few, at)(inputs), targets), few.parameters)
    jacobian, _ = linearised(few, inputs, targets)
    return torch.linalg.eigvalsh(curved), torch.linalg.matrix_rank(jacobian, rtol=ZERO**0.5)


def fit(networks: Networks, inputs: Tensor, targets: Tensor, steps: int) -> Networks:
    """Least squares by Levenberg and Marquardt, every replica with its own damping.

    A step solves (J'J + damping I) step = -J'r; the damping falls to a third where the step lowers
    the error, and grows fourfold, without a step, where it does not (Marquardt 1963, J. SIAM
    11:431). It ends early where no replica moves any more.
    """
    rows = flatten(networks.parameters)
    damping, unit = rows.new_ones(len(rows)), torch.eye(rows.shape[1], dtype=rows.dtype)
    jacobian, left = linearised(networks, inputs, targets)
    for _ in range(steps):
        normal = jacobian.mT @ jacobian + damping[:, None, None] * unit
        step = -torch.linalg.solve(normal, _pull(jacobian, left))
        moved = with_parameters(networks, unflatten(rows + step, networks.parameters))
        new_jacobian, new_left = linearised(moved, inputs, targets)
        better = new_left.square().sum(1) < left.square().sum(1)
        damping = torch.where(better, damping / 3.0, damping * 4.0).clamp(1e-14, 1e9)
        rows = torch.where(better[:, None], rows + step, rows)
        jacobian = torch.where(better[:, None, None], new_jacobian, jacobian)
        left = torch.where(better[:, None], new_left, left)
        if (damping == 1e9).all():
            break
    return with_parameters(networks, unflatten(rows, networks.parameters))


def linearised(networks: Networks, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The Jacobian of the outputs (replicas, n, size), and outputs less targets (replicas, n)."""

    def summed(parameters: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        outputs = with_parameters(networks, parameters)(inputs)[..., 0]
        return outputs.sum(0), outputs  # replicas never meet: the sum's slope is each one's own

    slopes, outputs = jacrev(summed, has_aux=True)(networks.parameters)
    jacobian = torch.cat([slope.flatten(2) for slope in slopes], dim=2).transpose(0, 1)
    return jacobian, outputs - targets[..., 0]


def _pull(jacobian: Tensor, left: Tensor) -> Tensor:
    """J'r for each replica, (replicas, size)."""
    return torch.einsum("rnp,rn->rp", jacobian, left)


def nullities(table: pd.DataFrame) -> pd.DataFrame:
    """By size and seed: how many eigenvalues are 0, how many negative, and if it is a minimum."""
    share = table["eigenvalue"] / table.groupby(["params", "seed"])["eigenvalue"].transform("max")
    told = table.assign(nullity=share.abs() <= ZERO, negative=share < -ZERO)
    told = told.assign(minimum=told["slope"] <= ARRIVED)
    groups = told.groupby(["params", "seed"])
    firsts = groups[["minimum", "mse", "rank"]].first()
    return groups[["nullity", "negative"]].sum().join(firsts).reset_index()


def find(table: pd.DataFrame) -> Finding:
    """Whether flat directions are p - n where parameters are many, and none where few."""
    found = nullities(table)
    few = found[found["params"] <= FEW * EXAMPLES]
    many = found[found["params"] >= MANY * EXAMPLES]
    isolated = few["minimum"] & (few["nullity"] == 0) & (few["negative"] == 0)
    expected = many["params"] - EXAMPLES
    manifold = many["minimum"] & (many["nullity"] == expected) & (many["rank"] == EXAMPLES)
    off = found[~found["minimum"]]
    return Finding(
        showed=bool(isolated.all() and manifold.all()),
        criterion=f"at every minimum of a network with {MANY} n parameters or more the Hessian has "
        f"p - n zero eigenvalues and the Jacobian rank n, and none of up to n / {1 / FEW:.0f} "
        "parameters has a zero eigenvalue, in every seed",
        text=(
            f"With {span(many['params'])} parameters on {EXAMPLES} examples p - n eigenvalues are "
            f"0 and J has rank n in {int(manifold.sum())} of {len(many)} minima (squared error "
            f"{many['mse'].max():.0e} at most): such a minimum is a point of a manifold "
            f"of dimension p - n, here {span(expected)}.",
            f"With {span(few['params'])} parameters no eigenvalue is 0 or below in "
            f"{int(isolated.sum())} of {len(few)} (squared error from {few['mse'].min():.1e} to "
            f"{few['mse'].max():.1e}): such a minimum stands alone.",
            f"Each is the lowest minimum of {STARTS} starts. In {len(off)} of {len(found)} cases "
            f"none reached one{_at(off['params'])}; from n / {1 / FEW:.0f} to {MANY} n nothing is "
            "asked.",
            f"What counts as 0 is {ZERO:g} of the greatest eigenvalue. Isolated is said up to the "
            "signs and names of hidden units; and a flat direction says nothing of how well the "
            "network predicts.",
        ),
        numbers={"manifold": float(manifold.mean()), "isolated": float(isolated.mean())},
    )


def _at(values: "pd.Series[int]") -> str:
    listed = ", ".join(str(value) for value in sorted(set(values)))
    return f", with p = {listed}" if listed else ""


def draw(table: pd.DataFrame) -> Figure:
    """Left the flat directions by number of parameters, right the spectra of a small and a big."""
    with house_style():
        figure = Figure(figsize=(9.8, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_counts(left, nullities(table))
        _draw_spectra(right, table)
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _draw_counts(axes: Axes, found: pd.DataFrame) -> None:
    sizes = np.array([0, EXAMPLES, found["params"].max()])
    axes.plot(sizes, np.maximum(sizes - EXAMPLES, 0), color=QUIET, lw=1.2, label="p − n, or 0")
    kept = found[found["minimum"]]
    axes.plot(kept["params"], kept["nullity"], "o", color=FRONTIER, ms=6, mfc="none", label="found")
    axes.axvline(EXAMPLES, color="0.6", lw=0.8, ls=":")
    axes.text(EXAMPLES, 0.95 * (sizes[-1] - EXAMPLES), f" n = {EXAMPLES} examples")
    axes.set(xlabel="parameters p", ylabel="flat directions (zero eigenvalues)")
    axes.legend(frameon=False, loc="lower right", borderaxespad=2.0)


def _draw_spectra(axes: Axes, table: pd.DataFrame) -> None:
    one = table[table["seed"] == table["seed"].min()]
    small = one["params"][one["params"] <= FEW * EXAMPLES].max()
    big = one["params"].max()
    for params, colour in ((small, QUIET), (big, FRONTIER)):
        values = one["eigenvalue"][one["params"] == params].to_numpy()
        share = np.sort(np.abs(values) / np.abs(values).max())[::-1].clip(1e-22)
        axes.plot(np.arange(1, len(share) + 1), share, ".", color=colour, label=f"p = {params}")
    axes.axhline(ZERO, color="0.6", lw=0.8, ls=":")
    axes.annotate("below: counted as 0", (0.99, ZERO), xycoords=("axes fraction", "data"),
                  ha="right", va="bottom", color="0.4", fontsize=9)  # fmt: skip
    axes.set(yscale="log", ylim=(1e-21, 3.0), xlabel="eigenvalue of the Hessian, by size")
    axes.set_ylabel("share of the greatest, absolute")
    axes.legend(frameon=False, loc="upper right")


STUDY = Study(
    title="Minima: points where parameters are few, manifolds of dimension p − n where many",
    sources=("Cooper 2018, arXiv:1804.10200", "the lecture on over-parameterised models"),
    bears_on="Why many sizes reach the same training loss of 0: past n parameters, minima are "
    "everywhere, so N counts freedom and not fit.",
    seeds=5,
    run=run,
    find=find,
    draw=draw,
)
