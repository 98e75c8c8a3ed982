"""Sources whose entropy is known exactly, to check the whole pipeline against the truth.

"markov" is a Markov chain on 128 symbols. The logits of its transitions are a sum of random
rank-one terms whose strength falls as a power of the rank; a model of width d can express about d
of them, so that what it misses falls as a power of its width, and no loss lies below the chain's
entropy.

"markov2" is a chain of second order on 32 symbols, so that a model must look back further than the
symbol it stands on. Its logits are two such sums, one read from the last symbol and one from the
symbol before. Where all 1024 pairs had transitions of their own, no grid of a minute
learned them.
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
SECOND_VOCAB = 32
SECOND_STRENGTHS = (1.0, 1.5)
"""Of the logits that the last symbol gives, and of those from the symbol before it.

The other way round, a model that has found the last symbol stays long at what that tells it, and
then learns to look back all at once: such a step is no power law.
"""
SECOND_CHAIN = 2
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
        return _entropy(self.stationary(), self.transition)

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
        """All sequences at once; starts are stationary, so every target is."""
        uniform = draw.random((count, self.context + 1))
        tokens = np.empty(uniform.shape, np.uint8)
        tokens[:, 0] = _drawn(self.stationary()[None], np.zeros(count, np.int64), uniform[:, 0])
        for step in range(1, uniform.shape[1]):
            last = tokens[:, step - 1].astype(np.int64)
            tokens[:, step] = _drawn(self.transition, last, uniform[:, step])
        return tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondOrder:
    """A stationary chain whose next symbol depends on the last two.

    `transition` (vocab, vocab, vocab) is p(next | symbol before the last, last).

    A row's first symbol has nothing before it in the row. Its first target is therefore judged by
    what one symbol tells, p(next | last), and all later ones by what two tell: a model that is the
    truth, and sees no more than the row, has exactly the loss `entropy`.
    """

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
        """Nats a token of a row: one target given one symbol, the others given two."""
        pairs = self.stationary()
        given_one = _entropy(pairs.sum(axis=1), _conditional(pairs))
        return (given_one + (self.context - 1) * self.rate) / self.context

    @property
    def rate(self) -> float:
        """Entropy rate of the chain in nats a token."""
        size = self.classes
        return _entropy(self.stationary().ravel(), self.transition.reshape(size**2, size))

    @property
    def available(self) -> None:
        """The chain does not run out."""
        return None

    def config(self) -> Mapping[str, object]:
        """What determines the tokens."""
        return {
            "name": "markov2",
            "chain": SECOND_CHAIN,
            "strengths": list(SECOND_STRENGTHS),
            "decay": DECAY,
        }

    def stationary(self) -> Array:
        """The distribution (vocab, vocab) of two successive symbols that a step leaves as it is."""
        size = self.classes
        step = np.zeros((size, size, size, size))
        last = np.arange(size)
        # from (a, b) to (b, c), and to no pair that does not begin with b
        step[:, last, last, :] = self.transition
        moves = step.reshape(size**2, size**2)
        # the sum of all chances, added to every equation, singles out the one solution
        equations = moves.T - np.eye(size**2) + 1.0
        solution: Array = np.linalg.solve(equations, np.ones(size**2)).astype(np.float64)
        return solution.reshape(size, size)

    def rows(self, seed: int, count: int) -> Rows:
        """`count` fresh sequences (count, context + 1); a longer draw begins with a shorter one."""
        return self._sample(np.random.default_rng([SECOND_CHAIN, TRAINING + seed]), count)

    def held_out(self, count: int) -> HeldOut:
        """`count` sequences, the same for every run."""
        sequences = self._sample(np.random.default_rng([SECOND_CHAIN, HELD_OUT]), count)
        return HeldOut(rows=sequences, surprisal=self.surprisal(sequences))

    def surprisal(self, sequences: Rows) -> Array:
        """Mean -log p (count,) of the targets of each sequence: what `entropy` is the mean of."""
        first = _conditional(self.stationary())[sequences[:, 0], sequences[:, 1]]
        others = self.transition[sequences[:, :-2], sequences[:, 1:-1], sequences[:, 2:]]
        total = np.log(first) + np.log(others).sum(axis=1)
        return -np.asarray(total / self.context)

    def _sample(self, draw: np.random.Generator, count: int) -> Rows:
        """All sequences at once; the first two symbols are a stationary pair, so all pairs are."""
        uniform, size = draw.random((count, self.context + 1)), self.classes
        tokens, pairs = np.empty(uniform.shape, np.uint8), self.stationary()
        transition = self.transition.reshape(size**2, size)
        start = np.zeros(count, np.int64)
        tokens[:, 0] = _drawn(pairs.sum(axis=1)[None], start, uniform[:, 0])
        last = tokens[:, 0].astype(np.int64)
        tokens[:, 1] = _drawn(_conditional(pairs), last, uniform[:, 1])
        for step in range(2, uniform.shape[1]):
            state = tokens[:, step - 2].astype(np.int64) * size + tokens[:, step - 1]
            tokens[:, step] = _drawn(transition, state, uniform[:, step])
        return tokens


def load(name: str, context: int) -> Markov | SecondOrder:
    """The project's chains: "markov" and "markov2"."""
    if name == "markov2":
        draw = np.random.default_rng([SECOND_CHAIN, TRANSITIONS])
        last, before = (strength * _low_rank(draw, SECOND_VOCAB) for strength in SECOND_STRENGTHS)
        return SecondOrder(context=context, transition=_softmax(before[:, None] + last[None]))
    draw = np.random.default_rng([CHAIN, TRANSITIONS])
    return Markov(context=context, transition=_softmax(STRENGTH * _low_rank(draw, VOCAB)))


def _low_rank(draw: np.random.Generator, vocab: int) -> Array:
    """Logits (vocab, vocab) of variance 1: rank-one terms of strengths 1, 2^-DECAY, 3^-DECAY..."""
    left, right = draw.standard_normal((2, vocab, vocab))
    terms = np.arange(1, vocab + 1) ** -DECAY
    found: Array = (left * terms / np.linalg.norm(terms)) @ right.T
    return found


def _softmax(logits: Array) -> Array:
    """Chances that sum to 1 over the last axis."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    chances: Array = weights / weights.sum(axis=-1, keepdims=True)
    return chances


def _conditional(pairs: Array) -> Array:
    """p(second | first) (vocab, vocab) of chances of pairs."""
    chances: Array = pairs / pairs.sum(axis=1, keepdims=True)
    return chances


def _entropy(states: Array, transition: Array) -> float:
    """Mean entropy in nats of a draw from the rows (states, vocab), of which each has a chance."""
    return float(states @ -np.sum(transition * np.log(transition), axis=1))


def _drawn(chances: Array, states: NDArray[np.int64], uniform: Array) -> NDArray[np.int64]:
    """A symbol (count,) from the row of `chances` (states, vocab) that each state names.

    By inverse transform of numbers `uniform` (count,) in [0, 1).
    """
    steps = np.cumsum(chances, axis=1)
    steps[:, -1] = 1.0
    # one sorted table for all rows: row r lies between r and r + 1
    table = (steps + np.arange(len(chances))[:, None]).ravel()
    found = np.searchsorted(table, states + uniform, "right") - states * chances.shape[1]
    # a number next to 1 is rounded up to it where the state is large
    symbols: NDArray[np.int64] = np.minimum(found, chances.shape[1] - 1)
    return symbols
