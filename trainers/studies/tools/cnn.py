"""The convolutional networks of Nakkiran et al. 2019 (arXiv:1912.02292), and how they are trained.

    network = drawn(lambda: five_layers(16), seed)
    for step in walk(network, images, labels, recipe=Recipe(rate=0.1), stops=(1, 100), seed=0):
        share_wrong(network, tests, answers)

Five layers by SGD at a rate that falls with the root of time, and ResNet-18 by Adam. Cross-entropy,
batches of 128. Standardising the colours is a choice made here; the paper does not speak of it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812 - so called everywhere
from torch import Tensor, nn

from trainers.studies.tools.descent import descend, rows

CLASSES, COLOURS = 10, 3
MARGIN = 4
"""Pixels by which an augmented image is moved at most."""
EVERY = 512
"""Steps between two changes of SGD's rate."""
AT_ONCE = 1000
"""Images a forward pass when errors are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Attributes:
        rate: of Adam, all along; of SGD, rate / sqrt(1 + step // 512).
        adam: or SGD without momentum.
        augmented: each image moved by up to four pixels and mirrored at random, anew every time.
        batch: images a step; an epoch's last one may have fewer.
    """

    rate: float
    adam: bool = False
    augmented: bool = False
    batch: int = 128


def five_layers(width: int, colours: int = COLOURS) -> nn.Sequential:
    """Four convolutions of `width` to 8 `width` channels and a classifier (their appendix B)."""
    layers: list[nn.Module] = []
    widths = (colours, width, 2 * width, 4 * width, 8 * width)
    for (read, written), pooled in zip(pairwise(widths), (1, 2, 2, 8), strict=True):
        layers += [
            nn.Conv2d(read, written, 3, padding=1),
            nn.BatchNorm2d(written),
            nn.ReLU(),
            nn.MaxPool2d(pooled),
        ]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * width, CLASSES))


def resnet18(width: int, colours: int = COLOURS) -> nn.Sequential:
    """Eight blocks of `width` to 8 `width` channels; 64 is the usual one (He et al. 2016)."""
    blocks, read = list[nn.Module](), width
    for factor, stride in ((1, 1), (2, 2), (4, 2), (8, 2)):
        for step in (stride, 1):
            blocks.append(Block(read, factor * width, step))
            read = factor * width
    first = nn.Conv2d(colours, width, 3, padding=1, bias=False)
    return nn.Sequential(
        first, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(read, CLASSES)
    )


class Block(nn.Module):
    """Two convolutions, each after norm and ReLU, and a way past them (arXiv:1603.05027)."""

    def __init__(self, read: int, written: int, stride: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(read), nn.BatchNorm2d(written)])
        self.first = nn.Conv2d(read, written, 3, stride, padding=1, bias=False)
        self.second = nn.Conv2d(written, written, 3, padding=1, bias=False)
        same = read == written and stride == 1
        self.past = None if same else nn.Conv2d(read, written, 1, stride, bias=False)

    def forward(self, state: Tensor) -> Tensor:
        """From (images, read, side, side) to (images, written, side / stride, side / stride)."""
        active = F.relu(self.norms[0](state))
        past = state if self.past is None else self.past(active)
        found: Tensor = past + self.second(F.relu(self.norms[1](self.first(active))))
        return found


def drawn(build: Callable[[], nn.Sequential], seed: int) -> nn.Sequential:
    """What `build` makes from this seed, whatever was drawn before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def standardised(train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Both with the training images' mean 0 and deviation 1, each colour by itself."""
    spread, mean = torch.std_mean(train, dim=(0, 2, 3), keepdim=True)
    spread = spread.clamp(min=1e-6)  # a colour that never changes
    return (train - mean) / spread, (test - mean) / spread


def walk(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    recipe: Recipe,
    stops: Sequence[int],
    seed: int,
) -> Iterator[int]:
    """Train the network where it stands, and say at each stop (rising steps) that it is reached."""
    draw = torch.Generator().manual_seed(seed)

    def losses() -> Iterator[Tensor]:
        for chosen in rows(len(images), recipe.batch, draw, rest=True):
            here = chosen.to(images.device)
            seen = augmented(images[here], draw) if recipe.augmented else images[here]
            yield F.cross_entropy(network(seen), labels[here])

    def rate(step: int) -> float:
        return recipe.rate if recipe.adam else recipe.rate / (1 + step // EVERY) ** 0.5

    kind = torch.optim.Adam if recipe.adam else torch.optim.SGD
    optimiser = kind(network.parameters(), lr=recipe.rate)
    return descend(network, optimiser, losses(), rate=rate, stops=stops)


def augmented(images: Tensor, draw: torch.Generator) -> Tensor:
    """Each image moved by up to four pixels, zeros where nothing was, and half of them mirrored."""
    count, colours, side = images.shape[:3]
    moves = torch.randint(2 * MARGIN + 1, (2, count, 1), generator=draw)
    rows, columns = moves + torch.arange(side)
    mirrored = torch.randint(2, (count, 1), generator=draw) == 1
    columns = torch.where(mirrored, columns.flip(1), columns)
    places = (
        torch.arange(count)[:, None, None, None],
        torch.arange(colours)[:, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    )
    return F.pad(images, (MARGIN,) * 4)[tuple(one.to(images.device) for one in places)]


@torch.no_grad()
def outputs(network: nn.Module, images: Tensor) -> Tensor:
    """Of all images (images, classes), as in use: norms by what they saw in training."""
    network.eval()
    return torch.cat([network(part) for part in torch.split(images, AT_ONCE)])


def share_wrong(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Images given another class than these labels."""
    return float((outputs(network, images).argmax(1) != labels).double().mean())
