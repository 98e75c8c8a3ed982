"""A source whose entropy is known exactly, to check the whole pipeline against the truth.

A Markov chain on 128 symbols. The logits of its transitions are a sum of random rank-one terms
whose strength falls as a power of the rank; a model of width d can express about d of them, so that
what it misses falls as a power of its width, and no loss lies below the chain's entropy.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainers.sources.base import HeldOut, Rows

VOCAB = 128
STRENGTH = 2.0
DECAY = 0.8
CHAIN = 1
TRANSITIONS, HELD_OUT, TRAINING = 0, 1, 2
"""Streams of random numbers that must not meet; seed s trains on stream TRAINING + s."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Markov:
    """A stationary chain: `transition` (vocab, vocab) has rows that sum to 1."""

    context: int
    transition: Array

    @property
    def classes(self) -> int:
        """Number of symbols."""
        return len(self.transition)

    @property
    def loss_unit(self) -> str:
        """Every symbol is a token."""
        return "nats/token"

    @property
    def entropy(self) -> float:
        """Entropy rate in nats a token: the loss of the truth itself."""
        surprise = -np.sum(self.transition * np.log(self.transition), axis=1)
        return float(self.stationary() @ surprise)

    @property
    def available(self) -> None:
        """The chain does not run out."""
        return None

    def config(self) -> Mapping[str, object]:
        """What determines the tokens."""
        return {"name": "markov", "chain": CHAIN, "strength": STRENGTH, "decay": DECAY}

    def stationary(self) -> Array:
        """The distribution (vocab,) that the transitions leave as it is."""
        size = self.classes
        equations = np.vstack([self.transition.T - np.eye(size), np.ones(size)])
        solution: Array = np.linalg.lstsq(equations, np.append(np.zeros(size), 1.0))[0]
        return solution

    def rows(self, seed: int, count: int) -> Rows:
        """`count` fresh sequences (count, context + 1); a longer draw begins with a shorter one."""
        return self._sample(np.random.default_rng([CHAIN, TRAINING + seed]), count)

    def held_out(self, count: int) -> HeldOut:
        """`count` sequences, the same for every run."""
        sequences = self._sample(np.random.default_rng([CHAIN, HELD_OUT]), count)
        return HeldOut(rows=sequences, surprisal=self.surprisal(sequences))

    def surprisal(self, sequences: Rows) -> Array:
        """Mean -log p (count,) of the targets of each sequence under the chain, in nats a token."""
        chances: Array = self.transition[sequences[:, :-1], sequences[:, 1:]]
        return -np.asarray(np.log(chances).mean(axis=1))

    def _sample(self, draw: np.random.Generator, count: int) -> Rows:
        """Inverse transform, all sequences at once; starts are stationary, so every target is."""
        steps = np.cumsum(self.transition, axis=1)
        steps[:, -1] = 1.0
        uniform = draw.random((count, self.context + 1))
        tokens = np.empty(uniform.shape, np.uint8)
        starts = np.cumsum(self.stationary())
        starts[-1] = 1.0
        tokens[:, 0] = np.searchsorted(starts, uniform[:, 0], side="right")
        # one sorted table for all rows: row r lies between r and r + 1
        table = (steps + np.arange(self.classes)[:, None]).ravel()
        for step in range(1, uniform.shape[1]):
            row = tokens[:, step - 1].astype(np.int64)
            tokens[:, step] = (
                np.searchsorted(table, row + uniform[:, step], "right") - row * self.classes
            )
        return tokens


def load(_name: str, context: int) -> Markov:
    """The project's chain."""
    draw = np.random.default_rng([CHAIN, TRANSITIONS])
    left, right = draw.standard_normal((2, VOCAB, VOCAB))
    terms = np.arange(1, VOCAB + 1) ** -DECAY
    logits = STRENGTH * (left * terms / np.linalg.norm(terms)) @ right.T
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return Markov(context=context, transition=weights / weights.sum(axis=1, keepdims=True))
