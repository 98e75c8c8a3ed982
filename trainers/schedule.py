"""Learning rates over a run: warm-up, a constant trunk, and a cooldown branch for each token count.

One trunk serves every token count of a run (Hägele et al. 2024, arXiv:2405.18392): training to 0.8
of the largest, plus a cooldown over the last fifth of each, costs 1.19 of the largest for five
counts at ratio 2, where independent runs would cost 1.94. The cooldown is their 1 - sqrt.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NAME = "warmup-stable-decay, 1-sqrt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """`warmup` steps of linear rise; the last share `cooldown` of a branch decays."""

    warmup: int
    cooldown: float

    def branch_point(self, steps: int) -> int:
        """The trunk's step after which the branch that ends at `steps` begins to cool down."""
        return steps - max(1, round(self.cooldown * steps))

    def trunk_factors(self, start: int, stop: int) -> NDArray[np.float64]:
        """Shares of the peak learning rate for the trunk's steps start..stop-1."""
        return np.minimum(1.0, (np.arange(start, stop) + 1.0) / max(1, self.warmup))

    def cooldown_factors(self, steps: int) -> NDArray[np.float64]:
        """Shares of the peak learning rate for the cooldown of the branch that ends at `steps`."""
        length = steps - self.branch_point(steps)
        return 1.0 - np.sqrt(np.arange(length) / length)

    def trained_steps(self, ends: tuple[int, ...]) -> int:
        """Steps taken in all: the trunk, and one cooldown for each of `ends`."""
        return self.branch_point(max(ends)) + sum(end - self.branch_point(end) for end in ends)
