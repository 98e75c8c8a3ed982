"""Over-confidence: development cross-entropy rises while accuracy does not fall.

Cross-entropy also asks how sure the answers are. A network that has all its training images right
goes on lowering their loss by being surer, of its mistakes on other images too; dividing the
outputs by one temperature takes that back (Guo et al. 2017, arXiv:1706.04599). Where labels are
wrong, errors rise as well, and no temperature helps.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from scalefit.figures.style import FRONTIER, QUIET, house_style
from trainers.studies.tools.digits import mislabel, stacked
from trainers.studies.tools.mlp import Networks, cross_entropy, draw_networks, train, wrong
from trainers.study import Ask, Finding, Study

CLEAN, NOISY = "all labels right", "a fifth of the labels wrong"
WRONG = {CLEAN: 0.0, NOISY: 0.2}
WIDTH, EXAMPLES, HELD = 64, 200, 800
STEPS, LR = 2000, 1e-2
AT = np.unique(np.geomspace(1, STEPS, 40).round().astype(int))
TEMPERATURES = torch.from_numpy(np.geomspace(0.5, 32.0, 30)).float()
RISE, LOSES = 1.1, 0.005
"""Cross-entropy rises by a tenth; accuracy counts as fallen from half a point on."""


def run(ask: Ask) -> pd.DataFrame:
    """Losses and errors by step.

    Columns seed, labels, step, train_loss, train_error, loss, error, confidence, tempered: the last
    four are of development images; confidence is the mean of the largest probability, and tempered
    the loss at the temperature that is best for these very images, so a lower bound.
    """
    return pd.concat([_trained(ask.seeds, name) for name in WRONG], ignore_index=True)


def _trained(seeds: Sequence[int], name: str) -> pd.DataFrame:
    inputs, labels, held, answers = _data(seeds, WRONG[name])

    def measure(networks: Networks) -> dict[str, Tensor]:
        outputs, own = networks(held), networks(inputs)
        tempered = [cross_entropy(outputs / one, answers) for one in TEMPERATURES]
        return {
            "train_loss": cross_entropy(own, labels),
            "train_error": wrong(own, labels),
            "loss": cross_entropy(outputs, answers),
            "error": wrong(outputs, answers),
            "confidence": outputs.softmax(-1).amax(-1).mean(-1),
            "tempered": torch.stack(tempered).amin(0),
        }

    _, history = train(
        draw_networks(seeds, (inputs.shape[-1], WIDTH, 10)),
        inputs,
        labels,
        loss=cross_entropy,
        steps=STEPS,
        lr=LR,
        measure=measure,
        at=set(AT.tolist()),
    )
    history.insert(1, "labels", name)
    return history


def _data(seeds: Sequence[int], share: float) -> tuple[Tensor, ...]:
    """Training images, labels, development images, labels, each with a leading axis of seeds."""
    images, labels = stacked(seeds)
    own = [
        mislabel(row[:EXAMPLES].numpy(), share, np.random.default_rng(seed))
        for seed, row in zip(seeds, labels, strict=True)
    ]
    learned = torch.from_numpy(np.stack(own))
    return images[:, :EXAMPLES], learned, images[:, -HELD:], labels[:, -HELD:]


def outcomes(table: pd.DataFrame) -> pd.DataFrame:
    """From the lowest development loss to the end, a row a run.

    Columns labels, seed, step (of the lowest), low, end, low_error, end_error, low_tempered,
    end_tempered, accuracy, confidence (both of the end).
    """
    rows = [
        {"labels": labels, "seed": seed} | _outcome(run)
        for (labels, seed), run in table.groupby(["labels", "seed"])
    ]
    return pd.DataFrame(rows)


def _outcome(run: pd.DataFrame) -> dict[str, float]:
    low, end = (
        run.iloc[int(at.argmax())] for at in (-run["loss"].to_numpy(), run["step"].to_numpy())
    )
    return {
        "step": low["step"],
        "low": low["loss"],
        "end": end["loss"],
        "low_error": low["error"],
        "end_error": end["error"],
        "low_tempered": low["tempered"],
        "end_tempered": end["tempered"],
        "accuracy": 1.0 - end["error"],
        "confidence": end["confidence"],
    }


def surer(table: pd.DataFrame) -> tuple[float, float]:
    """Mean training loss of the clean arm where no training image is wrong: first, and at last."""
    right = table[(table["labels"] == CLEAN) & (table["train_error"] == 0.0)]
    losses = right.sort_values("step").groupby("seed")["train_loss"]
    return float(losses.first().mean()), float(losses.last().mean())


def find(table: pd.DataFrame) -> Finding:
    """Whether cross-entropy rose in every seed of the clean arm, and errors did not on average."""
    found = outcomes(table)
    clean, noisy = (found[found["labels"] == name] for name in (CLEAN, NOISY))
    rose = clean["end"] > RISE * clean["low"]
    more = clean["end_error"] - clean["low_error"]
    mean, other = clean.mean(numeric_only=True), noisy.mean(numeric_only=True)
    first, last = surer(table)
    return Finding(
        showed=bool(rose.all()) and float(more.mean()) <= LOSES,
        criterion="with all labels right, development cross-entropy ends a tenth above its lowest "
        "in every seed, and the mean share of errors grows by half a point at most",
        text=(
            f"With {CLEAN} it rose in {rose.sum()} of {len(rose)} seeds, from {mean['low']:.3f} "
            f"(about step {mean['step']:.0f}) to {mean['end']:.3f} on average, while the share of "
            f"errors went from {mean['low_error']:.3f} to {mean['end_error']:.3f}; it grew by more "
            f"than half a point in {(more > LOSES).sum()}.",
            f"At the end the answers claim {mean['confidence']:.3f} and {mean['accuracy']:.3f} of "
            f"them are right. At the best temperature the loss is {mean['end_tempered']:.3f}, and "
            f"was {mean['low_tempered']:.3f} at the lowest: the rise is over-confidence.",
            f"Training loss falls from {first:.4f}, when the last error is gone, to {last:.6f}: "
            "all of it by being surer.",
            f"With {NOISY} it is another thing: loss {other['low']:.3f} to {other['end']:.3f}, "
            f"errors {other['low_error']:.3f} to {other['end_error']:.3f}, and at the best "
            f"temperature still {other['end_tempered']:.3f}.",
            "The temperature is chosen on the images it is judged by, so it flatters a little.",
        ),
        numbers={f"clean_{name}": float(mean[name]) for name in mean.index if name != "seed"}
        | {f"noisy_{name}": float(other[name]) for name in other.index if name != "seed"},
    )


def draw(table: pd.DataFrame) -> Figure:
    """Losses above, errors below, an arm a column; means over seeds."""
    with house_style():
        figure = Figure(figsize=(9.6, 5.6), layout="constrained")
        grid = figure.subplots(2, len(WRONG), sharex=True, sharey="row")
        for (above, below), (name, rows) in zip(
            zip(*grid, strict=True), table.groupby("labels", sort=False), strict=True
        ):
            mean = rows.groupby("step").mean(numeric_only=True)
            above.plot(mean.index, mean["loss"], color=FRONTIER, lw=2.0, label="development")
            tempered = {"color": FRONTIER, "ls": "--", "lw": 1.4}
            above.plot(mean.index, mean["tempered"], **tempered, label="at the best temperature")
            above.plot(mean.index, mean["train_loss"], color=QUIET, lw=1.6, label="training")
            below.plot(mean.index, mean["error"], color=FRONTIER, lw=2.0)
            below.plot(mean.index, mean["train_error"], color=QUIET, lw=1.6)
            above.set_title(name, fontsize=10)
            below.set(xscale="log", xlabel="step", ylim=(0, None))
            below.xaxis.set_major_formatter("{x:g}")
        grid[0, 0].set_ylabel("cross-entropy, nats")
        grid[1, 0].set_ylabel("share of errors")
        grid[0, 0].legend(frameon=False, loc="upper right")
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


STUDY = Study(
    title="Cross-entropy rises where accuracy does not fall: over-confidence",
    sources=("Guo et al. 2017, arXiv:1706.04599", "the lecture on overfitting: loss or accuracy?"),
    bears_on="Why a law of the loss is not a law of the errors, once data are seen many times.",
    seeds=8,
    run=run,
    find=find,
    draw=draw,
)
