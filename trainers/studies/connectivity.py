"""Mode connectivity: between two minima the straight way is high, and a bent one is flat.

Two networks, from two starts and fitted to the same digits, are joined by a straight line and by a
quadratic Bezier curve whose control point is trained (Garipov et al. 2018, arXiv:1802.10026;
Draxler et al. 2018, arXiv:1803.00885). Loss and accuracy are measured along both.

The control point takes 1000 steps; 400, tried first, left up to .007 to .024 nats on the bend.

The full form is Garipov et al.'s on CIFAR-10: VGG-16 without batch norm, ends and bend by SGD with
momentum, at the rates, epochs and 61 places of the code that they published. Chosen here: the loss
is measured on images as they are, and without the term for the weights that is in the losses of
their tables; batches are in another order at the second end; the criterion is that of the digits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from scalefit.figures.style import FRONTIER, QUIET, house_style
from trainers.studies.tools import cnn, plain
from trainers.studies.tools.curvature import Loss
from trainers.studies.tools.digits import stacked
from trainers.studies.tools.directions import Curve, Parameters, along, bend, line, train_bend
from trainers.studies.tools.images import pictures
from trainers.studies.tools.lines import seed_lines
from trainers.studies.tools.mlp import (
    Networks,
    cross_entropy,
    draw_networks,
    train,
    with_parameters,
    wrong,
)
from trainers.studies.tools.words import span
from trainers.study import Ask, Finding, Study

SIZES, EXAMPLES = (64, 64, 64, 10), 600
STEPS, RATE = 300, 3e-3
BEND_STEPS, BEND_RATE = 1000, 3e-3
PLACES = 41
STRAIGHT, BENT = "straight", "bent"
BARRIER, FLAT = 10.0, 0.1
"""The straight way rises to this many times the ends and the bend to this share of that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """Garipov et al. 2018, CIFAR-10, VGG-16, a Bezier curve with one control point.

    Attributes:
        width: channels of the first convolution.
        ends: how both networks are trained.
        bend: how the control point is.
        weight: of half the squared length of the parameters on the bend, in its loss.
        places: where both ways are measured.
    """

    width: int = 64
    ends: plain.Recipe = plain.GARIPOV
    bend: plain.Recipe = plain.GARIPOV_BEND
    weight: float = 5e-4
    places: int = 61


PAPER = Paper()


def run(ask: Ask) -> pd.DataFrame:
    """What stands along both ways, columns seed, way, place (0 to 1), loss, train, test.

    The loss is that of the training images, in nats; train and test are shares of wrong images.
    """
    seeds = list(ask.seeds)
    if ask.full:
        seen = pictures(ask.data, "cifar10")
        parts = (seen.train, seen.train_labels, seen.test, seen.test_labels)
        data = tuple(one.to(ask.device) for one in parts)
        return pd.concat([_paper(ask, seed, PAPER, *data) for seed in seeds], ignore_index=True)
    shown, labels, held, answers = _data(seeds)
    one, other = (_minimum(seeds, shown, labels, start) for start in (0, 1))

    def outputs(parameters: Parameters, inputs: Tensor) -> Tensor:
        return with_parameters(one, parameters)(inputs)

    measures: dict[str, Loss] = {
        "loss": lambda at: cross_entropy(outputs(at, shown), labels),
        "train": lambda at: wrong(outputs(at, shown), labels),
        "test": lambda at: wrong(outputs(at, held), answers),
    }
    ends = (one.parameters, other.parameters)
    control = train_bend(*ends, measures["loss"], steps=BEND_STEPS, lr=BEND_RATE)
    ways = {STRAIGHT: line(*ends), BENT: bend(ends[0], control, ends[1])}
    tables = [_walked(way, curve, measures, seeds) for way, curve in ways.items()]
    return pd.concat(tables, ignore_index=True)


def _data(seeds: Sequence[int]) -> tuple[Tensor, ...]:
    """Images and labels that are shown and that are held back, an order of the digits a seed."""
    images, labels = stacked(seeds)
    return images[:, :EXAMPLES], labels[:, :EXAMPLES], images[:, EXAMPLES:], labels[:, EXAMPLES:]


def _minimum(seeds: Sequence[int], shown: Tensor, labels: Tensor, start: int) -> Networks:
    """Trained networks; seeds of odd and even numbers give a pair apart."""
    networks = draw_networks([2 * seed + start for seed in seeds], SIZES)
    found, _ = train(networks, shown, labels, loss=cross_entropy, steps=STEPS, lr=RATE)
    return found


def _walked(
    way: str, curve: Curve, measures: dict[str, Loss], seeds: Sequence[int]
) -> pd.DataFrame:
    """All measures along one way."""
    places = torch.linspace(0.0, 1.0, PLACES)
    found = {name: along(curve, measure, places).numpy() for name, measure in measures.items()}
    tables = [
        pd.DataFrame(
            {"seed": seed, "way": way, "place": np.linspace(0.0, 1.0, PLACES)}
            | {name: values[:, replica] for name, values in found.items()}
        )
        for replica, seed in enumerate(seeds)
    ]
    return pd.concat(tables, ignore_index=True)


def _paper(
    ask: Ask, seed: int, paper: Paper, shown: Tensor, labels: Tensor, held: Tensor, answers: Tensor
) -> pd.DataFrame:
    """Both ways between one pair of networks."""

    def end(start: int) -> nn.Module:
        own = 2 * seed + start
        return plain.trained(
            cnn.drawn(partial(plain.vgg16, paper.width), own).to(ask.device),
            (shown, labels),
            recipe=paper.ends,
            seed=own,
            tell=lambda what: ask.tell(f"seed {seed}, end {start + 1} of 2, {what}"),
        )

    def measures(at: Parameters) -> Tensor:
        seen = plain.measured(network, at, shown, labels)
        return torch.cat([seen, plain.measured(network, at, held, answers)])

    network, other = end(0), end(1)
    ends = (plain.parameters(network), plain.parameters(other))
    control = plain.bent(
        network,
        ends,
        (shown, labels),
        recipe=paper.bend,
        weight=paper.weight,
        seed=seed,
        tell=lambda what: ask.tell(f"seed {seed}, bend, {what}"),
    )
    tables, places = [], np.linspace(0.0, 1.0, paper.places)
    for way, curve in ((STRAIGHT, line(*ends)), (BENT, bend(ends[0], control, ends[1]))):
        ask.tell(f"seed {seed}, along the {way} way")
        loss, train, _, test = along(curve, measures, torch.tensor(places)).T.cpu().numpy()
        rows = {"place": places, "loss": loss, "train": train, "test": test}
        tables.append(pd.DataFrame({"seed": seed, "way": way} | rows))
    return pd.concat(tables)


def barriers(table: pd.DataFrame) -> pd.DataFrame:
    """By seed: the greatest loss of the ends and of both ways, and the most wrong on each."""
    ends = table[table["place"].isin((0.0, 1.0))].groupby("seed")[["loss", "test"]].max()
    most = table.pivot_table(index="seed", columns="way", values=["loss", "test"], aggfunc="max")
    most.columns = most.columns.map("{0[1]} {0[0]}".format)
    return most.join(ends.add_prefix("ends "))


def find(table: pd.DataFrame) -> Finding:
    """Whether the straight way has a barrier and the bend has none, in every seed."""
    found = barriers(table)
    straight, bent, ends = (found[f"{name} loss"] for name in (STRAIGHT, BENT, "ends"))
    barrier, flat = straight >= BARRIER * ends, bent <= FLAT * straight
    joined = barrier & flat
    tests = {name: 1.0 - float(found[f"{name} test"].max()) for name in (STRAIGHT, BENT, "ends")}
    return Finding(
        showed=bool(joined.all()),
        criterion=f"the greatest loss on the straight way is {BARRIER:.0f} times that of the ends "
        "or more, and the greatest on the bend a tenth of that at most, in every seed",
        text=(
            f"At the ends the training loss is {ends.mean():.4f} nats; on the straight way it "
            f"rises to {span(straight, '.2g')}, on the trained bend to {span(bent, '.2g')} "
            f"(greatest of {table['place'].nunique()} places, by seed). So it is in "
            f"{int(joined.sum())} of {len(found)} seeds.",
            f"Over all seeds the lowest test accuracy is {tests['ends']:.1%} at an end, "
            f"{tests[STRAIGHT]:.1%} on the straight way and {tests[BENT]:.1%} on the bend.",
            "That two minima can be joined by a low curve does not say that all can, nor how "
            "wide the way is. The straight barrier also holds what a mere renaming of hidden units "
            "makes: that was not taken out.",
        ),
        numbers={
            "straight": float(straight.mean()),
            "bent": float(bent.mean()),
            "ends": float(ends.mean()),
            "share": float(joined.mean()),
        },
    )


def draw(table: pd.DataFrame) -> Figure:
    """Loss and test accuracy along both ways."""
    with house_style():
        figure = Figure(figsize=(9.6, 4.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        accurate = table.assign(right=100.0 * (1.0 - table["test"]))
        _draw(left, table, "loss")
        _draw(right, accurate, "right")
        left.set(yscale="log", ylabel="training loss, nats")
        right.set(ylabel="test images that are right, %")
        left.legend(frameon=False, loc="center")
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _draw(axes: Axes, table: pd.DataFrame, name: str) -> None:
    for way, colour in ((STRAIGHT, QUIET), (BENT, FRONTIER)):
        label = f"{way} way" if way == STRAIGHT else "trained Bezier bend"
        seed_lines(axes, table[table["way"] == way], "place", name, colour=colour, label=label)
    axes.set(xlim=(0.0, 1.0), xlabel="place between the two minima")


STUDY = Study(
    title="Two minima: a barrier on the straight way, none on a bend",
    sources=("Garipov et al. 2018, arXiv:1802.10026", "Draxler et al. 2018, arXiv:1803.00885"),
    bears_on="Why runs that differ in their seed end at one loss: their minima join at that loss.",
    seeds=5,
    run=run,
    find=find,
    draw=draw,
    full="VGG-16 on CIFAR-10, two networks for 200 epochs and a bend for 600 (Garipov et al.)",
    data="cifar-10-binary.tar.gz",
)
