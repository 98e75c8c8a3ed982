"""The information plane: whether a layer "compresses" hangs on activation and bins.

What a hidden layer T tells of input X and label Y, in bits, is counted in bins along training. With
tanh I(X;T) falls late in training, which was said to be how networks come to generalise
(Shwartz-Ziv & Tishby 2017, arXiv:1703.00810; before, arXiv:1503.02406). Saxe et al. 2018 (ICLR)
saw no such fall with ReLU: it is saturation, seen through bins. This is contested; all that is
asked here is when a fall is seen. The task is made after the authors'; layers, batch and Adam are
theirs, its rate 3e-3 instead of 4e-4 and the steps fewer. Looked at before: other splits, 100 bins,
smaller first weights for ReLU (one network learned nothing); the same showed. So do seeds 5 to 9.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from scalefit.figures.style import FRONTIER, QUIET, SIZES, house_style
from trainers.studies.tools.mlp import HE, Networks, cross_entropy, draw_networks, walk, wrong
from trainers.studies.tools.words import span
from trainers.study import Ask, Finding, Study

CORNERS, HIDDEN = 12, (10, 7, 5, 4, 3)
SHOWN, BATCH, RATE, STEPS, POINTS = 3277, 256, 3e-3, 8000, 26
TANH, RELU = "tanh", "ReLU"
ACTIVATIONS = {TANH: (torch.tanh, 1.0), RELU: (torch.relu, HE)}
"""With the gain of the first weights."""
COUNTS, MAIN = (5, 30, 1000), 30
"""Bins between the least and the largest value of a layer in all of its training, and the usual."""
PRESENT = 0
"""What stands in the table for 30 bins between the least and the largest value at the step."""
KEYS = torch.from_numpy(np.random.default_rng(0).integers(2**62, size=max(HIDDEN)))
TINY = 1e-12
"""Odd chances make one number of the bins of all units; a range is no less than this."""
FALL, FITTED, TWICE = 1.0, 0.95, 2.0
"""Bits between peak and end that count as compression; when the rule is learned; what differs."""


def task() -> tuple[Tensor, Tensor]:
    """All sets of corners of an icosahedron, (4096, 12) of -1 and 1, and the half that is meant.

    Meant are those of more power in spherical harmonics of degree 1 and 2, so that the rule is one
    of rotations, as that of Shwartz-Ziv & Tishby is.
    """
    bits = np.array(list(product((0.0, 1.0), repeat=CORNERS)))
    golden = (1.0 + 5.0**0.5) / 2.0
    first = [(0.0, one, other * golden) for one in (1.0, -1.0) for other in (1.0, -1.0)]
    corners = np.array([np.roll(corner, turn) for corner in first for turn in range(3)])
    cosines = corners @ corners.T / (1.0 + golden**2)
    # the addition theorem: power of degree l is the sum of P_l(cosine) over all pairs of points
    legendre = cosines + (3.0 * cosines**2 - 1.0) / 2.0
    power = np.einsum("ni,ij,nj->n", bits, legendre, bits).round(9)
    labels = (power > np.median(power)).astype(np.int64)
    return torch.from_numpy(2.0 * bits - 1.0).float(), torch.from_numpy(labels)


def run(ask: Ask) -> pd.DataFrame:
    """What layers tell, by step.

    Columns seed, activation, layer (from 1), bins (0: 30 of the moment), step, input and output
    (I(X;T) and I(T;Y), bits, over all 4096 inputs), saturated (share of states beyond 0.9 in size),
    train and test (accuracies).
    """
    return pd.concat([_trained(name, ask.seeds) for name in ACTIVATIONS], ignore_index=True)


def _trained(name: str, seeds: Sequence[int]) -> pd.DataFrame:
    """All seeds as one batched network."""
    inputs, labels = task()
    draws = [np.random.default_rng(seed).permutation(len(labels)) for seed in seeds]
    order = torch.from_numpy(np.stack(draws))
    shown, others = order[:, :SHOWN], order[:, SHOWN:]
    activation, gain = ACTIVATIONS[name]
    start = draw_networks(seeds, (CORNERS, *HIDDEN, 2), gain=gain, activation=activation)
    # places for seeds: then the order of batches is the same for all
    start = replace(start, seeds=tuple(range(len(seeds))))
    stops = [0, *np.geomspace(20, STEPS, POINTS).round().astype(int).tolist()]
    bits, classes = inputs[shown], labels[shown]
    path = walk(start, bits, classes, loss=cross_entropy, lr=RATE, stops=stops, batch=BATCH)
    rows, states = [], []
    for step, networks in path:
        good = [1.0 - wrong(networks(inputs[p]), labels[p]).numpy() for p in (shown, others)]
        head = {"seed": list(seeds), "activation": name, "step": step}
        rows.append(pd.DataFrame(head | dict(zip(("train", "test"), good, strict=True))))
        states.append(layers(networks, inputs))
    heads = pd.concat(rows, ignore_index=True)
    return pd.concat(
        heads.assign(layer=layer, bins=bins, **told(torch.stack(found), labels, bins))
        for layer, found in enumerate(zip(*states, strict=True), start=1)
        for bins in (*COUNTS, PRESENT)
    )


def layers(networks: Networks, inputs: Tensor) -> list[Tensor]:
    """States of the hidden layers, each (seeds, inputs, width)."""
    state, found = inputs.expand(len(networks.seeds), *inputs.shape), []
    for weight, bias in zip(networks.weights[:-1], networks.biases[:-1], strict=True):
        state = networks.activation(torch.baddbmm(bias, state, weight))
        found.append(state)
    return found


def told(states: Tensor, labels: Tensor, bins: int) -> dict[str, npt.NDArray[np.float64]]:
    """What a layer tells of input and label, a value a step and seed, seeds running faster.

    States have the shape (steps, seeds, inputs, width). The network is a function and all inputs
    are equally likely, so I(X;T) = H(T).
    """
    over = (2, 3) if bins == PRESENT else (0, 2, 3)
    low, high = states.amin(over, keepdim=True), states.amax(over, keepdim=True)
    count = bins or MAIN
    places = ((states - low) / (high - low).clamp_min(TINY) * count).long().clamp_max(count - 1)
    codes = (places.flatten(0, 1) * KEYS[: states.shape[-1]]).sum(-1)
    known, both = entropy(codes), entropy(2 * codes + labels)
    saturated = (states.abs() > 0.9).double().mean((2, 3)).flatten()
    values = {"input": known, "output": known + entropy(labels[None]) - both}
    return {key: value.numpy() for key, value in (values | {"saturated": saturated}).items()}


def entropy(codes: Tensor) -> Tensor:
    """Entropy in bits of whole numbers, each as likely as it is frequent; a value a row."""
    ordered, _ = codes.sort(1)
    fresh = torch.ones_like(ordered)
    fresh[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    groups = fresh.flatten().cumsum(0) - 1  # every row begins with a group of its own
    counts = torch.bincount(groups)[groups].view_as(codes).double()
    return float(np.log2(codes.shape[1])) - counts.log2().mean(1)


def falls(table: pd.DataFrame) -> pd.DataFrame:
    """How far I(X;T) ends under its peak: columns activation, bins, layer, seed, fall."""
    groups = table.sort_values("step").groupby(["activation", "bins", "layer", "seed"])["input"]
    return (groups.max() - groups.last()).rename("fall").reset_index()


def find(table: pd.DataFrame) -> Finding:
    """Whether the last layer compresses with tanh and not with ReLU, and whether bins matter."""
    found = falls(table)
    last = found[(found["layer"] == len(HIDDEN)) & (found["bins"] == MAIN)]
    tanh, relu = (last.loc[last["activation"] == name, "fall"] for name in ACTIVATIONS)
    way = found[(found["layer"] == len(HIDDEN)) & (found["activation"] == TANH)]
    by_bins = way.pivot_table("fall", "seed", "bins")
    mean = {bins: float(value) for bins, value in by_bins.mean().items()}
    hangs = by_bins.max(axis=1) >= TWICE * by_bins.min(axis=1)
    other = found[found["activation"] == RELU]
    count = {bins: int((fall >= FALL).sum()) for bins, fall in other.groupby("bins")["fall"]}
    good = table[table["step"] == table["step"].max()].groupby("activation")["test"].mean()
    early, late, saturated = _late(table)
    when = f"once I(X;T) is down to {early:.1f} bits" if np.isfinite(early) else "at no step"
    return Finding(
        showed=bool(min((tanh >= FALL).mean(), (relu < FALL).mean(), hangs.mean()) >= 0.8),
        criterion=f"with {MAIN} bins, I(X;T) of the last hidden layer ends {FALL:g} bit under its "
        "peak or more with tanh, and not with ReLU; how far it falls with tanh differs by a factor "
        f"of {TWICE:g} between kinds of bins; each in four seeds of five",
        text=(
            f"With {MAIN} bins I(X;T) of the last hidden layer ends {tanh.mean():.2f} bits under "
            f"its peak with tanh ({span(tanh, '.2f')}), {relu.mean():.2f} with ReLU "
            f"({span(relu, '.2f')}).",
            f"With tanh {FITTED:.0%} of what is shown is right {when}; in the end it has "
            f"{late:.1f} bits, and {saturated:.0%} of its states are beyond 0.9 in size.",
            f"By how much it falls is a matter of bins: {mean[COUNTS[0]]:.2f} bits with "
            f"{COUNTS[0]}, {mean[MAIN]:.2f} with {MAIN}, {mean[COUNTS[-1]]:.2f} with {COUNTS[-1]}, "
            f"{mean[PRESENT]:.2f} with {MAIN} in the range of the moment. With these last "
            f"{count[PRESENT]} of {len(other) // len(count)} layers (of all seeds) compress with "
            f"ReLU too, against {count[MAIN]} with {MAIN} bins in the range of all training.",
            f"Of other inputs {good[TANH]:.1%} are right with tanh, {good[RELU]:.1%} with ReLU. "
            "That a fall makes a network generalise does not follow from any of this.",
            "In a network without noise I(X;T) is what the bins make it: with ever finer ones, 12 "
            "bits as long as no two of the 4096 inputs give the same states.",
        ),
        numbers={"tanh": float(tanh.mean()), "ReLU": float(relu.mean())}
        | {"learned": early, "end": late}
        | {f"tanh, bins {bins}": value for bins, value in mean.items()}
        | {f"test {name}": float(value) for name, value in good.items()},
    )


def _main(table: pd.DataFrame, activation: str) -> pd.DataFrame:
    """The rows of an activation with the usual bins."""
    return table[(table["activation"] == activation) & (table["bins"] == MAIN)]


def _late(table: pd.DataFrame) -> tuple[float, float, float]:
    """With tanh, I(X;T) of the last layer once the rule is learned, and in the end; saturation."""
    rows = _main(table, TANH).sort_values("step")
    rows = rows[rows["layer"] == len(HIDDEN)]
    first = rows[rows["train"] >= FITTED].groupby("seed")["input"].first()
    last = rows.groupby("seed")[["input", "saturated"]].last().mean()
    return float(first.mean()), float(last["input"]), float(last["saturated"])


def draw(table: pd.DataFrame) -> Figure:
    """The plane for both activations, means over seeds; and how far the last layer falls."""
    with house_style():
        figure = Figure(figsize=(12.0, 4.2), layout="constrained")
        *planes, bars = figure.subplots(1, 3, width_ratios=(1.0, 1.0, 0.9))
        for axes, name in zip(planes, ACTIVATIONS, strict=True):
            _plane(axes, _main(table, name))
            axes.set_title(f"{name}, {MAIN} bins (○ start, ● end)", fontsize=10)
        planes[1].legend(frameon=False, fontsize=9, loc="upper left", title="hidden layer")
        _bars(bars, falls(table))
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _plane(axes: Axes, rows: pd.DataFrame) -> None:
    """A trace a layer: a ring where it starts, a dot where it ends."""
    mean = rows.groupby(["layer", "step"])[["input", "output"]].mean()
    colours = mpl.colormaps[SIZES](np.linspace(0.0, 0.9, len(HIDDEN)))
    for (layer, trace), colour in zip(mean.groupby("layer"), colours, strict=True):
        axes.plot(trace["input"], trace["output"], color=colour, lw=1.6, label=str(layer))
        for end, face in ((0, "white"), (-1, colour)):
            axes.plot(*trace.iloc[end], "o", color=colour, mfc=face, ms=6)
    axes.set(xlabel="I(X;T), bits", ylabel="I(T;Y), bits", xlim=(-0.4, 12.4), ylim=(-0.03, 1.05))


def _bars(axes: Axes, found: pd.DataFrame) -> None:
    """By kind of bins, how far I(X;T) of the last layer falls: a dot a seed, a bar their mean."""
    last = found[found["layer"] == len(HIDDEN)]
    kinds = (*COUNTS, PRESENT)
    for name, colour, shift in ((TANH, FRONTIER, -0.2), (RELU, QUIET, 0.2)):
        each = last[last["activation"] == name].pivot_table("fall", "bins", "seed").loc[list(kinds)]
        places = np.arange(len(kinds)) + shift
        axes.bar(places, each.mean(axis=1), 0.38, color=colour, alpha=0.55, label=name)
        axes.plot(places, each, "o", color=colour, ms=3.5)
    axes.axhline(FALL, color="0.5", lw=0.8, ls=":")
    axes.set_xticks(range(len(kinds)), [*map(str, COUNTS), f"{MAIN}, range\nof the step"])
    axes.set(xlabel="bins", ylabel="fall of I(X;T) from its peak, bits")
    axes.set_title("last hidden layer", fontsize=10)
    axes.legend(frameon=False, fontsize=9)


STUDY = Study(
    title="The information plane, contested: compression by activation and by bins",
    sources=("Shwartz-Ziv & Tishby 2017, arXiv:1703.00810", "Saxe et al. 2018, ICLR"),
    bears_on="Whether more training does something that no loss shows: by this measure, not known.",
    seeds=5,
    run=run,
    find=find,
    draw=draw,
)
