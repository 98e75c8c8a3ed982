"""Sentences that grow from rules of several levels, and whose entropy is known exactly.

The random hierarchy model (Cagnetti et al. 2024, arXiv:2307.02129): a symbol of one
level is replaced by one of `rules` pairs of symbols of the next, each symbol and level with pairs
of its own, down to the leaves. Here the rules of a symbol are not equally likely: the k-th has a
chance proportional to 1/k, so that rare ones are left to learn when frequent ones are known.

No pair stands for two symbols, so a sentence has one derivation, and its entropy is that of its
root and of the rules that were chosen on the way.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scalefit.errors import GridError
from trainers.sources.base import HeldOut, Rows

VOCAB = 16
RULES = 4
LEVELS = 3
GRAMMAR = 4
RULES_STREAM, HELD_OUT, TRAINING = 0, 1, 2
"""Streams of random numbers that must not meet; seed s trains on stream TRAINING + s."""
CHUNK = 4096
"""Rows whose derivations are held in memory together."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy:
    """A grammar whose roots are equally likely.

    `pairs` (levels, vocab, rules, 2) are what a symbol can become, none twice on one level, and
    `chances` (rules,) how likely the first, the second, ... is.

    A row is a start mark, the symbol `vocab`, and then `context` leaves: whole sentences back to
    back, all of them targets. The mark tells where sentences begin; without it the first leaf of
    a row could not be a target.
    """

    context: int
    pairs: NDArray[np.int64]
    chances: Array

    @property
    def vocab(self) -> int:
        """Number of symbols of a level."""
        return int(self.pairs.shape[1])

    @property
    def leaves(self) -> int:
        """Leaves of a sentence."""
        return int(2 ** len(self.pairs))

    @property
    def classes(self) -> int:
        """Number of symbols, with the start mark."""
        return self.vocab + 1

    @property
    def loss_unit(self) -> str:
        """Every leaf is a token."""
        return "nats/token"

    @property
    def entropy(self) -> float:
        """Nats a token: the entropy of a sentence by its leaves, as sentences are independent."""
        rule = float(-np.sum(self.chances * np.log(self.chances)))
        return float(np.log(self.vocab) + (self.leaves - 1) * rule) / self.leaves

    @property
    def available(self) -> None:
        """Sentences do not run out."""
        return None

    def config(self) -> Mapping[str, object]:
        """What determines the tokens."""
        levels, vocab, rules, _ = self.pairs.shape
        return {
            "name": "hierarchy",
            "grammar": GRAMMAR,
            "vocab": vocab,
            "rules": rules,
            "levels": levels,
        }

    def rows(self, seed: int, count: int) -> Rows:
        """`count` fresh rows (count, context + 1); a longer draw begins with a shorter one."""
        return self._sample(np.random.default_rng([GRAMMAR, TRAINING + seed]), count)

    def held_out(self, count: int) -> HeldOut:
        """`count` rows, the same for every run."""
        rows = self._sample(np.random.default_rng([GRAMMAR, HELD_OUT]), count)
        return HeldOut(rows=rows, surprisal=self.surprisal(rows))

    def surprisal(self, rows: Rows) -> Array:
        """Mean -log p (count,) of the targets of each row, in nats a token."""
        sentences = rows[:, 1:].reshape(len(rows), -1, self.leaves)
        parts = [
            np.log(self.likelihood(sentences[first : first + CHUNK])).sum(axis=1)
            for first in range(0, len(rows), CHUNK)
        ]
        return -np.concatenate(parts) / self.context

    def likelihood(self, sentences: NDArray[np.integer]) -> Array:
        """The probability (...) of sentences (..., leaves), over all of their derivations.

        From the leaves up (the inside algorithm): the chance that a symbol becomes what stands
        below it is the sum over its rules of the chances that their two symbols do.
        """
        inside = np.eye(self.vocab)[sentences]
        for pairs in self.pairs[::-1]:
            left, right = inside[..., ::2, :], inside[..., 1::2, :]
            both = left[..., pairs[..., 0]] * right[..., pairs[..., 1]]
            inside = both @ self.chances
        return np.asarray(inside[..., 0, :].mean(axis=-1))

    def _sample(self, draw: np.random.Generator, count: int) -> Rows:
        rows = np.full((count, self.context + 1), self.vocab, np.uint8)
        for first in range(0, count, CHUNK):
            part = rows[first : first + CHUNK, 1:]
            uniform = draw.random(part.shape).reshape(-1, self.leaves)
            part[:] = self._leaves(uniform).reshape(part.shape)
        return rows

    def _leaves(self, uniform: Array) -> NDArray[np.int64]:
        """Sentences (count, leaves), each from as many numbers: one for its root, one a rule."""
        symbols = (uniform[:, :1] * self.vocab).astype(np.int64)
        steps = np.cumsum(self.chances)[:-1]
        for pairs in self.pairs:
            size = symbols.shape[1]
            chosen = np.searchsorted(steps, uniform[:, size : 2 * size], "right")
            symbols = pairs[symbols, chosen].reshape(len(symbols), -1)
        return symbols


def load(_name: str, context: int) -> Hierarchy:
    """The project's grammar; GridError unless a row holds whole sentences."""
    found = grammar(context, vocab=VOCAB, rules=RULES, levels=LEVELS)
    if context % found.leaves:
        raise GridError(
            f"a sentence of the source hierarchy is {found.leaves} tokens, and context {context} "
            f"holds no whole number of them; choose a multiple of {found.leaves}"
        )
    return found


def grammar(context: int, *, vocab: int, rules: int, levels: int) -> Hierarchy:
    """Rules at random: each level deals different pairs to its symbols."""
    draw = np.random.default_rng([GRAMMAR, RULES_STREAM])
    dealt = [draw.permutation(vocab**2)[: vocab * rules] for _ in range(levels)]
    pairs = np.stack(np.divmod(np.stack(dealt), vocab), axis=-1)
    weights = 1.0 / np.arange(1, rules + 1)
    return Hierarchy(
        context=context,
        pairs=pairs.reshape(levels, vocab, rules, 2),
        chances=weights / weights.sum(),
    )
