"""A residual CNN whose weights carry a leading axis of replicas.

Replicas, models of one shape that differ in their seed, train as one grouped convolution: channels
of replica g stand in group g. For three replicas of width 4 to 32 on images of 8x8 that is the
fastest way on a CPU: unfolded images and batched matrix products took 1.4 to 9 times as long, one
convolution after the other 1.0 to 1.9 times. No operation mixes replicas, or examples: there is no
batch norm.

Pre-activation residual blocks (He et al. 2016, arXiv:1603.05027) of one convolution each, norms
over all channels and places of one image (group norm with one group, Wu & He 2018,
arXiv:1803.08494) without gains, a global average and a linear classifier.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F  # noqa: N812 - so called everywhere
from torch import Tensor, nn

from scalefit.flops import TAPS, CnnShape, ParamCount

GREY, SPREAD = 128.0, 64.0
"""Pixels are bytes; these bring them about to mean 0 and standard deviation 1."""


class Cnn(nn.Module):
    """`len(seeds)` replicas of one shape; replica g is initialised from `seeds[g]` alone.

    Convolutions start at standard deviation 1/sqrt(fan-in), the classifier at zero: the widths of
    one grid then start alike (Yang et al. 2022, arXiv:2203.03466, table 3).
    """

    OPTIMISER: ClassVar[str] = "adamw"

    def __init__(self, shape: CnnShape, seeds: Sequence[int]) -> None:
        super().__init__()
        self.shape = shape
        draws = [torch.Generator().manual_seed(seed) for seed in seeds]

        def normal(channels: int) -> nn.Parameter:
            size = (shape.width, channels, 3, 3)
            replicas = [torch.randn(size, generator=draw) for draw in draws]
            return nn.Parameter(torch.stack(replicas) * (TAPS * channels) ** -0.5)

        self.first = normal(shape.channels)
        self.blocks = nn.ParameterList([normal(shape.width) for _ in range(shape.depth - 1)])
        self.head = nn.Parameter(torch.zeros(len(draws), shape.width, shape.classes))

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (replicas, images, classes).

        `pixels` (replicas, images, channels * side * side) are bytes, one colour after the other.
        """
        shape, replicas, images = self.shape, *pixels.shape[:2]
        x = (pixels.to(self.first.dtype) - GREY) / SPREAD
        x = x.transpose(0, 1).reshape(images, -1, shape.side, shape.side)
        x = _convolved(x, self.first)
        for side, block in zip(shape.sides[1:], self.blocks, strict=True):
            if side < x.shape[-1]:
                x = F.avg_pool2d(x, 2, ceil_mode=True)
            x = x + _convolved(_active(x, replicas), block)
        features = _active(x, replicas).mean((2, 3)).view(images, replicas, shape.width)
        return features.transpose(0, 1).bmm(self.head)

    def losses(self, batch: Tensor) -> Tensor:
        """Cross-entropy of every image (replicas, images, 1), in nats.

        `batch` (replicas, images, row) holds the pixels and, last, the class.
        """
        logits, targets = self(batch[..., :-1]).flatten(0, 1), batch[..., -1]
        return F.cross_entropy(logits, targets.flatten(), reduction="none").view(*targets.shape, 1)

    def groups(self) -> Mapping[str, list[nn.Parameter]]:
        """The first convolution, whose fan-in is the colours', apart from what grows with width."""
        return {"embedding": [self.first], "matrices": [*self.blocks, self.head]}

    def params(self) -> ParamCount:
        """The parameters that one replica really holds, by group."""
        return ParamCount(
            embedding=0,
            attention=0,
            mlp=0,
            head=self.head[0].numel(),
            convolution=sum(weight[0].numel() for weight in (self.first, *self.blocks)),
        )


def _active(x: Tensor, replicas: int) -> Tensor:
    """Normed over each replica's channels and places, and rectified; x (images, channels, ...)."""
    return F.relu(F.group_norm(x, replicas))


def _convolved(x: Tensor, weight: Tensor) -> Tensor:
    """Every replica's channels by its own weight (replicas, out, in, 3, 3)."""
    return F.conv2d(x, weight.flatten(0, 1), padding=1, groups=len(weight))
