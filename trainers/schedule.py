"""Learning rates over a run: warm-up, a constant trunk, and a cooldown branch for each token count.

One trunk serves every token count of a run (Hägele et al. 2024, arXiv:2405.18392): training to 0.8
of the largest, plus a cooldown over the last fifth of each, costs 1.19 of the largest for five
counts at ratio 2, where independent runs would cost 1.94. The cooldown is their 1 - sqrt.

A cosine (Hoffmann et al. 2022, section 3.1) must know its end from the start. Its trunk has no
steps: every token count is a branch that begins at the first.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Factors = NDArray[np.float64]
"""Shares of the peak learning rate, one a step."""

FLOOR = 0.1
"""Share of the peak at which a cosine ends (Hoffmann et al. 2022, figure A1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """`warmup` steps of linear rise; the last share `cooldown` of a branch decays."""

    NAME: ClassVar[str] = "warmup-stable-decay, 1-sqrt"

    warmup: int
    cooldown: float

    def branch_point(self, steps: int) -> int:
        """The trunk's step after which the branch that ends at `steps` begins to cool down."""
        return steps - max(1, round(self.cooldown * steps))

    def trunk_factors(self, start: int, stop: int) -> Factors:
        """For the trunk's steps start..stop-1."""
        return np.minimum(1.0, _rise(start, stop, self.warmup))

    def branch_factors(self, steps: int) -> Factors:
        """For the cooldown of the branch that ends at `steps`."""
        length = steps - self.branch_point(steps)
        return 1.0 - np.sqrt(np.arange(length) / length)

    def trained_steps(self, ends: tuple[int, ...]) -> int:
        """Steps taken in all: the trunk, and one cooldown for each of `ends`."""
        return self.branch_point(max(ends)) + sum(end - self.branch_point(end) for end in ends)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosine:
    """`warmup` steps of linear rise, then half a cosine down to a tenth, for each end anew."""

    NAME: ClassVar[str] = "cosine"

    warmup: int

    def branch_point(self, steps: int) -> int:  # noqa: ARG002 - every branch begins alike
        """The start: nothing is shared."""
        return 0

    def trunk_factors(self, start: int, stop: int) -> Factors:
        """None, of a trunk without steps."""
        return np.minimum(1.0, _rise(start, stop, self.warmup))

    def branch_factors(self, steps: int) -> Factors:
        """For all steps of the run that ends at `steps`."""
        passed = np.clip(np.arange(steps) - self.warmup, 0, None) / max(1, steps - self.warmup)
        fall = FLOOR + (1.0 - FLOOR) * 0.5 * (1.0 + np.cos(np.pi * passed))
        return np.minimum(fall, _rise(0, steps, self.warmup))

    def trained_steps(self, ends: tuple[int, ...]) -> int:
        """Steps taken in all."""
        return sum(ends)


def _rise(start: int, stop: int, warmup: int) -> Factors:
    return (np.arange(start, stop) + 1.0) / max(1, warmup)
