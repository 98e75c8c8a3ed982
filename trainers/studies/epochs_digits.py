"""Epochs on digits: a trained network learns, then memorises; no second descent is seen.

A fully connected network on digits with wrong training labels, full batch. Three stages in time
have been told of: generalisation, memorisation, and a second fall of the test error (Nakkiran et
al. 2019, arXiv:1912.02292; Heckel & Yilmaz 2020, arXiv:2007.10099). This one shows the first two
within its budget. The study epochs shows all three, in a linear model.
"""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from scalefit.figures.style import FRONTIER, QUIET, house_style
from trainers.studies.epochs import FALL, RISE
from trainers.studies.tools.digits import CLASSES, PIXELS, mislabel, shuffled
from trainers.studies.tools.lines import seed_lines
from trainers.studies.tools.mlp import Networks, draw_networks, squared, train, wrong
from trainers.study import Ask, Finding, Study

EXAMPLES, WIDTH, WRONG, STEPS, LR = 300, 96, 0.3, 2000, 5e-3
DECAYS = (0.0, 0.5)
STOPS = tuple(int(step) for step in np.unique(np.geomspace(1, STEPS, 60).round()))


def run(ask: Ask) -> pd.DataFrame:
    """Shares of images given a class other than their label, by weight decay and step.

    Columns seed, step and decay; test (true labels); right and mislabelled, of the training images
    whose label is true and wrong; loss, the squared test error.
    """
    data = [_data(seed) for seed in ask.seeds]
    inputs, given, true, tests, answers = (torch.stack(part) for part in zip(*data, strict=True))
    classes = torch.eye(CLASSES)

    def measure(networks: Networks) -> dict[str, Tensor]:
        unseen, missed = networks(tests), networks(inputs).argmax(-1) != given
        return {
            "test": wrong(unseen, answers),
            "loss": squared(unseen, classes[answers]),
            "right": _share(missed, given == true),
            "mislabelled": _share(missed, given != true),
        }

    start = draw_networks(ask.seeds, (PIXELS, WIDTH, CLASSES))
    learn = partial(train, start, inputs, classes[given], loss=squared, steps=STEPS, lr=LR)
    return pd.concat(
        [learn(decay=one, measure=measure, at=STOPS)[1].assign(decay=one) for one in DECAYS],
        ignore_index=True,
    )


def _data(seed: int) -> tuple[Tensor, ...]:
    """Training images, labels given and true; test images and their labels."""
    images, labels = shuffled(seed)
    given = mislabel(labels[:EXAMPLES], WRONG, np.random.default_rng(seed))
    inputs, true = torch.tensor(images, dtype=torch.float32), torch.tensor(labels)
    seen, unseen = slice(EXAMPLES), slice(EXAMPLES, None)
    return inputs[seen], torch.tensor(given), true[seen], inputs[unseen], true[unseen]


def _share(missed: Tensor, chosen: Tensor) -> Tensor:
    return (missed & chosen).double().sum(1) / chosen.sum(1)


def stages(table: pd.DataFrame) -> pd.DataFrame:
    """For each decay and seed: the first minimum of the test error, the peak after it, the end."""
    groups = table.groupby(["decay", "seed"])
    return pd.DataFrame([_stage(decay, seed, rows) for (decay, seed), rows in groups])


def _stage(decay: object, seed: object, rows: pd.DataFrame) -> dict[str, Any]:
    error, steps = rows["test"].to_numpy(), rows["step"].to_numpy()
    first = int(error.argmin())
    peak = first + int(error[first:].argmax())
    rises = error[peak] > RISE * error[first]
    return {
        "decay": decay,
        "seed": seed,
        "first": error[first],
        "first_step": steps[first],
        "peak": error[peak],
        "end": error[-1],
        "memorised": rows["mislabelled"].iloc[-1] < 0.1,
        "rises": rises,
        "twice": rises and error[peak:].min() < FALL * error[peak],
    }


def find(table: pd.DataFrame) -> Finding:
    """Whether the test error falls a second time, after it has risen."""
    found = stages(table)
    plain, decayed = (found[found["decay"] == decay] for decay in DECAYS)
    at_first = table.merge(
        plain, left_on=["decay", "seed", "step"], right_on=["decay", "seed", "first_step"]
    )
    return Finding(
        showed=bool(plain["twice"].mean() >= 0.8),
        criterion="test error rises 5 % above its first minimum and then falls 5 % below the peak, "
        "in four seeds of five, without weight decay",
        text=(
            f"Two stages of three: the test error falls to {plain['first'].mean():.3f} at step "
            f"{plain['first_step'].median():.0f}, where {at_first['right'].mean():.3f} of the "
            f"rightly labelled and {at_first['mislabelled'].mean():.3f} of the wrongly labelled "
            "training images are not fitted, and then rises to "
            f"{plain['peak'].mean():.3f} as the wrong labels are memorised (means; nine tenths of "
            f"them or more in {plain['memorised'].sum()} of {len(plain)} seeds).",
            f"It rises in {plain['rises'].sum()} of {len(plain)} seeds; a second descent comes in "
            f"{plain['twice'].sum()}: the error ends at {plain['end'].mean():.3f}. The published "
            "third stage is not reproduced at this size and number of steps.",
            f"Weight decay {DECAYS[1]:g} lowers the peak to {decayed['peak'].mean():.3f} and "
            f"brings a second descent in {decayed['twice'].sum()} of {len(decayed)} seeds "
            f"(end {decayed['end'].mean():.3f}).",
            "It may not be concluded that no network descends twice: the published ones are far "
            "larger and train for far longer.",
        ),
        numbers={
            "twice": float(plain["twice"].mean()),
            "first": float(plain["first"].mean()),
            "peak": float(plain["peak"].mean()),
            "end": float(plain["end"].mean()),
            "decayed_peak": float(decayed["peak"].mean()),
            "decayed_end": float(decayed["end"].mean()),
        },
    )


def draw(table: pd.DataFrame) -> Figure:
    """Left: test error by step. Right: training labels that are not fitted, right and wrong."""
    with house_style():
        figure = Figure(figsize=(9.6, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        for decay, colour in zip(DECAYS, (FRONTIER, QUIET), strict=True):
            rows = table[table["decay"] == decay]
            label = f"weight decay {decay:g}" if decay else "no weight decay"
            seed_lines(left, rows, "step", "test", colour=colour, label=label)
        plain = table[table["decay"] == DECAYS[0]]
        seed_lines(right, plain, "step", "right", colour=QUIET, label="true labels")
        seed_lines(right, plain, "step", "mislabelled", colour=FRONTIER, label="wrong labels")
        left.set(ylabel="share of test images wrong")
        right.set(ylabel="share of training labels not fitted")
        for axes in (left, right):
            axes.set(xscale="log", xlabel="steps of Adam, full batch", ylim=(0, None))
            axes.legend(frameon=False)
        figure.suptitle(STUDY.title, fontsize=11)
    return figure


STUDY = Study(
    title="Digits with wrong labels: learnt, then memorised, and no second descent",
    sources=("Nakkiran et al. 2019, arXiv:1912.02292", "Heckel & Yilmaz 2020, arXiv:2007.10099"),
    bears_on="Why a loss must be read where training stops being useful: past that, more steps on "
    "the same data cost money and raise the loss.",
    seeds=5,
    run=run,
    find=find,
    draw=draw,
)
