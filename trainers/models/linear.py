"""Linear regression by stochastic gradient descent, and the expectation of its loss, exactly."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from scalefit.flops import LinearShape, ParamCount
from trainers.sources.regression import Regression


class Linear(nn.Module):
    """Students that read the first `shape.width` features; all start at zero, whatever the seed.

    A row is features, of which there are at least `shape.width`, and the value.
    """

    OPTIMISER: ClassVar[str] = "sgd"

    def __init__(self, shape: LinearShape, seeds: Sequence[int]) -> None:
        super().__init__()
        self.shape = shape
        self.weight = nn.Parameter(torch.zeros(len(seeds), shape.width))

    def losses(self, batch: Tensor) -> Tensor:
        """Squared errors (replicas, examples, 1) of `batch` (replicas, examples, row)."""
        features, value = batch[..., : self.shape.width], batch[..., -1:]
        return (features @ self.weight[..., None] - value).square()

    def groups(self) -> Mapping[str, list[nn.Parameter]]:
        """All at one rate: how fast a feature is learned must not depend on how many are read."""
        return {"embedding": [self.weight]}

    def params(self) -> ParamCount:
        """The weights of one replica."""
        return ParamCount(embedding=0, attention=0, mlp=0, head=self.weight[0].numel())


def expected_losses(
    source: Regression, *, width: int, batch: int, rates: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Expected loss before each step of SGD and after the last, (len(rates) + 1,), exactly.

    Of a student of `width` features that starts at zero and takes a step for each of `rates`
    (learning rates, not shares of a peak) on the mean squared error of `batch` fresh samples.

    With features of variances l, errors v of the weights and a remainder r that no weight can
    tell, of variance s, a step at rate q takes v to v - (2 q / B) sum_b (x_b v + r_b) x_b. As the
    fourth moments of Gaussians are sums of products of their variances,

        E[(x v + r)^2 x_i^2] = l_i (sum_j l_j E[v_j^2] + s) + 2 l_i^2 E[v_i^2],

    and so the squares m_i = E[v_i^2] follow a recursion of their own:

        m_i <- m_i (1 - 4 q l_i + 4 q^2 l_i^2 (B + 1) / B) + 4 q^2 l_i (sum_j l_j m_j + s) / B.

    The loss is sum_j l_j m_j + s.
    """
    variances = source.variances()[:width]
    remainder = source.noise + source.beyond(width)
    squares, losses = np.ones(width), np.empty(len(rates) + 1)
    for step, rate in enumerate(rates):
        losses[step] = loss = variances @ squares + remainder
        pull = 2.0 * rate * variances
        squares = squares * (1.0 - 2.0 * pull + pull**2 * (batch + 1) / batch)
        squares += 2.0 * rate * pull * loss / batch
    losses[-1] = variances @ squares + remainder
    return losses
