"""Grokking and flatness: what has understood against what has learned by heart.

The quadratic network of the study grokking (Gromov 2023, arXiv:2301.02679) is trained on sums
modulo 31, with and without weight decay, and on the same pairs with their sums shuffled, which can
only be learned by heart. Along the way stand trace and top eigenvalue of the Hessian of the
training loss, and a measure that scales of weights do not move: by how much the loss rises if each
filter gets noise of a tenth of its own length (Li et al. 2018, arXiv:1712.09913).

First, sums with and without decay were looked at, on two seeds. The shuffled sums came after that:
they have the same decay. Nothing else was tried.

The full form is modulo 113, the prime of Nanda et al. 2023 (arXiv:2301.05217), with 256 units and a
fifth of the pairs shown; all else is the same. Of it one seed was looked at, sums and shuffled ones
at decay 1/2, for accuracy and not for curvature.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional

from scalefit.figures.style import FRONTIER, QUIET, house_style
from trainers.studies.tools import modular
from trainers.studies.tools.curvature import top_eigenvalues, trace
from trainers.studies.tools.directions import filter_directions
from trainers.studies.tools.lines import seed_lines
from trainers.studies.tools.mlp import Networks
from trainers.studies.tools.modular import Quadratic, Replica
from trainers.study import Ask, Finding, Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The prime, the width, and the share of pairs that is shown."""

    prime: int
    hidden: int
    share: float


SMALL = Setting(prime=31, hidden=128, share=0.5)
LARGE = Setting(prime=113, hidden=256, share=0.2)
LOOKS = (0, 40, 60, 80, 120, 200, 300, 500, 800, 1200, 2000)
NOISE, DRAWS, PROBES, LANCZOS = 0.1, 5, 20, 25
FLATTER = ("trace", "top", "rise")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What is learned, and at which weight decay."""

    name: str
    decay: float
    shuffled: bool
    colour: str


SUMS = Arm(name="sums, decay 1/2", decay=0.5, shuffled=False, colour=FRONTIER)
SHUFFLED = Arm(name="shuffled sums, decay 1/2", decay=0.5, shuffled=True, colour=QUIET)
PLAIN = Arm(name="sums, no decay", decay=0.0, shuffled=False, colour="#2c7fb8")
ARMS = (SUMS, SHUFFLED, PLAIN)


def run(ask: Ask) -> pd.DataFrame:
    """By look: columns seed, arm, step, loss, train, test, norm and what `_look` measures."""
    pairs = [(arm, seed) for arm in ARMS for seed in ask.seeds]
    seeds = [seed for _, seed in pairs]
    setting = LARGE if ask.full else SMALL
    shown, other = modular.split(setting.prime, setting.share, seeds)
    both = zip(shown, pairs, strict=True)
    sums = [_sums(rows, arm, setting.prime, seed) for rows, (arm, seed) in both]
    labelled = torch.cat([shown, torch.stack(sums)[..., None]], dim=-1).to(ask.device)
    replicas, other = [Replica(seed=s, decay=arm.decay) for arm, s in pairs], other.to(ask.device)
    start, found = _to(modular.draw_quadratic(setting.prime, setting.hidden, seeds), ask.device), []
    runs = pd.DataFrame({"seed": seeds, "arm": [arm.name for arm, _ in pairs]})
    every = int(np.gcd.reduce(LOOKS))
    for step, networks in modular.walk(
        start, replicas, labelled, steps=LOOKS[-1], every=every, loss=loss
    ):
        if step in LOOKS:
            values = _look(networks, labelled, seeds) | {"test": modular.accuracy(networks, other)}
            table = pd.DataFrame({name: value.cpu().numpy() for name, value in values.items()})
            found.append(pd.concat([runs.assign(step=step), table], axis=1))
            ask.tell(f"{step} of {LOOKS[-1]} steps")
    return pd.concat(found, ignore_index=True)


def _to(networks: Quadratic, device: torch.device | str) -> Quadratic:
    """The same networks there."""
    return replace(networks, into=networks.into.to(device), out=networks.out.to(device))


def _sums(pairs: Tensor, arm: Arm, prime: int, seed: int) -> Tensor:
    """What is to be learned of each pair, shape (pairs,)."""
    sums = modular.answers(pairs, prime)
    if not arm.shuffled:
        return sums
    return sums[torch.from_numpy(np.random.default_rng((seed, 1)).permutation(len(sums)))]


def loss(networks: Quadratic, labelled: Tensor) -> Tensor:
    """Squared error against a 1 at the label, the third of each row; shape (replicas,)."""
    off = networks(labelled[..., :2]) - functional.one_hot(labelled[..., 2], networks.prime)
    return off.square().mean((1, 2))


def _look(networks: Quadratic, labelled: Tensor, seeds: list[int]) -> dict[str, Tensor]:
    """Loss, accuracy, norm, and how curved the loss is, shape (replicas,) each."""

    def of(parameters: tuple[Tensor, ...]) -> Tensor:
        into, out = parameters
        return loss(replace(networks, into=into, out=out), labelled)

    here = of(networks.parameters)
    mean, error = trace(of, networks.parameters, probes=PROBES)
    right = networks(labelled[..., :2]).argmax(-1) == labelled[..., 2]
    return {
        "loss": here,
        "train": right.double().mean(1),
        "norm": modular.norm(networks.parameters),
        "trace": mean,
        "trace_error": error,
        "top": top_eigenvalues(of, networks.parameters, steps=LANCZOS)[:, 0],
        "rise": torch.stack([of(noisy) for noisy in _noisy(networks, seeds)]).mean(0) - here,
    }


def _noisy(networks: Quadratic, seeds: list[int]) -> list[tuple[Tensor, ...]]:
    """Parameters with noise on each filter, of `NOISE` times its own length."""
    # it is a perceptron on indicators of both summands; directions are drawn on the CPU
    weights, device = _to(networks, "cpu").parameters, networks.into.device
    own = Networks(seeds=tuple(seeds), weights=weights, biases=(), activation=torch.square)
    drawn = [filter_directions(own, draw) for draw in range(DRAWS)]
    return [
        tuple((w + NOISE * noise).to(device) for w, noise in zip(weights, direction, strict=True))
        for direction in drawn
    ]


def compare(table: pd.DataFrame) -> pd.DataFrame:
    """By seed, of trace, top and rise: ratios of the sums that are understood.

    Columns *_shuffled and *_plain: to the other arms, at the end; *_matched: to the shuffled sums
    at their final loss (read between two looks, on a logarithmic scale); *_fit: of the end to the
    first look with 99 % of the shown right (NaN: none); *_peak: of the end to the highest look
    from there on; test_matched: test accuracy at that loss.
    """
    return pd.DataFrame([_compared(seed, rows) for seed, rows in table.groupby("seed")])


def _compared(seed: object, rows: pd.DataFrame) -> dict[str, object]:
    mine, other, plain = (rows[rows["arm"] == arm.name].sort_values("step") for arm in ARMS)
    fitted = mine[mine["train"] >= modular.FITTED]
    found: dict[str, object] = {"seed": seed}
    for name in FLATTER:
        last, theirs = mine[name].iloc[-1], other[name].iloc[-1]
        found[f"{name}_shuffled"] = last / theirs
        found[f"{name}_plain"] = last / plain[name].iloc[-1]
        found[f"{name}_matched"] = _at(mine, other["loss"].iloc[-1], name) / theirs
        found[f"{name}_fit"] = last / fitted[name].iloc[0] if len(fitted) else np.nan
        found[f"{name}_peak"] = last / fitted[name].max()
    found["test_matched"] = _at(mine, other["loss"].iloc[-1], "test")
    return found


def _at(rows: pd.DataFrame, loss: float, name: str) -> float:
    """A column where the loss was this, before it fell further; the end if it never was."""
    falling = rows.sort_values("loss")
    return float(np.interp(np.log(loss), np.log(falling["loss"]), falling[name]))


def find(table: pd.DataFrame) -> Finding:
    """Whether what has understood is flatter by all measures than what could not understand."""
    found = compare(table)
    last = table[table["step"] == table["step"].max()].sort_values("seed")
    ends = {arm: last[last["arm"] == arm.name] for arm in ARMS}
    understood = ends[SUMS]["test"].to_numpy() >= modular.UNDERSTOOD
    flat = (found[[f"{name}_shuffled" for name in FLATTER]] < 1).all(axis=1).to_numpy()
    middle = found.median(numeric_only=True)
    by_heart = ends[SHUFFLED]["train"].mean()
    known = "" if by_heart >= modular.FITTED else f", of which {by_heart:.0%} are known"
    losses = {arm: f"{end['loss'].median():.1e}" for arm, end in ends.items()}
    return Finding(
        showed=bool((flat & understood).mean() >= 0.8),
        criterion="at the end 95 % of the other pairs are right, and trace, top eigenvalue and the "
        "rise of the loss under noise are all lower than for shuffled sums learned as long at the "
        "same decay; in four seeds of five",
        text=(
            f"At the end {ends[SUMS]['test'].mean():.1%} of the other pairs are right, and the "
            f"loss is curved {_times(middle, 'shuffled')} of what it is for shuffled sums{known} "
            f"(medians over seeds); all three are lower in {int(flat.sum())} of {len(flat)} seeds. "
            f"Against sums without decay, of which {ends[PLAIN]['test'].mean():.1%} of the others "
            f"are right, the factors are {_times(middle, 'plain')}.",
            f"The losses there are {losses[SUMS]}, {losses[SHUFFLED]} (shuffled) and "
            f"{losses[PLAIN]} (no decay). At the final loss of the shuffled sums, when "
            f"{middle['test_matched']:.0%} of the others are right, the factors are "
            f"{_times(middle, 'matched')}.",
            f"Within a run, from the first look at which the shown pairs are fitted to the end the "
            f"factors are {_times(middle, 'fit')}; a network that has just fitted is in no minimum "
            f"yet. From the highest look after fitting they are {_times(middle, 'peak')}.",
            "The curvature of a squared error does not vanish with the loss, but grows with the "
            "weights; their norm is in the table. Whether flatness helps to understand is not "
            "asked here.",
        ),
        numbers={str(name): float(value) for name, value in middle.items() if name != "seed"},
    )


def _times(middle: "pd.Series[float]", against: str) -> str:
    """The three factors in words."""
    values = [middle[f"{name}_{against}"] for name in FLATTER]
    if any(np.isnan(values)):
        return "not known (nothing was fitted)"
    first, second, third = (f"{value:.2f}" for value in values)
    return f"{first} (trace), {second} (top eigenvalue) and {third} times (rise under noise)"


def draw(table: pd.DataFrame) -> Figure:
    """Accuracy on other pairs, loss and both measures by step, the arms in colours."""
    panels = {
        "test": "share of other pairs that are right",
        "loss": "training loss",
        "trace": "trace of the Hessian",
        "rise": f"rise of the loss at {NOISE:.0%} noise",
    }
    rows = table[table["step"] > 0]  # the axis is logarithmic
    with house_style():
        figure = Figure(figsize=(13.0, 3.8), layout="constrained")
        for axes, (name, said) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
            for arm in ARMS:
                of = rows[rows["arm"] == arm.name]
                seed_lines(axes, of, "step", name, colour=arm.colour, label=arm.name)
            axes.set(xscale="log", xlabel="steps of AdamW, full batch", title=said)
            axes.title.set_fontsize(10)
            if name == "loss":
                axes.set_yscale("log")
            else:
                axes.set_ylim(0, None)
        handles, names = axes.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


STUDY = Study(
    title="Is what has understood flatter than what has learned by heart?",
    sources=(
        "Gromov 2023, arXiv:2301.02679",
        "Li et al. 2018, arXiv:1712.09913",
        "Hutchinson 1989, Communications in Statistics 18:1059",
    ),
    bears_on="Why one training loss may stand for two test losses: what the training loss does not "
    "tell, the shape around it may.",
    seeds=5,
    run=run,
    find=find,
    draw=draw,
    full="the same modulo 113, with 256 units and a fifth of the pairs",
)
