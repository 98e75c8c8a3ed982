"""The loss around a minimum: a wide floor with many parameters, a narrow hole with few.

Around the minima of a wide and of a narrow network on the same digits, the training loss is cut by
a plane of two random directions, every filter of which is as long as the network's own (Li et al.
2018, arXiv:1712.09913): one unit on the axes is a change as large as the weights, in both. The
lecture's words are held against what is measured: interpolation against an error that is left, and
"locally convex" against non-convex.

Looked at before: ReLU networks, squared error, and hidden widths of 2 and 4. With squared error the
wide network has not the wider floor; and a narrow ReLU network may die, which is flat everywhere.

The full form is figure 6 of Li et al. on CIFAR-10 at two of its four widths: ResNet-56 without
shortcuts, once and four times as wide, and all 50,000 images at 51 x 51 places. Their section 5 has
this network begin at a rate of 0.01; the figure's error of 13.31 % is in table 2 at 0.1, taken here
for both. Chosen here: how many images the Hessian has (memory), and the criterion, that of the
digits, where the paper judges by eye.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from torch import Tensor

from scalefit.figures.style import FRONTIER, QUIET, SIZES, house_style
from trainers.studies.parts.slices import deep_slice, extremes, grid, shape
from trainers.studies.tools import cnn, plain
from trainers.studies.tools.digits import stacked
from trainers.studies.tools.directions import Parameters, along, filter_directions, plane
from trainers.studies.tools.images import pictures
from trainers.studies.tools.lines import seed_lines
from trainers.studies.tools.mlp import cross_entropy, draw_networks, train, with_parameters, wrong
from trainers.study import Ask, Finding, Study

EXAMPLES = 600
SIDE = np.linspace(-1.0, 1.0, 41)
NEAR = 0.25
"""How far from the minimum it is asked whether the slice is convex."""
FLOOR = 0.1
"""The floor is what lies less than this above the lowest place, in nats."""
WIDER, DEEPER = 10.0, 10.0
"""How many times as large the floor of the wide network is, and how many times as low."""
CEILING = 1e3
"""Nats; what is higher is drawn as this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A network, how long it is trained, and how many times as wide the paper's is (k)."""

    name: str
    sizes: tuple[int, ...]
    steps: int
    lr: float
    k: int
    colour: str


KINDS = (
    Kind(name="many parameters", sizes=(64, 64, 64, 10), steps=400, lr=3e-3, k=4, colour=FRONTIER),
    Kind(name="few parameters", sizes=(64, 3, 3, 10), steps=2000, lr=1e-2, k=1, colour=QUIET),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """Li et al. 2018, figure 6; the Hessian is of the loss of `curved` images."""

    depth: int = 56
    recipe: plain.Recipe = plain.LI
    side: int = 51
    curved: int = 256


PAPER = Paper()


def run(ask: Ask) -> pd.DataFrame:
    """Loss on the slice of both networks.

    Columns seed, kind, a, b (multiples of the two directions), loss (training, in nats); and, the
    same in all rows of a slice, params, wrong (share of training images at the centre), least and
    greatest (eigenvalues of the whole Hessian there). The full form also says of how many images:
    images (loss, wrong) and curved (Hessian).
    """
    if ask.full:
        seen = pictures(ask.data, "cifar10")
        data = (seen.train.to(ask.device), seen.train_labels.to(ask.device))
        cuts = [_paper(ask, kind, seed, PAPER, data) for kind in KINDS for seed in ask.seeds]
        return pd.concat(cuts, ignore_index=True)
    return pd.concat([_cut(kind, list(ask.seeds)) for kind in KINDS], ignore_index=True)


def _cut(kind: Kind, seeds: Sequence[int]) -> pd.DataFrame:
    images, labels = (part[:, :EXAMPLES] for part in stacked(seeds))
    start = draw_networks(seeds, kind.sizes, gain=1.0, activation=torch.tanh)
    trained, _ = train(start, images, labels, loss=cross_entropy, steps=kind.steps, lr=kind.lr)

    def loss(parameters: Parameters) -> Tensor:
        return cross_entropy(with_parameters(trained, parameters)(images), labels)

    side = torch.from_numpy(SIDE).float()
    places = torch.cartesian_prod(side, side)
    directions = [filter_directions(trained, number) for number in (0, 1)]
    losses = along(plane(trained.parameters, directions), loss, places)
    ends = extremes(loss, trained.parameters)
    missed = wrong(trained(images), labels)
    tables = [
        pd.DataFrame(
            {"seed": seed, "kind": kind.name, "params": trained.size}
            | grid(SIDE)
            | {"loss": losses[:, one].numpy(), "wrong": missed[one].item()}
            | {name: values[one].item() for name, values in ends.items()}
        )
        for one, seed in enumerate(seeds)
    ]
    return pd.concat(tables, ignore_index=True)


def _paper(
    ask: Ask, kind: Kind, seed: int, paper: Paper, data: tuple[Tensor, Tensor]
) -> pd.DataFrame:
    """The slice of one network, trained as in the paper."""

    def tell(what: str) -> None:
        ask.tell(f"{kind.name}, seed {seed}, {what}")

    build = partial(plain.no_shortcuts, paper.depth, factor=kind.k)
    start = cnn.drawn(build, seed).to(ask.device)
    network = plain.trained(start, data, recipe=paper.recipe, seed=seed, tell=tell)
    side = np.linspace(-1.0, 1.0, paper.side)
    found = deep_slice(network, data, side=side, curved=paper.curved, seed=seed, tell=tell)
    return found.assign(seed=seed, kind=kind.name)


def shapes(table: pd.DataFrame) -> pd.DataFrame:
    """By kind and seed, what the slice looks like.

    Columns kind, seed, lowest and highest (loss), floor (area of the slice, of 4, that lies on the
    floor), near and far (share of places where the slice curves upwards in all directions, by
    second differences, near the minimum and everywhere), wrong, saddle (-least / greatest).
    """
    rows = [
        {"kind": kind, "seed": seed} | shape(part, floor=FLOOR, near=NEAR)
        for (kind, seed), part in table.groupby(["kind", "seed"], sort=False)
    ]
    return pd.DataFrame(rows)


def find(table: pd.DataFrame) -> Finding:
    """Whether the wide network's floor is larger and lower, in every seed."""
    found = shapes(table)
    many, few = (found[found["kind"] == kind.name].set_index("seed") for kind in KINDS)
    wider = many["floor"] >= WIDER * few["floor"]
    deeper = few["lowest"] >= DEEPER * many["lowest"]
    held = wider & deeper
    params = table.groupby("kind")["params"].first()
    sizes = [_count(params[kind.name]) for kind in KINDS]
    images = table.get("images", pd.Series([EXAMPLES])).iloc[0]
    of = f"of {table['curved'].iloc[0]} images " if "curved" in table else ""
    random = "millions" if params.max() > 1e6 else "thousands"
    said = "agree" if many["near"].mean() < few["near"].mean() else "do not show it"
    return Finding(
        showed=bool(held.all()),
        criterion=f"in every seed the floor of the wide network (less than {FLOOR} nats above its "
        f"lowest place) is {WIDER:.0f} times as large as that of the narrow one or larger, and its "
        f"lowest loss {DEEPER:.0f} times as small or smaller",
        text=(
            f"With {sizes[0]} parameters {many['wrong'].mean():.1%} of {_count(images)} "
            f"images stay wrong and the lowest loss is {many['lowest'].mean():.4f} nats; with "
            f"{sizes[1]} they are {few['wrong'].mean():.1%} and {few['lowest'].mean():.3f}.",
            f"The floor takes {many['floor'].mean() / 4:.1%} of the wide network's slice and "
            f"{few['floor'].mean() / 4:.2%} of the narrow one's (one place of the grid is "
            f"{1 / table['a'].nunique() ** 2:.2%}); both hold in {int(held.sum())} of "
            f"{len(held)} seeds.",
            f"Up to {NEAR} from the minimum {many['near'].mean():.0%} of the wide slice curves "
            f"upwards in all directions and {few['near'].mean():.0%} of the narrow one; on all of "
            f"it {many['far'].mean():.0%} and {few['far'].mean():.0%}. The lecture has few "
            f"parameters as the locally convex ones: these slices {said}. In the whole Hessian "
            f"{of}at the minimum the most negative eigenvalue that Lanczos finds is at most "
            f"{many['saddle'].max():.2%} of the greatest with many, {few['saddle'].max():.2%} with "
            "few.",
            f"Two random directions of {random} show no valley: that minima are connected, or flat "
            "in p - n directions, no such picture can show. And a narrow network averages "
            "random changes over fewer units, so its slice is steeper whatever its minimum.",
        ),
        numbers={
            "floor, many": float(many["floor"].mean()),
            "floor, few": float(few["floor"].mean()),
            "lowest, many": float(many["lowest"].mean()),
            "lowest, few": float(few["lowest"].mean()),
            "convex, many": float(many["far"].mean()),
            "convex, few": float(few["far"].mean()),
            "share": float(held.mean()),
        },
    )


def _count(number: int) -> str:
    """Digits in threes from five digits on."""
    return f"{number:,}" if number >= 10_000 else str(number)


def draw(table: pd.DataFrame) -> Figure:
    """Both slices of the first seed in one scale, and the loss along one direction in all."""
    with house_style():
        figure = Figure(figsize=(12.5, 4.1), layout="constrained")
        *maps, right = figure.subplots(1, 3)
        first = table[table["seed"] == table["seed"].min()]
        highest = float(first["loss"].max())
        norm = LogNorm(1e-2, min(max(1.0, highest), CEILING))
        for axes, kind in zip(maps, KINDS, strict=True):
            _draw_map(axes, first[first["kind"] == kind.name], norm)
        extend = "max" if highest > CEILING else "neither"
        bar = figure.colorbar(ScalarMappable(norm, SIZES), ax=maps, extend=extend)
        bar.ax.set_title("nats", fontsize=9)
        _draw_lines(right, table)
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _draw_map(axes: Axes, part: pd.DataFrame, norm: LogNorm) -> None:
    heights = part.pivot_table(index="b", columns="a", values="loss").sort_index()
    loss = heights.to_numpy(dtype=np.float64)
    levels = np.geomspace(float(norm.vmin or 1e-2), float(norm.vmax or 1.0), 19)
    place = (heights.columns.to_numpy(), heights.index.to_numpy())
    axes.contourf(*place, loss.clip(levels[0], levels[-1]), levels, norm=norm, cmap=SIZES)
    if np.ptp(loss) > FLOOR:
        axes.contour(*place, loss, [loss.min() + FLOOR], colors="white", linewidths=1.8)
    axes.plot(0.0, 0.0, "+", color="white", ms=9)
    axes.set_title(f"{part['kind'].iloc[0]}: {_count(part['params'].iloc[0])}")
    axes.set(xlabel="first direction, lengths of the weights", aspect="equal")
    axes.set(ylabel="second direction", xticks=(-1, 0, 1), yticks=(-1, 0, 1))


def _draw_lines(axes: Axes, table: pd.DataFrame) -> None:
    middle = table[table["b"].abs() < 1e-9]
    for kind in KINDS:
        rows = middle[middle["kind"] == kind.name]
        seed_lines(axes, rows, "a", "loss", colour=kind.colour, label=kind.name)
    axes.set(
        yscale="log", xlabel="first direction", ylabel="training loss, nats", xticks=(-1, 0, 1)
    )
    axes.set_ylim(bottom=max(1e-6, float(middle["loss"].min())) / 10.0)
    if middle["loss"].max() > CEILING:
        axes.set_ylim(top=CEILING)
    axes.set_title("through the minimum, all seeds")
    axes.legend(frameon=False, loc="lower center")


STUDY = Study(
    title="A plane through a minimum (white: 0.1 nats above its lowest place)",
    sources=("Li et al. 2018, arXiv:1712.09913", "the lecture on over-parameterised models"),
    bears_on="Why large models are easy to train to their loss, and what a picture of it can show.",
    seeds=5,
    run=run,
    find=find,
    draw=draw,
    full="ResNet-56 without shortcuts, once and four times as wide, on CIFAR-10, for a large GPU",
    data="cifar-10-binary.tar.gz",
)
