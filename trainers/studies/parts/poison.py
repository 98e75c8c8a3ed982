"""Poisoned training on CIFAR-10, as Huang et al. 2020 do it (arXiv:1906.03291).

    table = minima(ask, seen, Poison(), matched=2e-3)

A half of the training images is clean, and of the other half networks learn what each image is not.
The objective of a batch is the mean of -log p over its clean images and of -log (1 - p) over its
poison, p the probability of the true class; the poison factor is poison's share of the batch. What
the text leaves out is as in the code that they published (wronnyhuang/gen-viz, folder svhn): SGD
with momentum, the rate cut by ten three times, no weight decay, no augmentation, and the halves.
The factor is that code's default; for SVHN they give 0.35. An epoch shows every clean image once.

Chosen here: ResNet-18 as in tools/cnn.py, where their code builds a narrower one of 20 layers;
clean networks without any of the other half, where theirs have 1 % of it in every batch; the loss
at which minima are compared; and how they are measured.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from trainers.studies.tools.cnn import drawn, resnet18, standardised
from trainers.studies.tools.descent import rows
from trainers.studies.tools.images import Pictures
from trainers.studies.tools.sharp import known, length, noisy, sharpness, shown, walk
from trainers.study import Ask

Pair = tuple[Tensor, Tensor]
"""Images and their classes."""
APART = 10_000
"""Between the seeds of what orders clean images and poison."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Poison:
    """Networks, their training, and how their minima are measured.

    Attributes:
        width: of ResNet-18.
        factor: poison's share of a batch.
        batch: images a step.
        rate: of learning at first; a tenth, a hundredth and a thousandth of it after the `cuts`.
        cuts: in shares of all steps.
        momentum: of SGD.
        epochs: over the clean images.
        every: steps between two looks at the clean loss.
        images: of the clean ones, on which curvature is measured.
        probes: of Hutchinson's trace.
        lanczos: steps for the top eigenvalue.
        noise: of the filters, in shares of their length.
        draws: of noise.
    """

    width: int = 64
    factor: float = 0.95
    batch: int = 256
    rate: float = 0.1
    cuts: tuple[float, ...] = (0.4, 0.6, 0.8)
    momentum: float = 0.9
    epochs: int = 256
    every: int = 100
    images: int = 500
    probes: int = 40
    lanczos: int = 25
    noise: float = 0.3
    draws: int = 20

    def at(self, step: int, steps: int) -> float:
        """The rate of this step, counted from 0."""
        return float(self.rate * 0.1 ** sum(step >= cut * steps for cut in self.cuts))


def minima(ask: Ask, seen: Pictures, setting: Poison, *, matched: float) -> pd.DataFrame:
    """For each seed and kind a row where the clean loss first falls to `matched`, and at the end.

    Columns seed, kind ("clean", "poisoned"), part ("matched", "end"), step (0 where the loss was
    never reached, and the network is the one at the end), factor, loss, train, test (share right),
    norm, noisy, top, trace and trace_error.
    """
    images, tests = (one.to(ask.device) for one in standardised(seen.train, seen.test))
    labels, answers = (one.to(ask.device) for one in (seen.train_labels, seen.test_labels))
    found = []
    for seed in ask.seeds:
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
        clean, poison = ((images[part], labels[part]) for part in order.to(ask.device).chunk(2))
        for kind in ("clean", "poisoned"):
            bad = poison if kind == "poisoned" else None
            tell = partial(_tell, ask, f"seed {seed}, {kind}")
            head = {"seed": seed, "kind": kind, "factor": setting.factor}
            rows = _run(seed, clean, bad, (tests, answers), setting, matched, tell)
            found += [head | row for row in rows]
    return pd.DataFrame(found)


def _run(
    seed: int,
    clean: Pair,
    poison: Pair | None,
    held: Pair,
    setting: Poison,
    matched: float,
    tell: Callable[[int, int], None],
) -> Iterator[dict[str, Any]]:
    """One network, from its start to its end."""
    network = drawn(partial(resnet18, setting.width), seed).to(clean[0].device)
    batch = min(setting.batch, len(clean[0]))
    if poison is None:
        losses = shown(network, *clean, batch=batch, seed=seed)
    else:
        losses = poisoned(network, clean, poison, setting, seed=seed)
        batch -= int(setting.factor * batch)
    steps = len(clean[0]) // batch * setting.epochs
    for part, step in _parts(network, losses, steps, clean, setting, matched, tell):
        yield {"part": part, "step": step} | _measured(network, clean, held, setting, seed)


def poisoned(
    network: nn.Module, clean: Pair, poison: Pair, setting: Poison, *, seed: int
) -> Iterator[Tensor]:
    """The objective of each step, where the network stands when it is asked for."""
    batch = min(setting.batch, len(clean[0]))
    bad = int(setting.factor * batch)
    draws = [torch.Generator().manual_seed(seed + shift) for shift in (0, APART)]
    orders = (rows(len(clean[0]), batch - bad, draws[0]), rows(len(poison[0]), bad, draws[1]))
    for chosen in zip(*orders, strict=False):  # neither ends
        good, other = (one.to(clean[0].device) for one in chosen)
        seen = torch.cat([clean[0][good], poison[0][other]])
        outputs = network(seen)
        true = torch.cat([clean[1][good], poison[1][other]])
        yield objective(outputs, true, len(good))


def objective(outputs: Tensor, labels: Tensor, good: int) -> Tensor:
    """Mean of -log p over the first `good` images and of -log (1 - p) over the others.

    Args:
        outputs: shape (images, classes).
        labels: the true classes, shape (images,).
        good: how many are clean.
    """
    logs = outputs.log_softmax(1)
    true = logs.gather(1, labels[:, None])[:, 0]
    # 1 - p as the sum of the other classes: exact where p is next to 1
    mask = torch.zeros_like(logs, dtype=torch.bool).scatter(1, labels[:, None], value=True)
    others = logs.masked_fill(mask, -torch.inf).logsumexp(1)
    return -torch.cat([true[:good], others[good:]]).mean()


def _parts(
    network: nn.Module,
    losses: Iterator[Tensor],
    steps: int,
    clean: Pair,
    setting: Poison,
    matched: float,
    tell: Callable[[int, int], None],
) -> Iterator[tuple[str, int]]:
    """Train; say which part the network stands at, and its step, whenever one is reached."""
    arrived, stops = False, sorted({*range(setting.every, steps, setting.every), steps})
    on_the_way = walk(
        network,
        losses,
        rate=partial(setting.at, steps=steps),
        stops=stops,
        momentum=setting.momentum,
    )
    for number, step in enumerate(on_the_way, 1):
        if number % 10 == 0 or step == steps:
            tell(step, steps)
        there = not arrived and known(network, *clean)[0] <= matched
        if there or (step == steps and not arrived):
            yield "matched", step if there else 0
            arrived = True
        if step == steps:
            yield "end", step


def _tell(ask: Ask, who: str, step: int, steps: int) -> None:
    ask.tell(f"{who}, step {step} of {steps}")


def _measured(
    network: nn.Module, clean: Pair, held: Pair, setting: Poison, seed: int
) -> dict[str, float]:
    """What is known of both sets, and the shape of the clean loss."""
    loss, wrong = known(network, *clean)
    some = (clean[0][: setting.images], clean[1][: setting.images])
    return {
        "loss": loss,
        "train": 1.0 - wrong,
        "test": 1.0 - known(network, *held)[1],
        "norm": length(network),
        "noisy": noisy(network, *clean, share=setting.noise, draws=setting.draws, seed=seed),
        **sharpness(network, *some, probes=setting.probes, steps=setting.lanczos),
    }
