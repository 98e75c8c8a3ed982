"""Where training tokens come from: what every source offers, and the sources by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.uint8]

SOURCES = {"text": "trainers.text", "markov": "trainers.synthetic"}
"""The module of each source; its `load(context)` builds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Sequences (count, context + 1) to evaluate on.

    `surprisal` (count,) is the mean loss of the true source on each, in nats a token; None where
    the truth is unknown.
    """

    sequences: Tokens
    surprisal: NDArray[np.float64] | None


class Source(Protocol):
    """Sequences of `context` inputs and one further target: every input's next token counts."""

    @property
    def context(self) -> int:
        """Inputs of a sequence."""

    @property
    def vocab(self) -> int:
        """Number of symbols."""

    @property
    def entropy(self) -> float | None:
        """Entropy rate in nats a token, None where it is unknown."""

    @property
    def available(self) -> int | None:
        """Training tokens before any repeats, None where they never do."""

    def config(self) -> Mapping[str, object]:
        """What determines the tokens: its name, and more, for the configuration of a run."""

    def sequences(self, seed: int, count: int) -> Tokens:
        """The first `count` training sequences (count, context + 1) of `seed`, none twice."""

    def held_out(self, count: int) -> HeldOut:
        """At most `count` sequences that no seed trains on, the same for every run."""


@cache
def source(name: str, context: int) -> Source:
    """The source of this name; it is built once in a process."""
    built: Source = import_module(SOURCES[name]).load(context)
    return built
