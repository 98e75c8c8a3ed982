"""Averages of the weights along the trunk, which stand in for a cooldown that was not trained.

A power average weighs step t by t^gamma, so that its memory grows with the run (Karras et al. 2024,
arXiv:2312.02696, equations 1 and 2): what is averaged at any step is a fixed share of the steps so
far, and one average serves every token count.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

GAMMA = 16.0
EVERY = 8
"""Steps between two looks at the weights: an average over every eighth step, at an eighth of the
cost."""


class PowerAverage:
    """The power average of some weights, kept beside them."""

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self.weights = list(weights)
        self.mean = [weight.clone() for weight in self.weights]

    def look(self, step: int) -> None:
        """Take the weights after `step` steps into the mean, if it is their turn."""
        if step % EVERY == 0:
            kept = (1.0 - EVERY / step) ** (GAMMA + 1.0)
            torch._foreach_lerp_(self.mean, self.weights, 1.0 - kept)

    def swap(self) -> None:
        """Exchange weights and mean; a second call puts both back."""
        for weight, mean in zip(self.weights, self.mean, strict=True):
            held = weight.clone()
            weight.copy_(mean)
            mean.copy_(held)
