"""The loss around a minimum: a wide floor with many parameters, a narrow hole with few.

Around the minima of a wide and of a narrow network on the same digits, the training loss is cut by
a plane of two random directions, every filter of which is as long as the network's own (Li et al.
2018, arXiv:1712.09913): one unit on the axes is a change as large as the weights, in both. The
lecture's words are held against what is measured: interpolation against an error that is left, and
"locally convex" against non-convex.

Looked at before: ReLU networks, squared error, and hidden widths of 2 and 4. With squared error the
wide network has not the wider floor; and a narrow ReLU network may die, which is flat everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from torch import Tensor

from scalefit.figures.style import FRONTIER, QUIET, SIZES, house_style
from trainers.studies.tools.curvature import top_eigenvalues
from trainers.studies.tools.digits import shuffled
from trainers.studies.tools.directions import Parameters, along, filter_directions, plane
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A network and how long it is trained."""

    name: str
    sizes: tuple[int, ...]
    steps: int
    lr: float
    colour: str


KINDS = (
    Kind(name="many parameters", sizes=(64, 64, 64, 10), steps=400, lr=3e-3, colour=FRONTIER),
    Kind(name="few parameters", sizes=(64, 3, 3, 10), steps=2000, lr=1e-2, colour=QUIET),
)


def run(ask: Ask) -> pd.DataFrame:
    """Loss on the slice of both networks.

    Columns seed, kind, a, b (multiples of the two directions), loss (training, in nats); and, the
    same in all rows of a slice, params, wrong (share of training images at the centre), least and
    greatest (eigenvalues of the whole Hessian there).
    """
    return pd.concat([_cut(kind, list(ask.seeds)) for kind in KINDS], ignore_index=True)


def _cut(kind: Kind, seeds: Sequence[int]) -> pd.DataFrame:
    drawn = zip(*(shuffled(seed) for seed in seeds), strict=True)
    images, labels = (torch.from_numpy(np.stack(part))[:, :EXAMPLES] for part in drawn)
    images = images.float()
    start = draw_networks(seeds, kind.sizes, gain=1.0, activation=torch.tanh)
    trained, _ = train(start, images, labels, loss=cross_entropy, steps=kind.steps, lr=kind.lr)

    def loss(parameters: Parameters) -> Tensor:
        return cross_entropy(with_parameters(trained, parameters)(images), labels)

    side = torch.from_numpy(SIDE).float()
    places = torch.cartesian_prod(side, side)
    directions = [filter_directions(trained, number) for number in (0, 1)]
    losses = along(plane(trained.parameters, directions), loss, places)
    least = -top_eigenvalues(lambda at: -loss(at), trained.parameters)[:, 0]
    greatest = top_eigenvalues(loss, trained.parameters)[:, 0]
    missed = wrong(trained(images), labels)
    tables = [
        pd.DataFrame(
            {"seed": seed, "kind": kind.name, "params": trained.size}
            | {"a": np.repeat(SIDE, len(SIDE)), "b": np.tile(SIDE, len(SIDE))}
            | {"loss": losses[:, one].numpy(), "wrong": missed[one].item()}
            | {"least": least[one].item(), "greatest": greatest[one].item()}
        )
        for one, seed in enumerate(seeds)
    ]
    return pd.concat(tables, ignore_index=True)


def shapes(table: pd.DataFrame) -> pd.DataFrame:
    """By kind and seed, what the slice looks like.

    Columns kind, seed, lowest and highest (loss), floor (area of the slice, of 4, that lies on the
    floor), near and far (share of places where the slice curves upwards in all directions, by
    second differences, near the minimum and everywhere), wrong, saddle (-least / greatest).
    """
    rows = [
        {"kind": kind, "seed": seed} | _shape(part)
        for (kind, seed), part in table.groupby(["kind", "seed"], sort=False)
    ]
    return pd.DataFrame(rows)


def _shape(part: pd.DataFrame) -> dict[str, float]:
    heights = part.pivot_table(index="a", columns="b", values="loss").sort_index()
    loss, side = heights.to_numpy(dtype=np.float64), heights.index.to_numpy()
    convex = _convex(loss)
    inner = np.abs(side[1:-1]) <= NEAR
    first = part.iloc[0]
    return {
        "lowest": float(loss.min()),
        "highest": float(loss.max()),
        "floor": float((loss <= loss.min() + FLOOR).mean() * np.ptp(side) ** 2),
        "near": float(convex[np.ix_(inner, inner)].mean()),
        "far": float(convex.mean()),
        "wrong": float(first["wrong"]),
        "saddle": max(0.0, -float(first["least"])) / float(first["greatest"]),
    }


def _convex(loss: np.ndarray) -> np.ndarray:
    """Where both eigenvalues of the second differences are positive, without the rim."""
    middle = loss[1:-1, 1:-1]
    down = loss[2:, 1:-1] - 2.0 * middle + loss[:-2, 1:-1]
    across = loss[1:-1, 2:] - 2.0 * middle + loss[1:-1, :-2]
    mixed = (loss[2:, 2:] - loss[2:, :-2] - loss[:-2, 2:] + loss[:-2, :-2]) / 4.0
    positive: np.ndarray = (down + across > 0) & (down * across > mixed**2)
    return positive


def find(table: pd.DataFrame) -> Finding:
    """Whether the wide network's floor is larger and lower, in every seed."""
    found = shapes(table)
    many, few = (found[found["kind"] == kind.name].set_index("seed") for kind in KINDS)
    wider = many["floor"] >= WIDER * few["floor"]
    deeper = few["lowest"] >= DEEPER * many["lowest"]
    held = wider & deeper
    params = table.groupby("kind")["params"].first()
    said = "agree" if many["near"].mean() < few["near"].mean() else "do not show it"
    return Finding(
        showed=bool(held.all()),
        criterion=f"in every seed the floor of the wide network (less than {FLOOR} nats above its "
        f"lowest place) is {WIDER:.0f} times as large as that of the narrow one or larger, and its "
        f"lowest loss {DEEPER:.0f} times as small or smaller",
        text=(
            f"With {params[KINDS[0].name]} parameters {many['wrong'].mean():.1%} of {EXAMPLES} "
            f"images stay wrong and the lowest loss is {many['lowest'].mean():.4f} nats; with "
            f"{params[KINDS[1].name]} they are {few['wrong'].mean():.1%} and "
            f"{few['lowest'].mean():.3f}.",
            f"The floor takes {many['floor'].mean() / 4:.1%} of the wide network's slice and "
            f"{few['floor'].mean() / 4:.2%} of the narrow one's (one place of the grid is "
            f"{1 / len(SIDE) ** 2:.2%}); both hold in {int(held.sum())} of "
            f"{len(held)} seeds.",
            f"Up to {NEAR} from the minimum {many['near'].mean():.0%} of the wide slice curves "
            f"upwards in all directions and {few['near'].mean():.0%} of the narrow one; on all of "
            f"it {many['far'].mean():.0%} and {few['far'].mean():.0%}. The lecture has few "
            f"parameters as the locally convex ones: these slices {said}. In the whole Hessian at "
            f"the minimum the most negative eigenvalue that Lanczos finds is at most "
            f"{many['saddle'].max():.2%} of the greatest with many, {few['saddle'].max():.2%} with "
            "few.",
            "Two random directions of thousands show no valley: that minima are connected, or flat "
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


def draw(table: pd.DataFrame) -> Figure:
    """Both slices of the first seed in one scale, and the loss along one direction in all."""
    with house_style():
        figure = Figure(figsize=(12.5, 4.1), layout="constrained")
        *maps, right = figure.subplots(1, 3)
        first = table[table["seed"] == table["seed"].min()]
        norm = LogNorm(1e-2, max(1.0, float(first["loss"].max())))
        for axes, kind in zip(maps, KINDS, strict=True):
            _draw_map(axes, first[first["kind"] == kind.name], norm)
            axes.set_title(f"{kind.name}: {first['params'][first['kind'] == kind.name].iloc[0]}")
        figure.colorbar(ScalarMappable(norm, SIZES), ax=maps).ax.set_title("nats", fontsize=9)
        _draw_lines(right, table)
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _draw_map(axes: Axes, part: pd.DataFrame, norm: LogNorm) -> None:
    heights = part.pivot_table(index="b", columns="a", values="loss").sort_index()
    loss = heights.to_numpy(dtype=np.float64)
    levels = np.geomspace(float(norm.vmin or 1e-2), float(norm.vmax or 1.0), 19)
    place = (heights.columns.to_numpy(), heights.index.to_numpy())
    axes.contourf(*place, loss.clip(levels[0], levels[-1]), levels, norm=norm, cmap=SIZES)
    axes.contour(*place, loss, [loss.min() + FLOOR], colors="white", linewidths=1.8)
    axes.plot(0.0, 0.0, "+", color="white", ms=9)
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
)
