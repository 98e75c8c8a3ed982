"""A part of a source: so many different examples, and no others, pass after pass."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from trainers.sources.base import HeldOut, Rows, Source, passes


@dataclass(frozen=True, slots=True, kw_only=True)
class Limited:
    """The first `unique` predictions' rows of what each seed would see of a source."""

    source: Source
    unique: int

    @property
    def context(self) -> int:
        """As the source's."""
        return self.source.context

    @property
    def classes(self) -> int:
        """As the source's."""
        return self.source.classes

    @property
    def loss_unit(self) -> str:
        """As the source's."""
        return self.source.loss_unit

    @property
    def entropy(self) -> float | None:
        """As the source's."""
        return self.source.entropy

    @property
    def available(self) -> int:
        """What is used of the source."""
        return self.unique // self.context * self.context

    def config(self) -> Mapping[str, object]:
        """The source's, and how much of it."""
        return dict(self.source.config()) | {"unique_tokens": self.unique}

    def rows(self, seed: int, count: int) -> Rows:
        """Passes over the part, the first in the source's own order."""
        there = self.unique // self.context
        part: Rows = self.source.rows(seed, min(there, count))
        if count <= there:
            return part
        further = passes(there, seed, count - there)
        again: Rows = part[np.concatenate([np.arange(there), further])]
        return again

    def held_out(self, count: int) -> HeldOut:
        """As the source's."""
        return self.source.held_out(count)
