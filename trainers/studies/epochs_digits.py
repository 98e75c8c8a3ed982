"""Epochs on digits: a trained network learns, then memorises; no second descent is seen.

A fully connected network on digits with wrong training labels, full batch. Three stages in time
have been told of: generalisation, memorisation, and a second fall of the test error (Nakkiran et
al. 2019, arXiv:1912.02292; Heckel & Yilmaz 2020, arXiv:2007.10099). This one shows the first two
within its budget. The study epochs shows all three, in a linear model. The full form is the
ResNet-18 of the first paper's figure 9 on CIFAR-10, where all three are reported.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from scalefit.figures.style import FRONTIER, QUIET, house_style
from trainers.studies.epochs import FALL, RISE
from trainers.studies.tools import cnn
from trainers.studies.tools.digits import CLASSES, PIXELS, mislabel, shuffled
from trainers.studies.tools.images import Pictures, pictures
from trainers.studies.tools.lines import seed_lines
from trainers.studies.tools.mlp import Networks, draw_networks, squared, train, wrong
from trainers.study import Ask, Finding, Study

EXAMPLES, WIDTH, WRONG, STEPS, LR = 300, 96, 0.3, 2000, 5e-3
DECAYS = (0.0, 0.5)


def stops(steps: int) -> tuple[int, ...]:
    """When it is measured: up to 60 times, at even distances on a logarithmic axis."""
    return tuple(int(step) for step in np.unique(np.geomspace(1, steps, 60).round()))


STOPS = stops(STEPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """Nakkiran et al. 2019, figure 9: batches of 128, every image moved and mirrored at random."""

    width: int = 64
    wrong: float = 0.2
    rate: float = 1e-4
    epochs: int = 4000


PAPER = Paper()


def run(ask: Ask) -> pd.DataFrame:
    """Shares of images given a class other than their label, by weight decay and step.

    Columns seed, step and decay; test (true labels); right and mislabelled, of the training images
    whose label is true and wrong; loss, the squared test error; images, "digits" or "cifar10". The
    full form has no decay but 0, and its loss is the cross-entropy.
    """
    if ask.full:
        seen = pictures(ask.data, "cifar10")
        return pd.DataFrame([row for seed in ask.seeds for row in _paper(ask, seen, seed, PAPER)])
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
    ).assign(images="digits")


def _paper(ask: Ask, seen: Pictures, seed: int, paper: Paper) -> Iterator[dict[str, Any]]:
    """A row a stop of one seed's network."""
    images, tests = (one.to(ask.device) for one in cnn.standardised(seen.train, seen.test))
    shown = mislabel(seen.train_labels.numpy(), paper.wrong, np.random.default_rng(seed))
    given, answers = torch.from_numpy(shown).to(ask.device), seen.test_labels.to(ask.device)
    true = given == seen.train_labels.to(ask.device)
    network = cnn.drawn(partial(cnn.resnet18, paper.width), seed).to(ask.device)
    recipe = cnn.Recipe(rate=paper.rate, adam=True, augmented=True)
    at = stops(paper.epochs * -(-len(images) // recipe.batch))
    for step in cnn.walk(network, images, given, recipe=recipe, stops=at, seed=seed):
        ask.tell(f"seed {seed}, step {step} of {at[-1]}")
        yield {"seed": seed, "step": step} | _measured(network, images, given, true, tests, answers)


def _measured(
    network: nn.Module, images: Tensor, given: Tensor, true: Tensor, tests: Tensor, answers: Tensor
) -> dict[str, Any]:
    unseen = cnn.outputs(network, tests)
    missed = (cnn.outputs(network, images).argmax(1) != given)[None]
    return {
        "test": float(wrong(unseen, answers)),
        "loss": float(cross_entropy(unseen, answers)),
        "right": float(_share(missed, true)[0]),
        "mislabelled": float(_share(missed, ~true)[0]),
        "decay": 0.0,
        "images": "cifar10",
    }


def _data(seed: int) -> tuple[Tensor, ...]:
    """Training images, labels given and true; test images and their labels."""
    images, labels = shuffled(seed)
    given = mislabel(labels[:EXAMPLES], WRONG, np.random.default_rng(seed))
    inputs, true = torch.tensor(images, dtype=torch.float32), torch.tensor(labels)
    seen, unseen = slice(EXAMPLES), slice(EXAMPLES, None)
    return inputs[seen], torch.tensor(given), true[seen], inputs[unseen], true[unseen]


def _share(missed: Tensor, chosen: Tensor) -> Tensor:
    return (missed & chosen).double().sum(-1) / chosen.sum(-1)


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
    showed = bool(plain["twice"].mean() >= 0.8)
    return Finding(
        showed=showed,
        criterion="test error rises 5 % above its first minimum and then falls 5 % below the peak, "
        "in four seeds of five, without weight decay",
        text=(
            f"{'Three stages' if showed else 'Two stages of three'}: the test error falls to "
            f"{plain['first'].mean():.3f} at step "
            f"{plain['first_step'].median():.0f}, where {at_first['right'].mean():.3f} of the "
            f"rightly labelled and {at_first['mislabelled'].mean():.3f} of the wrongly labelled "
            "training images are not fitted, and then rises to "
            f"{plain['peak'].mean():.3f} as the wrong labels are memorised (means; nine tenths of "
            f"them or more in {plain['memorised'].sum()} of {len(plain)} seeds).",
            f"It rises in {plain['rises'].sum()} of {len(plain)} seeds; a second descent comes in "
            f"{plain['twice'].sum()}: the error ends at {plain['end'].mean():.3f}."
            + (
                ""
                if showed
                else " The published third stage is not reproduced at this size and "
                "number of steps."
            ),
            *_with_decay(decayed),
            "It may not be concluded that "
            + (
                "every network descends twice: smaller ones, or shorter training, may not."
                if showed
                else "no network descends twice: the published ones are large and train for long."
            ),
        ),
        numbers={
            "twice": float(plain["twice"].mean()),
            **{name: float(plain[name].mean()) for name in ("first", "peak", "end")},
            **{
                f"decayed_{name}": float(decayed[name].mean())
                for name in ("peak", "end")
                if len(decayed)
            },
        },
    )


def _with_decay(decayed: pd.DataFrame) -> tuple[str, ...]:
    """What weight decay did, where there was any."""
    if decayed.empty:
        return ()
    return (
        f"Weight decay {DECAYS[1]:g} lowers the peak to {decayed['peak'].mean():.3f} and "
        f"brings a second descent in {decayed['twice'].sum()} of {len(decayed)} seeds "
        f"(end {decayed['end'].mean():.3f}).",
    )


def draw(table: pd.DataFrame) -> Figure:
    """Left: test error by step. Right: training labels that are not fitted, right and wrong."""
    small = table["images"].iloc[0] == "digits"
    title = STUDY.title if small else "ResNet-18 on CIFAR-10 with a fifth of the labels wrong"
    batch = "full batch" if small else "128 images each"
    with house_style():
        figure = Figure(figsize=(9.6, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        for decay, colour in zip(DECAYS, (FRONTIER, QUIET), strict=True):
            rows = table[table["decay"] == decay]
            if rows.empty:
                continue
            label = f"weight decay {decay:g}" if decay else "no weight decay"
            seed_lines(left, rows, "step", "test", colour=colour, label=label)
        plain = table[table["decay"] == DECAYS[0]]
        seed_lines(right, plain, "step", "right", colour=QUIET, label="true labels")
        seed_lines(right, plain, "step", "mislabelled", colour=FRONTIER, label="wrong labels")
        left.set(ylabel="share of test images wrong")
        right.set(ylabel="share of training labels not fitted")
        for axes in (left, right):
            axes.set(xscale="log", xlabel=f"steps of Adam, {batch}", ylim=(0, None))
            axes.legend(frameon=False)
        figure.suptitle(title, fontsize=11)
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
    full="the ResNet-18 of Nakkiran et al. on CIFAR-10, Adam for 4000 epochs, for a large GPU",
    data="cifar-10-binary.tar.gz",
)
