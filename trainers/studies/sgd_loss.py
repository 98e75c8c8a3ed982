"""The loss that SGD descends in the mean: every order of an epoch, to errors of order h^3.

Where an epoch of SGD with step h ends, in the mean over all orders of the batches, is but for terms
of order h^3 where gradient flow ends on L + (h/4) E|gradient of a batch|^2 (Smith et al. 2021,
arXiv:2101.12176). Six examples have few enough orders to take them all. The lecture prints the
spread of the gradients as a sum over k = 1..m, the batches; it runs over all N examples.
"""

from collections.abc import Sequence
from itertools import permutations, product

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.func import grad, vmap

from scalefit.figures.style import FRONTIER, QUIET, house_style
from trainers.study import Ask, Finding, Study

EXAMPLES, INPUTS, HIDDEN = 6, 2, 3
BATCHES = (1, 2, 3)
RATES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02)
SMALL, WIDE = 0.005, 0.02
"""An order is a limit: it is fitted to steps up to SMALL. WIDE is where losses are compared."""
PARTS = 32  # Runge-Kutta steps of a flow: twice as many change its end by 1e-12
LOOKS = {
    "plain": ("L", QUIET, ":", "o"),
    "descent": ("L and the penalty of full batches", QUIET, "--", "s"),
    "printed": ("and the spread over m gradients, as printed", "#2c7fb8", "-.", "^"),
    "whole": ("and the spread over all N gradients", FRONTIER, "-", "D"),
}


def run(ask: Ask) -> pd.DataFrame:
    """How far SGD's mean end of an epoch is from the end of the flow on each loss.

    Columns seed, batch, rate, loss (plain, descent, printed, whole), distance; square, what this
    loss holds for E|gradient of a batch|^2 at the starting weights, and true_square, what it is
    over all batches.
    """
    cells = list(product(ask.seeds, BATCHES, RATES, LOOKS))
    means = {cell[:3]: mean_end(*cell[:3]) for cell in cells}
    goal = torch.stack([means[cell[:3]] for cell in cells])
    return pd.DataFrame(cells, columns=["seed", "batch", "rate", "loss"]).assign(
        distance=(flow_ends(cells) - goal).norm(dim=1).numpy(),
        square=[held_square(seed, batch, loss) for seed, batch, _, loss in cells],
        true_square=[batch_square(seed, batch) for seed, batch, _, _ in cells],
    )


def problem(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weights (P,), inputs (N, INPUTS) and values (N,) of a regression by a small tanh network."""
    draw = torch.Generator().manual_seed(seed)
    sizes = ((HIDDEN * (INPUTS + 1),), (EXAMPLES, INPUTS), (EXAMPLES,))
    weights, inputs, values = (torch.randn(size, generator=draw).double() for size in sizes)
    return weights, inputs, values


def example_loss(weights: Tensor, inputs: Tensor, value: Tensor) -> Tensor:
    """Half the squared error of one example."""
    matrix, vector = weights[:-HIDDEN].view(HIDDEN, INPUTS), weights[-HIDDEN:]
    return 0.5 * (vector @ torch.tanh(matrix @ inputs) - value) ** 2


def gradients(weights: Tensor, inputs: Tensor, values: Tensor) -> Tensor:
    """The gradient of every example, shape (examples, P)."""
    found: Tensor = vmap(grad(example_loss), in_dims=(None, 0, 0))(weights, inputs, values)
    return found


def orders(batch: int) -> Tensor:
    """Every order of an epoch, shape (orders, m, batch); within a batch no order counts."""
    cut = np.array(list(permutations(range(EXAMPLES)))).reshape(-1, EXAMPLES // batch, batch)
    return torch.from_numpy(np.unique(np.sort(cut, axis=2), axis=0))


def mean_end(seed: int, batch: int, rate: float) -> Tensor:
    """Where an epoch of SGD ends in the mean over all orders, shape (P,)."""
    start, inputs, values = problem(seed)
    every = orders(batch)
    weights = start.expand(len(every), -1)
    for taken in every.unbind(dim=1):
        weights = weights - rate * vmap(gradients)(weights, inputs[taken], values[taken]).mean(
            dim=1
        )
    return weights.mean(dim=0)


def penalties(batch: int, loss: str) -> tuple[float, float]:
    """Factors of |grad L|^2 and of (1/N) sum_i |grad L_i - grad L|^2 in E|gradient of a batch|^2.

    Batches are drawn without replacement. A sum over m of N examples is m/N of the whole one.
    """
    spread = (EXAMPLES - batch) / ((EXAMPLES - 1) * batch)
    held = {"plain": (0.0, 0.0), "descent": (1.0, 0.0), "whole": (1.0, spread)}
    return held.get(loss, (1.0, spread / batch))


def moments(weights: Tensor, inputs: Tensor, values: Tensor) -> Tensor:
    """|grad L|^2, and (1/N) sum_i |grad L_i - grad L|^2 over the N examples, shape (2,)."""
    each = gradients(weights, inputs, values)
    mean = each.mean(dim=0)
    return torch.stack(((mean**2).sum(), ((each - mean) ** 2).sum() / EXAMPLES))


def held_square(seed: int, batch: int, loss: str) -> float:
    """What this loss holds for E|gradient of a batch|^2 at the starting weights."""
    factors = torch.tensor(penalties(batch, loss), dtype=torch.float64)
    return float(factors @ moments(*problem(seed)))


def batch_square(seed: int, batch: int) -> float:
    """E|gradient of a batch|^2 at the starting weights, the mean over all batches."""
    each = gradients(*problem(seed))[orders(batch)[:, 0]]
    return float((each.mean(dim=1) ** 2).sum(dim=1).mean())


def flow_ends(cells: Sequence[tuple[int, int, float, str]]) -> Tensor:
    """Ends of gradient flow after the time of an epoch, shape (cells, P), by Runge-Kutta."""
    problems = zip(*(problem(seed) for seed, *_ in cells), strict=True)
    weights, inputs, values = (torch.stack(part) for part in problems)
    factors = torch.tensor([penalties(c[1], c[3]) for c in cells], dtype=torch.float64)
    rates = torch.tensor([rate for _, _, rate, _ in cells], dtype=torch.float64)
    parts = rates * torch.tensor([EXAMPLES // batch / PARTS for _, batch, _, _ in cells])

    def modified(w: Tensor, x: Tensor, y: Tensor, factor: Tensor, rate: Tensor) -> Tensor:
        loss = vmap(example_loss, in_dims=(None, 0, 0))(w, x, y).mean()
        return loss + rate / 4 * (factor @ moments(w, x, y))

    def move(now: Tensor) -> Tensor:
        slope: Tensor = vmap(grad(modified))(now, inputs, values, factors, rates)
        return -parts[:, None] * slope

    for _ in range(PARTS):
        one = move(weights)
        two = move(weights + one / 2)
        three = move(weights + two / 2)
        four = move(weights + three)
        weights = weights + (one + 2 * two + 2 * three + four) / 6
    return weights


def slopes(table: pd.DataFrame) -> pd.DataFrame:
    """The order in h of every seed, batch and loss: columns seed, batch, loss, order."""
    small = table[table["rate"] <= SMALL]
    far = small.pivot_table(index=["seed", "batch", "loss"], columns="rate", values="distance")
    order = np.polyfit(np.log(far.columns.to_numpy(dtype=float)), np.log(far.to_numpy().T), 1)[0]
    return far.index.to_frame(index=False).assign(order=order)


def find(table: pd.DataFrame) -> Finding:
    """Whether the whole modified loss is right to one order more than the others."""
    order = slopes(table)
    # batches of 1: m = N, and what is printed is right by accident
    same = order["loss"].eq("printed") & order["batch"].eq(1)
    whole = order["loss"].eq("whole")
    low, high = order.loc[~whole & ~same, "order"], order.loc[whole, "order"]
    off = 1 - table["square"] / table["true_square"]
    error = float(off[table["loss"].eq("whole")].abs().max())
    printed = off[table["loss"].eq("printed") & table["batch"].gt(1)]
    wide = table[table["rate"].eq(WIDE)].set_index(["seed", "batch", "loss"])["distance"]
    gain = wide.xs("plain", level="loss") / wide.xs("whole", level="loss")
    orders_hold = bool((low - 2).abs().max() <= 0.1 and (high - 3).abs().max() <= 0.15)
    return Finding(
        showed=orders_hold and error < 1e-12,
        criterion="in every seed and batch size the distance falls as h^3 (order within 0.15) for "
        "the whole modified loss and as h^2 (within 0.1) for the incomplete ones",
        text=(
            f"Orders in h: {low.min():.2f} to {low.max():.2f} for the incomplete losses, "
            f"{high.min():.2f} to {high.max():.2f} for the whole one ({len(high)} pairs of seed "
            "and batch size, every order of each epoch taken).",
            f"At h = {WIDE} the whole loss comes {gain.min():.0f} to {gain.max():.0f} times nearer "
            "to SGD's mean than L does.",
            "The formula for the mean square of a batch's gradient is exact if the spread is "
            f"summed over all N examples (relative error {error:.0e}); summed over m of them, as "
            f"the lecture prints it, it is {printed.min():.0%} to {printed.max():.0%} short.",
            "This is about the mean over orders after one epoch of small steps. It does not say "
            "that a single run follows this loss, nor that it generalises better for it.",
        ),
        numbers={"error": error, "gain_low": float(gain.min()), "gain_high": float(gain.max())}
        | {"incomplete": float(low.mean()), "whole": float(high.mean())},
    )


def draw(table: pd.DataFrame) -> Figure:
    """Distance by step size, a panel for each batch size; geometric means over seeds."""
    logs = table.assign(distance=np.log(table["distance"]))
    mean = np.exp(logs.groupby(["batch", "loss", "rate"])["distance"].mean())
    with house_style():
        figure = Figure(figsize=(9.6, 4.3), layout="constrained")
        panels = figure.subplots(1, len(BATCHES), sharey=True)
        for axes, batch in zip(panels, BATCHES, strict=True):
            for loss, (label, colour, line, mark) in LOOKS.items():
                if loss == "printed" and batch == 1:
                    continue  # the same as the whole one
                curve = mean[batch, loss]
                axes.loglog(curve.index, curve, line, color=colour, marker=mark, ms=4, label=label)
            axes.set(xlabel="step size h", title=f"batches of {batch}, {len(orders(batch))} orders")
        panels[0].set_ylabel("distance from SGD's mean end")
        figure.suptitle(STUDY.title, fontsize=11)
        handles, labels = panels[-1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)
    return figure


STUDY = Study(
    title="One epoch of SGD, all orders: where does gradient flow on each loss end?",
    sources=("Smith, Dherin, Barrett & De 2021, arXiv:2101.12176",),
    bears_on="Why step and batch belong to a law's protocol: they change the loss that falls.",
    seeds=5,
    run=run,
    find=find,
    draw=draw,
)
