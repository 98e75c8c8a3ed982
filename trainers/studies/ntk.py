"""The neural tangent kernel: its change in training falls as 1/width, not as 1/sqrt(width).

Networks with normal weights, each layer over the root of its inputs, take the same steps of
gradient descent at every width. Measured are the kernel K = J J' (Jacot et al. 2018,
arXiv:1806.07572), how far it moves and how far seeds lie apart in it, the way of the weights, the
norm of the Hessian of an output (Liu et al. 2020, arXiv:2010.01992, from whom 1/sqrt(width) is) and
the distance from the network made linear in its weights (Lee et al. 2019, arXiv:1902.06720).

Twice as long a training and one a little shorter were looked at (800 and 300 units of time, here
400). The power of the distance from the linear network hangs on it (-0.75 and -0.87 with tanh).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from scalefit.figures.style import FRONTIER, QUIET, house_style
from trainers.studies.parts.tangent import (
    Weights,
    descend,
    draw_weights,
    hessian_norm,
    kernel,
    linear,
    outputs,
)
from trainers.studies.tools.curvature import flatten
from trainers.studies.tools.lines import seed_lines
from trainers.study import Ask, Finding, Study

INPUTS, SHOWN, OTHER = 5, 24, 24
RATE, STEPS = 4.0, 100
"""Of gradient descent on half the mean squared error."""
ACTIVATIONS = {"tanh": torch.tanh, "ReLU": torch.relu}
AT_ONCE = 3e8
"""Weights that are trained together at most; the largest network of --full has as many."""

QUANTITIES = {
    "drift": ("kernel: drift", FRONTIER, "-"),
    "off": ("outputs: distance from linear", "#e0a100", "-"),
    "way": ("weights: way", "#2c7fb8", "--"),
    "hessian": ("Hessian: norm", "#7b3294", "-."),
    "spread": ("kernel: distance of seeds", QUIET, ":"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Widths, and numbers of hidden layers."""

    widths: tuple[int, ...]
    layers: tuple[int, ...]


DEFAULT = Scale(widths=tuple(2**k for k in range(6, 13)), layers=(1,))
FULL = Scale(widths=tuple(2**k for k in range(6, 15)), layers=(1, 2))


def run(ask: Ask) -> pd.DataFrame:
    """A row for each seed, activation, number of hidden layers and width.

    Columns seed, activation, layers, width; drift |K_T - K_0| / |K_0|; spread, the distance of K_0
    from its mean over seeds (NaN for one); way |w_T - w_0| / |w_0|; hessian, the spectral norm at
    the start for one input; off, root mean square |f - f_linear| on inputs not trained on; left,
    the root mean square error on those that were.
    """
    scale, parts = FULL if ask.full else DEFAULT, []
    for layers in scale.layers:
        for activation in ACTIVATIONS:
            for width in scale.widths:
                ask.tell(f"{activation}, {layers} hidden, width {width}")
                parts.append(_measured(ask, activation, layers, width))
    return pd.concat(parts, ignore_index=True)


def _measured(ask: Ask, activation: str, layers: int, width: int) -> pd.DataFrame:
    """All seeds of a shape, as many at once as AT_ONCE allows."""
    seeds, size = list(ask.seeds), width * INPUTS + (layers - 1) * width**2 + width
    count = max(1, int(AT_ONCE / size))
    groups = [seeds[first : first + count] for first in range(0, len(seeds), count)]
    found = [_trained(group, activation, layers, width, ask.device) for group in groups]
    start = torch.cat([kernel for kernel, _ in found])
    table = pd.concat([rows for _, rows in found], ignore_index=True)
    apart = _norm(start - start.mean(0)) / start.mean(0).norm()
    alone = len(seeds) == 1
    table["spread"] = np.nan if alone else (apart * (len(seeds) / (len(seeds) - 1)) ** 0.5).numpy()
    return table.assign(activation=activation, layers=layers, width=width)


def _trained(
    seeds: list[int], activation: str, layers: int, width: int, device: str
) -> tuple[Tensor, pd.DataFrame]:
    """The kernels at the start, (seeds, shown, shown), and what was measured."""
    inputs, targets = (one.to(device) for one in examples())
    start = draw_weights(seeds, (INPUTS, *[width] * layers, 1), device)

    def model(weights: Weights) -> Tensor:
        return outputs(weights, inputs, ACTIVATIONS[activation])

    end = descend(model, start, targets, rate=RATE, steps=STEPS)
    before, after = kernel(model, start, SHOWN), kernel(model, end, SHOWN)
    first, last = model(start), model(end)
    off = (last - linear(before, first, targets, rate=RATE, steps=STEPS))[:, SHOWN:]
    moved = [late - early for late, early in zip(end, start, strict=True)]
    found = {
        "drift": _norm((after - before)[:, :SHOWN]) / _norm(before[:, :SHOWN]),
        "way": flatten(moved).norm(dim=1) / flatten(start).norm(dim=1),
        "hessian": hessian_norm(lambda weights: model(weights)[:, SHOWN], start),
        "off": off.square().mean(1).sqrt(),
        "left": (last[:, :SHOWN] - targets).square().mean(1).sqrt(),
    }
    rows = pd.DataFrame({name: value.cpu().double().numpy() for name, value in found.items()})
    return before[:, :SHOWN].cpu(), rows.assign(seed=seeds)


def _norm(matrices: Tensor) -> Tensor:
    norms: Tensor = matrices.flatten(1).norm(dim=1)
    return norms


def examples() -> tuple[Tensor, Tensor]:
    """Inputs on a sphere, those trained on first, and their targets of mean 0 and variance 1."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(SHOWN + OTHER, INPUTS, generator=generator)
    inputs *= INPUTS**0.5 / inputs.norm(dim=1, keepdim=True)
    values = torch.sin(2.0 * inputs[:SHOWN, 0]) + inputs[:SHOWN, 1] * inputs[:SHOWN, 2]
    return inputs, (values - values.mean()) / values.std()


Arm = tuple[str, int]
"""An activation, and the number of hidden layers."""


def arms(table: pd.DataFrame) -> dict[Arm, pd.DataFrame]:
    """The rows of every arm."""
    return {
        (str(rows["activation"].iloc[0]), int(rows["layers"].iloc[0])): rows
        for _, rows in table.groupby(["layers", "activation"], sort=False)
    }


def power(rows: pd.DataFrame, quantity: str) -> tuple[float, float]:
    """The power of the width that a quantity of an arm goes with, and its standard error.

    The mean of the slopes of the seeds' own lines, both axes logarithmic. Both are NaN where the
    quantity is, and the error is for one seed.
    """
    wide = rows.pivot_table(index="width", columns="seed", values=quantity, dropna=False)
    values = np.log(wide.to_numpy(np.float64))
    if np.isnan(values).any():
        return np.nan, np.nan
    own = pd.Series(np.polyfit(np.log(wide.index.to_numpy(np.float64)), values, 1)[0])
    return float(own.mean()), float(own.std() / len(own) ** 0.5)


def _said(found: tuple[float, float]) -> str:
    value, error = found
    if np.isnan(value):
        return "unknown for one seed"
    return f"{value:.2f}" if np.isnan(error) else f"{value:.2f} ± {error:.2f}"


def find(table: pd.DataFrame) -> Finding:
    """Whether, with tanh, the kernel's drift goes as 1/width and the rest as its root."""
    found = arms(table)
    powers = {(*a, key): power(rows, key) for a, rows in found.items() for key in QUANTITIES}
    one = {key: powers["tanh", 1, key] for key in QUANTITIES}
    roots = [one[key][0] for key in ("way", "hessian", "spread") if not np.isnan(one[key][0])]
    rows = found["tanh", 1]
    means = rows.groupby("width")[[*QUANTITIES, "left"]].mean()
    narrow, wide = means.iloc[0], means.iloc[-1]
    wider = power(rows[rows["width"] >= rows["width"].median()], "drift")
    deep = "".join(
        f" With {activation} and {layers} hidden layers: "
        f"{_said(powers[activation, layers, 'off'])}, drift "
        f"{_said(powers[activation, layers, 'drift'])}."
        for activation, layers in found
        if layers > 1
    )
    return Finding(
        showed=bool(-1.15 <= one["drift"][0] <= -0.85 and all(-0.65 <= r <= -0.35 for r in roots)),
        criterion="with tanh and one hidden layer the kernel's drift goes as the width to a power "
        "within 0.15 of -1; the weights' way, the Hessian's norm and the seeds' spread to one "
        "within 0.15 of -1/2",
        text=(
            f"tanh, width {rows['width'].min()} to {rows['width'].max()}: the kernel moves by "
            f"{narrow['drift']:.2g} to {wide['drift']:.2g} of its norm (power {_said(one['drift'])}"
            f", in the wider half {_said(wider)}), weights by {narrow['way']:.2g} to "
            f"{wide['way']:.2g} ({_said(one['way'])}).",
            f"The Hessian's norm has the power {_said(one['hessian'])}, the distance of seeds in "
            f"the kernel at the start {_said(one['spread'])}. 1/sqrt(width) is what the Hessian "
            "bounds: how far one gradient can turn. The kernel is a mean over units that turn "
            "either way.",
            f"From the network linear in its weights outputs differ by {narrow['off']:.2g} to "
            f"{wide['off']:.2g} ({_said(one['off'])}); with ReLU the power is "
            f"{_said(powers['ReLU', 1, 'off'])}, of the drift "
            f"{_said(powers['ReLU', 1, 'drift'])}.{deep}",
            "± is the standard error over seeds, not what a line leaves out. All of this is where "
            f"training has come to an error of {narrow['left']:.2f} to {wide['left']:.2f} (root "
            "mean square; 1 is the mean's). Which network predicts better is not asked.",
        ),
        numbers={f"{key}, {a}, {n}": value for (a, n, key), (value, _) in powers.items()},
    )


def draw(table: pd.DataFrame) -> Figure:
    """Every quantity by width, a panel an activation and depth."""
    found = arms(table)
    with house_style():
        figure = Figure(figsize=(5.6 * len(found), 4.8), layout="constrained")
        panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
        for axes, ((activation, layers), rows) in zip(panels, found.items(), strict=True):
            _draw_arm(axes, rows)
            hidden = "one hidden layer" if layers == 1 else f"{layers} hidden layers"
            axes.set_title(f"{activation}, {hidden}", fontsize=10)
        panels[0].set_ylabel("relative change, spread, norm or distance")
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _draw_arm(axes: Axes, rows: pd.DataFrame) -> None:
    for name, (label, colour, style) in QUANTITIES.items():
        found = power(rows, name)
        if not np.isnan(found[0]):
            said = f"{label}, power {_said(found)}"
            seed_lines(axes, rows, "width", name, colour=colour, label=said, ls=style)
    axes.set(xscale="log", yscale="log", xlabel="width m")
    axes.legend(frameon=False, fontsize=8.5, loc="lower left")


STUDY = Study(
    title="Wide networks are nearly linear: the tangent kernel moves as 1/width",
    sources=(
        "Jacot et al. 2018, arXiv:1806.07572",
        "Lee et al. 2019, arXiv:1902.06720",
        "Liu et al. 2020, arXiv:2010.01992",
        "Dyer & Gur-Ari 2020, arXiv:1909.11304",
    ),
    bears_on="Why networks of other widths can share a law: they near one limit, at known powers.",
    seeds=10,
    run=run,
    find=find,
    draw=draw,
    full="widths to 16,384 and also two hidden layers, with 270 million weights",
)
