"""VGG-11 on CIFAR-10 by SGD without momentum, stopped at a training loss.

    table = arrivals(ask, VGG())

For Jastrzebski et al. 2017 (arXiv:1711.04623), whose VGG-11 has batch norm and is trained without
momentum and weight decay for 300 epochs. That is known from an account of a reproduction of their
figure 1; the paper's own lists of rates and batches were not at hand. So these are chosen here, as
are the target, the images on which curvature is measured and all else that `VGG` names. Images are
neither moved nor mirrored, so that there is one training loss to match; theirs, it says, were, and
45 000 of the 50 000.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn

from trainers.studies.tools.cnn import CLASSES, COLOURS, drawn, standardised
from trainers.studies.tools.images import pictures
from trainers.studies.tools.sharp import known, length, sharpness, shown, walk
from trainers.study import Ask

Pair = tuple[Tensor, Tensor]
"""Images and their classes."""
LAYERS = ((1, True), (2, True), (4, False), (4, True), (8, False), (8, True), (8, False), (8, True))
"""The convolutions: channels, in units of the width, and whether a pooling follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VGG:
    """A network, where it stops, and how it is measured.

    Attributes:
        width: channels of the first convolution.
        arms: rates and batches; four of one rate, two of a ratio that stands among these.
        epochs: at most.
        target: loss of all training images at which it stops, in nats.
        images: of the training images, on which curvature is measured, the same for all.
        probes: of Hutchinson's trace.
        lanczos: steps for the top eigenvalue.
    """

    width: int = 64
    arms: tuple[tuple[float, int], ...] = (
        (0.05, 1024), (0.05, 512), (0.05, 256), (0.025, 128), (0.05, 128), (0.025, 64),
    )  # fmt: skip
    epochs: int = 300
    target: float = 0.01
    images: int = 1000
    probes: int = 40
    lanczos: int = 25


def vgg11(width: int, colours: int = COLOURS) -> nn.Sequential:
    """VGG's net A with batch norm, for images of side 32 (arXiv:1409.1556, table 1).

    Eight convolutions of `width` to 8 `width` channels; 64 is the usual one. Five poolings leave a
    single place, which one linear layer reads, as is usual on CIFAR.
    """
    layers, read = list[nn.Module](), colours
    for factor, pooled in LAYERS:
        written = factor * width
        convolution = nn.Conv2d(read, written, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(written), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if pooled else []
        read = written
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(read, CLASSES))


def arrivals(ask: Ask, setting: VGG) -> pd.DataFrame:
    """Where the training loss is first under the target, a row a seed and way of training.

    It is looked at once an epoch; a network that never comes there is given as it ends.

    Returns:
        Columns seed, arm (a name), optimiser, lr, batch, ratio, steps, loss, test (share wrong),
        norm (of all filters), target, matched, images (of how many the curvature is), trace,
        trace_error and top.

    Raises:
        StudyError: if the user brought no CIFAR-10.
    """
    seen = pictures(ask.data, "cifar10")
    images, tests = (one.to(ask.device) for one in standardised(seen.train, seen.test))
    train, test = (
        (images, seen.train_labels.to(ask.device)),
        (tests, seen.test_labels.to(ask.device)),
    )
    rows = []
    for seed in ask.seeds:
        for lr, batch in setting.arms:
            name = f"SGD, rate {lr:g}, batch {batch}"
            tell = partial(_tell, ask, f"seed {seed}, {name}")
            head = {"seed": seed, "arm": name, "optimiser": "SGD", "lr": lr, "batch": batch}
            found = _arrival(seed, train, test, setting, lr, batch, tell)
            rows.append(head | {"ratio": lr / batch} | found)
    table = pd.DataFrame(rows).assign(target=setting.target)
    return table.assign(matched=table["loss"] < table["target"])


def _tell(ask: Ask, who: str, how_far: str) -> None:
    ask.tell(f"{who}: {how_far}")


def _arrival(
    seed: int,
    train: Pair,
    test: Pair,
    setting: VGG,
    rate: float,
    batch: int,
    tell: Callable[[str], None],
) -> dict[str, float]:
    """One network, trained until it is there, and measured."""
    images, labels = train
    network, epoch = (
        drawn(partial(vgg11, setting.width), seed).to(images.device),
        _epoch(train, batch),
    )
    losses = shown(network, images, labels, batch=batch, seed=seed)
    stops = range(epoch, epoch * setting.epochs + 1, epoch)
    step, loss = 0, float("nan")
    for step in walk(network, losses, rate=rate, stops=stops):
        loss, _ = known(network, images, labels)
        tell(f"epoch {step // epoch} of at most {setting.epochs}, loss {loss:.3g}")
        if loss < setting.target or not math.isfinite(loss):
            break
    some = _subset(len(images), setting.images).to(images.device)
    found = sharpness(
        network, images[some], labels[some], probes=setting.probes, steps=setting.lanczos
    )
    wrong, norm = known(network, *test)[1], length(network)
    return found | {"steps": step, "loss": loss, "test": wrong, "norm": norm, "images": len(some)}


def _epoch(train: Pair, batch: int) -> int:
    """Its steps, as `rows` makes them."""
    return len(train[0]) // min(batch, len(train[0]))


def _subset(count: int, wanted: int) -> Tensor:
    """The same rows for every network, whatever its seed."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(0))[:wanted]
