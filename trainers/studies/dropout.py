"""Training loss under dropout: what is logged is not the loss of the network that is kept.

Dropout (Srivastava et al. 2014, JMLR 15) is on while the training loss is computed and off for the
development loss. With dropout before a linear last layer the mean of the outputs over masks is the
output without it, and cross-entropy is convex, so by Jensen's inequality the logged loss is the
higher one. It can lie above the development loss, as if there were no overfitting.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from scalefit.figures.style import FRONTIER, QUIET, house_style
from trainers.studies.tools.digits import shuffled
from trainers.studies.tools.mlp import Networks, cross_entropy, draw_networks, train
from trainers.study import Ask, Finding, Study

RATES = (0.0, 0.2, 0.5)
WIDTH, EXAMPLES, HELD, BATCH = 64, 500, 800, 50
STEPS, EVERY, LR = 600, 20, 3e-3
LINES = {
    "train_mode": ("training, dropout on", QUIET, "-"),
    "eval_mode": ("training, dropout off", QUIET, "--"),
    "development": ("development, dropout off", FRONTIER, "-"),
}
MASKS = 8
"""Passes that the loss in training mode is averaged over."""


def run(ask: Ask) -> pd.DataFrame:
    """Three losses, columns seed, dropout, step, train_mode, eval_mode, development (nats).

    train_mode and eval_mode are of the same training images, with dropout and without.
    """
    inputs, labels, held, answers = _data(ask.seeds)
    return pd.concat([_trained(ask.seeds, rate, inputs, labels, held, answers) for rate in RATES])


def _data(seeds: Sequence[int]) -> tuple[Tensor, ...]:
    """Training images, labels, development images, labels, each with a leading axis of seeds."""
    drawn = [shuffled(seed) for seed in seeds]
    images = torch.from_numpy(np.stack([one for one, _ in drawn])).float()
    labels = torch.from_numpy(np.stack([one for _, one in drawn]))
    return images[:, :EXAMPLES], labels[:, :EXAMPLES], images[:, -HELD:], labels[:, -HELD:]


def _trained(
    seeds: Sequence[int],
    rate: float,
    inputs: Tensor,
    labels: Tensor,
    held: Tensor,
    answers: Tensor,
) -> pd.DataFrame:
    def measure(networks: Networks) -> dict[str, Tensor]:
        noisy = [cross_entropy(networks(inputs, dropout=rate), labels) for _ in range(MASKS)]
        return {
            "train_mode": torch.stack(noisy).mean(0),
            "eval_mode": cross_entropy(networks(inputs), labels),
            "development": cross_entropy(networks(held), answers),
        }

    with torch.random.fork_rng():
        torch.manual_seed(seeds[0])  # of the masks
        _, history = train(
            draw_networks(seeds, (inputs.shape[-1], WIDTH, 10)),
            inputs,
            labels,
            loss=cross_entropy,
            steps=STEPS,
            lr=LR,
            batch=BATCH,
            dropout=rate,
            measure=measure,
            at=range(0, STEPS + 1, EVERY),
        )
    history.insert(1, "dropout", rate)
    return history


def ends(table: pd.DataFrame) -> pd.DataFrame:
    """The last measurement of each run."""
    last: pd.DataFrame = table[table["step"] == table["step"].max()]
    return last


def find(table: pd.DataFrame) -> Finding:
    """Whether training mode has the higher loss wherever there is dropout, and only there."""
    last = ends(table)
    dropped = last[last["dropout"] > 0.0]
    higher = dropped["train_mode"] > dropped["eval_mode"]
    plain = table[table["dropout"] == 0.0]
    same = float((plain["train_mode"] - plain["eval_mode"]).abs().max())
    mean = last.groupby("dropout")[list(LINES)].mean()
    low, top = (mean.loc[rate].to_dict() for rate in RATES[1:])
    most = table[(table["dropout"] == RATES[-1]) & (table["step"] > 0)]
    fooled = most["train_mode"] > most["development"]
    honest = most["eval_mode"] > most["development"]
    return Finding(
        showed=bool(higher.all()) and same < 1e-6,
        criterion="at the end the training images have a higher loss with dropout on than off in "
        "every run that has dropout; without it the two are one",
        text=(
            f"It was higher in {higher.sum()} of {len(higher)} runs. At a rate of {RATES[-1]:g} "
            f"the training images end at {top['train_mode']:.3f} with dropout and "
            f"{top['eval_mode']:.3f} without, development images at {top['development']:.3f}; at "
            f"{RATES[1]:g}: {low['train_mode']:.3f}, {low['eval_mode']:.3f}, "
            f"{low['development']:.3f}.",
            f"At {RATES[-1]:g} the loss as logged lies above the development loss at "
            f"{fooled.mean():.0%} of the measurements; without dropout that is so at "
            f"{honest.mean():.0%}. The gap to be read is that of one mode.",
            "Development loss as such is not shown to gain or lose by dropout: that takes a "
            "comparison at the best length of training of each.",
        ),
        numbers={
            "train_mode": top["train_mode"],
            "eval_mode": top["eval_mode"],
            "development": top["development"],
            "fooled": float(fooled.mean()),
        },
    )


def draw(table: pd.DataFrame) -> Figure:
    """The three losses by step, a panel a rate; means over seeds."""
    with house_style():
        figure = Figure(figsize=(10.4, 3.9), layout="constrained")
        panels = figure.subplots(1, len(RATES), sharey=True)
        for axes, (rate, rows) in zip(panels, table.groupby("dropout"), strict=True):
            mean = rows.groupby("step")[list(LINES)].mean()
            for name, (said, colour, style) in LINES.items():
                axes.plot(mean.index, mean[name], color=colour, ls=style, lw=1.8, label=said)
            axes.set(yscale="log", xlabel="step")
            axes.set_title(f"dropout {rate:g}", fontsize=10)
        panels[0].set_ylabel("cross-entropy, nats")
        panels[0].yaxis.set_major_formatter("{x:g}")
        panels[-1].legend(frameon=False, loc="upper right")
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


STUDY = Study(
    title="The same images, with dropout and without",
    sources=("Srivastava et al. 2014, JMLR 15, 1929-1958", "the lecture on overfitting"),
    bears_on="Whether a training loss may stand in for L(N, D): not where dropout was on.",
    seeds=5,
    run=run,
    find=find,
    draw=draw,
)
