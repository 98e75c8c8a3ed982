"""Lottery tickets: few weights learn as well as all of them, if they begin where they began.

Of a trained network the smallest weights are left out, the others go back to their first values,
and it is trained again, round after round (Frankle & Carbin 2019, arXiv:1803.03635). Such tickets
are held against the same weights drawn anew, and against as many weights chosen at random, on the
digits. Where to stop and when 90 % are right is read on a development part; accuracy is that on the
test part. All replicas see the same batches. Before, 400 steps and 9 rounds were looked at, for two
of the seeds: the same showed, and with 1.3 % of the weights the others fell behind further.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter
from torch import Tensor

from scalefit.figures.style import FRONTIER, QUIET, house_style
from trainers.studies.tools.digits import stacked
from trainers.studies.tools.images import pictures
from trainers.studies.tools.lines import seed_lines
from trainers.studies.tools.masks import at_random, by_magnitude, joined, kept, masked, whole
from trainers.studies.tools.mlp import Networks, cross_entropy, draw_networks, train, wrong
from trainers.studies.tools.words import span
from trainers.study import Ask, Finding, Study

TICKET, ANEW, RANDOM = "ticket", "drawn anew", "chosen at random"
COLOURS = {TICKET: FRONTIER, ANEW: "#2a788e", RANDOM: QUIET}
ARMS = tuple(COLOURS)
APART = 10_000
"""Between the seed of a network and those of what is drawn anew or chosen at random."""
SPARSE, RIGHT, LOSS = 0.035, 0.9, 0.01
"""What counts as few weights; the accuracy that is waited for; what a ticket may lose."""
NEVER, TICKS = 1.12, (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Where in the figure that stands which never comes, in trainings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Networks and their training by Adam, measured every so many steps.

    Of the weights that are left the share `cut` goes in a round; half of it in the last layer.
    """

    sizes: tuple[int, ...]
    cut: float
    rounds: int
    steps: int
    every: int
    lr: float = 1.2e-3
    batch: int = 60

    @property
    def cuts(self) -> tuple[float, ...]:
        """What goes in a round, one a layer."""
        return (self.cut,) * (len(self.sizes) - 2) + (self.cut / 2.0,)


DIGITS = Setting(sizes=(64, 300, 100, 10), cut=0.4, rounds=8, steps=500, every=20)
MNIST = Setting(sizes=(784, 300, 100, 10), cut=0.2, rounds=20, steps=50_000, every=100)
HELD = 5000
"""Development images of MNIST."""

Parts = tuple[tuple[Tensor, Tensor], ...]
"""Images and labels to train on, to stop by and to test on; each may have a replica axis."""


def run(ask: Ask) -> pd.DataFrame:
    """All arms on their way, at every share of weights.

    Columns seed, arm, kept (share of the weights), step, loss (nats) and right (share) on the
    development part, test (share of the test part that is right).
    """
    setting, parts = (MNIST, _mnist(ask)) if ask.full else (DIGITS, _digits(ask.seeds))
    seeds, rows = np.array(ask.seeds), list[pd.DataFrame]()
    first = _drawn(setting, seeds.tolist(), ask.device)
    anew = _drawn(setting, (seeds + APART).tolist(), ask.device)
    masks = whole(first.weights)
    for turn in range(setting.rounds + 1):
        share = float(kept(masks)[0].sum() / kept(whole(masks))[0].sum())
        ask.tell(f"round {turn} of {setting.rounds}, with {share:.1%} of the weights")
        chosen = at_random(masks, (seeds + 2 * APART).tolist())
        replicas = joined(masked(first, masks), masked(anew, masks), masked(first, chosen))
        trained, history = _trained(setting, replicas, parts)
        rows.append(_named(history, seeds).assign(kept=share))
        masks = by_magnitude([one[: len(seeds)] for one in trained.weights], masks, setting.cuts)
    return pd.concat(rows, ignore_index=True)


def _drawn(setting: Setting, seeds: Sequence[int], device: str) -> Networks:
    """Networks at their start: normal weights, deviation sqrt(2 / (inputs + outputs)) (Glorot)."""
    drawn = draw_networks(seeds, setting.sizes, gain=1.0)
    scale = [(2.0 * a / (a + b)) ** 0.5 for a, b in pairwise(setting.sizes)]
    weights = tuple((w * s).to(device) for w, s in zip(drawn.weights, scale, strict=True))
    return replace(drawn, weights=weights, biases=tuple(one.to(device) for one in drawn.biases))


def _trained(setting: Setting, replicas: Networks, parts: Parts) -> tuple[Networks, pd.DataFrame]:
    (inputs, labels), (held, answers), (test, truth) = parts

    def measure(networks: Networks) -> dict[str, Tensor]:
        outputs = networks(held)
        right = {"right": (outputs, answers), "test": (networks(test), truth)}
        found = {name: 1.0 - wrong(*pair).cpu() for name, pair in right.items()}
        return found | {"loss": cross_entropy(outputs, answers).cpu()}

    adam = partial(train, loss=cross_entropy, lr=setting.lr, batch=setting.batch, measure=measure)
    at = range(0, setting.steps + 1, setting.every)
    return adam(replicas, inputs, labels, steps=setting.steps, at=at)


def _named(history: pd.DataFrame, seeds: npt.NDArray[np.int_]) -> pd.DataFrame:
    """Arm and seed of each replica in place of its number."""
    arm, place = np.divmod(history["seed"].to_numpy(), len(seeds))
    return history.assign(seed=seeds[place], arm=np.array(ARMS)[arm])


def _digits(seeds: Sequence[int]) -> Parts:
    """600 images to train on, 400 to stop by, 797 to test on, cut anew for each seed."""
    inputs, classes = stacked(list(seeds) * len(ARMS))
    cuts = (slice(600), slice(600, 1000), slice(1000, None))
    return tuple((inputs[:, cut], classes[:, cut]) for cut in cuts)


def _mnist(ask: Ask) -> Parts:
    """55 000 images to train on, 5000 to stop by and 10 000 to test on, the same for all."""
    seen = pictures(ask.data, "mnist")
    inputs, labels = seen.train.flatten(1), seen.train_labels
    cuts = (inputs[:-HELD], labels[:-HELD]), (inputs[-HELD:], labels[-HELD:])
    both = (*cuts, (seen.test.flatten(1), seen.test_labels))
    return tuple((x.to(ask.device), y[None].to(ask.device)) for x, y in both)


def outcomes(table: pd.DataFrame) -> pd.DataFrame:
    """By seed, arm and share: test accuracy where the development loss is lowest, and how soon.

    Columns seed, arm, kept, test, stop (the step of the lowest loss), soon (the step at which 90 %
    of the development part is right; NaN: never).
    """
    keys = ["seed", "arm", "kept"]
    best = table.loc[table.groupby(keys)["loss"].idxmin()].set_index(keys)
    soon = table[table["right"] >= RIGHT].groupby(keys)["step"].min()
    found = best[["test"]].assign(stop=best["step"], soon=soon)
    return found.reset_index()


def _cells(found: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Test accuracy, and steps to 90 % (infinite: never), a row a seed and few weights, by arm."""
    few = found[found["kept"] <= max(SPARSE, found["kept"].min())].fillna({"soon": np.inf})
    both = (few.pivot_table(name, ["kept", "seed"], "arm") for name in ("test", "soon"))
    return next(both), next(both)


def find(table: pd.DataFrame) -> Finding:
    """Whether tickets of few weights beat both others in every seed, in half the steps."""
    found = outcomes(table)
    test, soon = _cells(found)
    better = (test[TICKET] > test[ANEW]) & (test[TICKET] > test[RANDOM])
    sooner = (soon[TICKET] <= soon[ANEW] / 2.0) & np.isfinite(soon[TICKET])
    mean = found.pivot_table("test", "kept", "arm")
    few, all_of_them = mean.iloc[0], mean[TICKET].iloc[-1]
    equal = mean.index[mean[TICKET] >= all_of_them - LOSS][0]
    start = table[(table["step"] == 0) & (table["arm"] == TICKET)].groupby("kept")["test"].mean()
    last = int((found["stop"] == table["step"].max()).sum())
    return Finding(
        showed=bool(better.all() and sooner.all()),
        criterion=f"with {SPARSE:.1%} of the weights or less, the ticket has the highest test "
        "accuracy in every seed, and gets 90 % right in half the steps of those drawn anew or less",
        text=(
            f"With {few.name:.1%} of the weights the ticket has {few[TICKET]:.3f} of the test "
            f"images right, the same weights drawn anew {few[ANEW]:.3f}, as many at random "
            f"{few[RANDOM]:.3f}; the whole network {all_of_them:.3f} (means). With few weights it "
            f"is the best of the three in {better.sum()} of {len(better)} cells (seed and share).",
            f"Steps until 90 % of the development part is right: {span(soon[TICKET])} (ticket), "
            f"{span(soon[ANEW])} (drawn anew); half as many or fewer in {sooner.sum()} of "
            f"{len(sooner)} cells.",
            f"Down to {equal:.1%} of the weights it loses at most {LOSS:.2f} against all of them.",
            "Where weights begin is not all: which ones stay was learned from these images. Before "
            f"any training {start.max():.0%} are right with {start.idxmax():.0%} of the weights, "
            "by their choice alone (Zhou et al. 2019, arXiv:1905.01067).",
            f"In {last} of {len(found)} trainings the development loss is lowest at the last step: "
            "longer ones may close a gap. Nothing is saved: finding a ticket takes the whole "
            "network. In larger ones the weights had to go back to a later step than the first "
            "(Frankle et al. 2019, arXiv:1903.01611).",
        ),
        numbers={arm: float(few[arm]) for arm in ARMS}
        | {"kept": float(str(few.name)), "all weights": float(all_of_them), "equal": float(equal)}
        | {"before training": float(start.max()), "better": float(better.mean())}
        | {"sooner": float(sooner.mean())},
    )


def draw(table: pd.DataFrame) -> Figure:
    """Left test accuracy by the share of weights, right the steps to 90 %, where it gets there."""
    found, last = outcomes(table), table["step"].max()
    with house_style():
        figure = Figure(figsize=(10.4, 4.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        for arm, colour in COLOURS.items():
            rows = found[found["arm"] == arm]
            seed_lines(left, rows, "kept", "test", colour=colour, label=arm, marker="o", ms=3.5)
            _steps(right, rows.fillna({"soon": NEVER * last}), colour)
        start = table[(table["step"] == 0) & (table["arm"] == TICKET)]
        label = "ticket, before training"
        seed_lines(left, start, "kept", "test", colour=FRONTIER, label=label, ls=":", lw=1.6)
        left.set(ylabel="test accuracy", ylim=(0.0, 1.0))
        left.legend(frameon=False, fontsize=9, loc="lower center")
        ticks = np.linspace(0.0, last, 6)
        right.set(ylabel=f"steps until {RIGHT:.0%} of the development part is right")
        right.set_yticks([*ticks, NEVER * last], [*(f"{tick:,.0f}" for tick in ticks), "never"])
        for axes in (left, right):
            axes.set(xscale="log", xlabel="share of the weights that is kept", xticks=TICKS)
            axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            axes.xaxis.set_minor_locator(NullLocator())
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _steps(axes: Axes, rows: pd.DataFrame, colour: str) -> None:
    """A point a seed, and a line through their medians."""
    axes.plot(rows["kept"], rows["soon"], "o", color=colour, ms=4, alpha=0.6, mew=0)
    median = rows.groupby("kept")["soon"].median()
    axes.plot(median.index, median, color=colour, lw=1.8)


STUDY = Study(
    title="Lottery tickets: few weights learn as well, if they begin where they began",
    sources=("Frankle & Carbin 2019, arXiv:1803.03635",),
    bears_on="What N counts: the weights that are needed to be found, or those needed to be kept.",
    seeds=3,
    run=run,
    find=find,
    draw=draw,
    full="LeNet-300-100 on MNIST, 21 trainings of 50 000 steps, a fifth of the weights less each",
    data="mnist.npz, as Keras stores it",
)
