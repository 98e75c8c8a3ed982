"""Grokking: a network fits all it was shown, and long after that understands the rest.

A network of one layer with squared activations learns addition modulo 31 from half of all pairs
(Gromov 2023, arXiv:2301.02679; grokking: Power et al. 2022, arXiv:2201.02177). It knows these by
heart after some dozen steps, while the others are guessed worse than by chance; hundreds of steps
later it has them all. Without weight decay, or with a fifth of the pairs, it only memorises.

The weight decay of 1/2 was chosen after 1 was seen to leave a delay of 4 to 7 times, which is the
second arm; 3/10 leaves one of 19 to 32 times.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F  # noqa: N812 - so called everywhere
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from scalefit.figures.style import FRONTIER, QUIET, house_style
from trainers.optim import AdamW
from trainers.studies.tools.lines import seed_lines
from trainers.study import Ask, Finding, Study

PRIME, HIDDEN, RATE, EVERY = 31, 128, 5e-3, 20
STEPS = 2000
FITTED, UNDERSTOOD = 0.99, 0.95
LATER, GUESSED = 5.0, 0.1
"""How many times as many steps understanding takes, and what is known of the rest before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A setting: the share of pairs that is shown, and the weight decay."""

    name: str
    share: float
    decay: float


ARMS = (
    Arm(name="half of the pairs, decay 1/2", share=0.5, decay=0.5),
    Arm(name="half of the pairs, decay 1", share=0.5, decay=1.0),
    Arm(name="half of the pairs, no decay", share=0.5, decay=0.0),
    Arm(name="a fifth of the pairs, decay 1/2", share=0.2, decay=0.5),
)


def run(ask: Ask) -> pd.DataFrame:
    """Accuracy by step, columns seed, arm, step, train, test, norm (of all weights, from 1)."""
    return pd.concat([_trained(arm, list(ask.seeds)) for arm in ARMS], ignore_index=True)


def _trained(arm: Arm, seeds: list[int]) -> pd.DataFrame:
    """All seeds of an arm as one batched network."""
    shown, hidden = _split(arm.share, seeds)
    weights = _weights(seeds)
    optimiser = AdamW({"all": weights}, {"all": [RATE] * len(seeds)})
    optimiser.aim(1.0)
    first, rows = _norm(weights), list[pd.DataFrame]()
    for step in range(STEPS + 1):
        if step % EVERY == 0:
            found = {
                "seed": seeds,
                "arm": arm.name,
                "step": step,
                "train": _accuracy(weights, shown),
                "test": _accuracy(weights, hidden),
                "norm": (_norm(weights) / first).numpy(),
            }
            rows.append(pd.DataFrame(found))
        # the mean over examples, summed over seeds: each seed's gradient is its own
        off = _outputs(weights, shown) - F.one_hot(shown.sum(-1) % PRIME, PRIME)
        torch.autograd.backward(off.square().mean((1, 2)).sum())
        with torch.no_grad():
            for weight in weights:
                weight.mul_(1.0 - RATE * arm.decay)
        optimiser.step()
    return pd.concat(rows, ignore_index=True)


def _split(share: float, seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Pairs that are shown and pairs that are not, (seeds, pairs, 2) each."""
    pairs = torch.cartesian_prod(torch.arange(PRIME), torch.arange(PRIME))
    count = int(share * len(pairs))
    orders = [np.random.default_rng(seed).permutation(len(pairs)) for seed in seeds]
    both = torch.stack([pairs[torch.from_numpy(order)] for order in orders])
    return both[:, :count], both[:, count:]


def _weights(seeds: Sequence[int]) -> list[nn.Parameter]:
    """Rows for both summands (seeds, 2 * prime, hidden), and the way out (seeds, hidden, prime)."""

    def normal(rows: int, columns: int, std: float) -> nn.Parameter:
        draws = [torch.Generator().manual_seed(seed) for seed in seeds]
        return nn.Parameter(
            std * torch.stack([torch.randn(rows, columns, generator=draw) for draw in draws])
        )

    return [normal(2 * PRIME, HIDDEN, 0.25), normal(HIDDEN, PRIME, HIDDEN**-0.5)]


def _outputs(weights: Sequence[Tensor], pairs: Tensor) -> Tensor:
    """One number a residue (seeds, pairs, prime)."""
    into, out = weights
    places = (pairs + torch.tensor([0, PRIME])).flatten(1)
    rows = into.gather(1, places[..., None].expand(-1, -1, HIDDEN))
    return rows.view(*pairs.shape, HIDDEN).sum(2).square().bmm(out)


@torch.no_grad()
def _accuracy(weights: Sequence[Tensor], pairs: Tensor) -> np.ndarray:
    right = _outputs(weights, pairs).argmax(-1) == pairs.sum(-1) % PRIME
    return right.double().mean(1).numpy()


@torch.no_grad()
def _norm(weights: Sequence[Tensor]) -> Tensor:
    return torch.stack([weight.square().sum((1, 2)) for weight in weights]).sum(0).sqrt()


def delays(table: pd.DataFrame) -> pd.DataFrame:
    """By arm and seed: steps to fit and to understand (NaN: never), and test accuracy then."""
    rows = []
    for (arm, seed), part in table.groupby(["arm", "seed"], sort=False):
        fitted = part["step"][part["train"] >= FITTED].min()
        understood = part["step"][part["test"] >= UNDERSTOOD].min()
        before = part["test"][part["step"] == fitted].mean()
        last = part["test"].iloc[-1]
        rows.append((arm, seed, fitted, understood, before, last))
    return pd.DataFrame(rows, columns=["arm", "seed", "fitted", "understood", "before", "last"])


def find(table: pd.DataFrame) -> Finding:
    """Whether understanding comes much later than fitting, in four seeds of five."""
    found = delays(table)
    arms = {arm.name: found[found["arm"] == arm.name] for arm in ARMS}
    main, fast, plain, few = arms.values()
    ratio = main["understood"] / main["fitted"]
    sooner = fast["understood"] / fast["fitted"]
    late = (ratio >= LATER) & (main["before"] <= GUESSED)
    return Finding(
        showed=bool(late.mean() >= 0.8),
        criterion=f"95 % of the other pairs are right {LATER:.0f} times as many steps after the "
        f"start as 99 % of the shown ones, of which 10 % at most were then known; in four seeds of "
        "five",
        text=(
            f"The shown pairs are fitted after {_span(main['fitted'])} steps, when "
            f"{main['before'].mean():.1%} of the others are right (chance: {1 / PRIME:.1%}); these "
            f"follow after {_span(main['understood'])}, "
            f"{ratio.median():.1f} times as late, in {int(late.sum())} of {len(main)} seeds.",
            f"With twice the weight decay they follow {sooner.median():.1f} times as late: how "
            "long it takes is set by the decay.",
            f"Without weight decay {plain['last'].mean():.1%} of the others are right after "
            f"{STEPS} steps, and with a fifth of the pairs {few['last'].mean():.1%}: memorised, "
            "not understood, in this time.",
            "Nothing is claimed of the weights' norm, which is in the table: that it falls after "
            "memorising is said of transformers.",
        ),
        numbers={
            "ratio": float(ratio.median()),
            "ratio at decay 1": float(sooner.median()),
            "before": float(main["before"].mean()),
            "no decay": float(plain["last"].mean()),
            "a fifth": float(few["last"].mean()),
        },
    )


def _span(steps: "pd.Series[float]") -> str:
    ends = dict.fromkeys(f"{end:.0f}" for end in (steps.min(), steps.max()))
    return " to ".join(ends)


def draw(table: pd.DataFrame) -> Figure:
    """Accuracy on shown and other pairs by step, a panel an arm."""
    with house_style():
        figure = Figure(figsize=(12.5, 3.6), layout="constrained")
        panels = figure.subplots(1, len(ARMS), sharey=True)
        for axes, arm in zip(panels, ARMS, strict=True):
            _draw_arm(axes, table[table["arm"] == arm.name])
            axes.set_title(arm.name, fontsize=10)
        panels[0].set_ylabel("share of pairs that are right")
        panels[-1].legend(frameon=False, fontsize=9, loc="center right")
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


def _draw_arm(axes: Axes, rows: pd.DataFrame) -> None:
    rows = rows[rows["step"] > 0]  # the axis is logarithmic
    for name, colour, label in (("train", QUIET, "shown"), ("test", FRONTIER, "not shown")):
        seed_lines(axes, rows, "step", name, colour=colour, label=label, lw=2.0)
    axes.axhline(1 / PRIME, color="0.6", lw=0.8, ls=":")
    axes.set(xscale="log", xlabel="steps of AdamW, full batch")


STUDY = Study(
    title="Grokking: fitted at once, understood much later",
    sources=("Gromov 2023, arXiv:2301.02679", "Power et al. 2022, arXiv:2201.02177"),
    bears_on="Why a loss that has stopped to fall may fall again: where one run groks and another "
    "does not yet, no smooth law of D holds.",
    seeds=5,
    run=run,
    find=find,
    draw=draw,
)
