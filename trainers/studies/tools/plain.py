"""Deep networks of two papers on CIFAR-10, their training, and their loss at other parameters.

    network = cnn.drawn(partial(no_shortcuts, 56, factor=4), seed)
    trained(network, (images, labels), recipe=LI, seed=seed, tell=print)
    found = measured(network, parameters(network), images, labels)     # loss, share wrong

Li et al. 2018 (arXiv:1712.09913) and Garipov et al. 2018 (arXiv:1802.10026), with what their texts
leave out taken from the code that they published (tomgoldstein/loss-landscape,
timgaripov/dnn-mode-connectivity). Images are from 0 to 1: a network's first layer standardises
them, so that the rim of a moved image is black, as in both.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 - so called everywhere
from torch import Tensor, nn
from torch.func import functional_call

from trainers.studies.tools.cnn import AT_ONCE, CLASSES, COLOURS, augmented
from trainers.studies.tools.descent import descend, rows
from trainers.studies.tools.directions import Parameters, bend, line

LI_COLOURS = ((125.3 / 255, 123.0 / 255, 113.9 / 255), (63.0 / 255, 62.1 / 255, 66.7 / 255))
GARIPOV_COLOURS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of red, green and blue, as the papers' code has them."""

OVERFLOW = 1e30
"""Nats, which stand for a loss that is not finite: of a network that diverged, or far from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """SGD with momentum, on images that are moved and mirrored.

    Attributes:
        rate: learning rate at first.
        epochs: passes over the images.
        factor: of the rate in an epoch, from the share of epochs that have begun (above 0, to 1).
        decay: weight decay, on all parameters.
        momentum: of the updates.
        nesterov: whether momentum looks ahead.
        batch: images a step; an epoch's last one may have fewer.
    """

    rate: float
    epochs: int
    factor: Callable[[float], float]
    decay: float = 5e-4
    momentum: float = 0.9
    nesterov: bool = False
    batch: int = 128


def tenths(begun: float) -> float:
    """A tenth after epochs 150, 225 and 275 of 300 (Li et al. 2018, section 5)."""
    cuts = sum(begun > epoch / 300 for epoch in (150, 225, 275))
    return float(0.1**cuts)


def falling(begun: float) -> float:
    """1 for half of the time, then along a line to 0.01 at 0.9 of it (Garipov et al., code)."""
    return 1.0 - 0.99 * min(max((begun - 0.5) / 0.4, 0.0), 1.0)


LI = Recipe(rate=0.1, epochs=300, factor=tenths, nesterov=True)
GARIPOV = Recipe(rate=0.05, epochs=200, factor=falling)
GARIPOV_BEND = Recipe(rate=0.015, epochs=600, factor=falling, decay=0.0)


class Colours(nn.Module):
    """Images less a mean, by a deviation, each colour by itself; nothing is learned."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])
        self.register_buffer("deviation", torch.tensor(deviation)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """From (images, colours, height, width) to the same."""
        return (images - self.mean) / self.deviation


def no_shortcuts(depth: int = 56, *, factor: int = 1) -> nn.Sequential:
    """A ResNet for CIFAR without its shortcuts, `factor` times as wide (Li et al. 2018, figure 6).

    Convolutions of 16, 32 and 64 times `factor` channels, a third of them each, with batch norm and
    ReLU; the mean over places; a classifier. He et al.'s start (arXiv:1502.01852), and 0.001 for
    the classifier, as in the code.

    Args:
        depth: layers with weights, 2 more than a multiple of 6.
        factor: of all channels, the paper's k.
    """
    third = (depth - 2) // 3
    channels = [16 * factor, *(size * factor for size in (16, 32, 64) for _ in range(third))]
    layers: list[nn.Module] = [Colours(*LI_COLOURS)]
    for read, written in pairwise((COLOURS, *channels)):
        stride = 2 if written == 2 * read else 1
        convolution = nn.Conv2d(read, written, 3, stride, padding=1, bias=False)
        nn.init.kaiming_normal_(convolution.weight)
        layers += [convolution, nn.BatchNorm2d(written), nn.ReLU()]
    classifier = nn.Linear(channels[-1], CLASSES)
    nn.init.normal_(classifier.weight, std=1e-3)
    nn.init.zeros_(classifier.bias)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), classifier)


def vgg16(width: int = 64) -> nn.Sequential:
    """VGG-16 without batch norm, for images of side 32 (Garipov et al. 2018, code).

    Thirteen convolutions of `width` to 8 `width` channels, and three layers of which the first two
    drop half of what they read in training. Convolutions start as in He et al., by what they write
    to; the last layers as PyTorch has them.
    """
    layers: list[nn.Module] = [Colours(*GARIPOV_COLOURS)]
    read = COLOURS
    for factor, count in ((1, 2), (2, 2), (4, 3), (8, 3), (8, 3)):
        for _ in range(count):
            convolution = nn.Conv2d(read, factor * width, 3, padding=1)
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out")
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
            layers += [convolution, nn.ReLU()]
            read = factor * width
        layers.append(nn.MaxPool2d(2))
    layers.append(nn.Flatten())
    for _ in range(2):
        layers += [nn.Dropout(), nn.Linear(read, read), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(read, CLASSES))


def _descend(
    network: nn.Module,
    leaves: Sequence[Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    data: tuple[Tensor, Tensor],
    *,
    recipe: Recipe,
    seed: int,
    tell: Callable[[str], None],
) -> None:
    """Train these tensors where they stand.

    Args:
        network: that is trained, or stands where they say.
        leaves: what is trained.
        loss: of a batch, from images and labels.
        data: images (images, colours, side, side), from 0 to 1, and their labels (images,).
        recipe: how.
        seed: of the batches, of moves and mirrors, and of what the loss draws.
        tell: called after every epoch.
    """
    optimiser = torch.optim.SGD(
        leaves,
        lr=recipe.rate,
        momentum=recipe.momentum,
        weight_decay=recipe.decay,
        nesterov=recipe.nesterov,
    )
    (images, labels), draw = data, torch.Generator().manual_seed(seed)
    epoch = -(-len(images) // recipe.batch)

    def losses() -> Iterator[Tensor]:
        for chosen in rows(len(images), recipe.batch, draw, rest=True):
            here = chosen.to(images.device)
            yield loss(augmented(images[here], draw), labels[here])

    def rate(step: int) -> float:
        return recipe.rate * recipe.factor((step // epoch + 1) / recipe.epochs)

    ends = range(epoch, epoch * recipe.epochs + 1, epoch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # dropout draws from the common stream
        for step in descend(network, optimiser, losses(), rate=rate, stops=ends):
            tell(f"epoch {step // epoch} of {recipe.epochs}")


def trained(
    network: nn.Module,
    data: tuple[Tensor, Tensor],
    *,
    recipe: Recipe,
    seed: int,
    tell: Callable[[str], None],
) -> nn.Module:
    """The network, trained where it stands on the cross-entropy, and set to be used."""

    def loss(seen: Tensor, given: Tensor) -> Tensor:
        return F.cross_entropy(network(seen), given)

    _descend(network, list(network.parameters()), loss, data, recipe=recipe, seed=seed, tell=tell)
    return network.eval()


def bent(
    network: nn.Module,
    ends: tuple[Parameters, Parameters],
    data: tuple[Tensor, Tensor],
    *,
    recipe: Recipe,
    weight: float,
    seed: int,
    tell: Callable[[str], None],
) -> Parameters:
    """The trained control point of a bend between two places (Garipov et al. 2018, section 3.2).

    Each step lowers the loss of a batch at one place of the bend, drawn evenly from 0 to 1. It
    starts as the straight way. Dropout is as it is when an end is trained.

    Args:
        network: that stands on the bend; it has no norms, which would need statistics of the place.
        ends: parameters at 0 and 1.
        data: images (images, colours, side, side), from 0 to 1, and their labels.
        recipe: how; its decay would pull the control point instead of what stands on the bend.
        weight: of half the squared length of the parameters at the place, in the loss.
        seed: of batches and places.
        tell: called after every epoch.
    """
    middle = line(*ends)(torch.tensor(0.5))
    control = tuple(one.clone().requires_grad_() for one in middle)
    curve = bend(ends[0], control, ends[1])

    def loss(seen: Tensor, given: Tensor) -> Tensor:
        at = curve(torch.rand(()))
        length = torch.stack([one.square().sum() for one in at]).sum()
        return F.cross_entropy(outputs_at(network, at, seen), given) + weight / 2 * length

    _descend(network, control, loss, data, recipe=recipe, seed=seed, tell=tell)
    network.eval()
    return tuple(one.detach() for one in control)


def parameters(network: nn.Module) -> Parameters:
    """What the network stands on, one replica."""
    return tuple(one.detach()[None] for one in network.parameters())


def outputs_at(network: nn.Module, place: Parameters, images: Tensor) -> Tensor:
    """Outputs of the network if it stood on these parameters, (images, classes)."""
    names = (name for name, _ in network.named_parameters())
    standing = {name: one[0] for name, one in zip(names, place, strict=True)}
    found: Tensor = functional_call(network, standing, (images,))
    return found


def measured(network: nn.Module, place: Parameters, images: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy in nats and share of wrong images there, shape (2,), without gradients.

    A cross-entropy that is not finite is `OVERFLOW`, so that a table of it has no holes.
    Norms use what they saw in training, also away from where the network was trained (Li et al.).
    """
    total = torch.zeros(2, dtype=torch.float64, device=images.device)
    with torch.no_grad():
        parts = (torch.split(one, AT_ONCE) for one in (images, labels))
        for seen, given in zip(*parts, strict=True):
            found = outputs_at(network, place, seen)
            lost = F.cross_entropy(found, given, reduction="sum")
            total += torch.stack([lost.double(), (found.argmax(1) != given).sum().double()])
    return torch.nan_to_num(total / len(images), nan=OVERFLOW, posinf=OVERFLOW)
