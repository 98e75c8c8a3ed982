"""What every source of training examples offers, and the sources by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[Any]
"""Examples (count, row): what a model reads and what it is to predict, in one row each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Examples (count, row) to evaluate on.

    `surprisal` (count,) is the mean loss of the true source on each, in the unit of the loss; None
    where the truth is unknown.
    """

    rows: Rows
    surprisal: NDArray[np.float64] | None


class Source(Protocol):
    """Rows of a fixed form.

    A row is `context` tokens and one further target for sequences; the pixels of an image and its
    class; the features of a sample and its value.
    """

    @property
    def context(self) -> int:
        """Predictions a row asks for."""

    @property
    def classes(self) -> int:
        """Number of symbols, or of an image's classes; 1 where the target is a number."""

    @property
    def loss_unit(self) -> str:
        """Unit of the loss, as the runs table has it: "nats/token", "nats/image", ..."""

    @property
    def entropy(self) -> float | None:
        """The loss of the truth itself, None where it is unknown."""

    @property
    def available(self) -> int | None:
        """Predictions in the training rows before any repeats, None where they never do."""

    def config(self) -> Mapping[str, object]:
        """What determines the rows: its name, and more, for the configuration of a run."""

    def rows(self, seed: int, count: int) -> Rows:
        """The first `count` training rows of `seed`; a longer draw begins with a shorter one.

        None comes twice before all were seen; then each further pass is shuffled anew.
        """

    def held_out(self, count: int) -> HeldOut:
        """At most `count` rows that no seed trains on, the same for every run."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Where a source is built, and the family of models that trains on it."""

    module: str
    family: str


SOURCES = {
    "text": Kind("trainers.sources.text", "transformer"),
    "markov": Kind("trainers.sources.markov", "transformer"),
    "markov2": Kind("trainers.sources.markov", "transformer"),
    "hierarchy": Kind("trainers.sources.hierarchy", "transformer"),
    "regression": Kind("trainers.sources.regression", "linear"),
    "digits": Kind("trainers.sources.images", "cnn"),
    "shapes": Kind("trainers.sources.shapes", "cnn"),
}
"""By name; `load(name, context)` of the module builds it."""

FILES: dict[str, Kind] = {
    ".txt": Kind("trainers.sources.files", "transformer"),
    ".bin": Kind("trainers.sources.files", "transformer"),
    ".npy": Kind("trainers.sources.files", "transformer"),
    "cifar-10-binary.tar.gz": Kind("trainers.sources.images", "cnn"),
    "cifar-100-binary.tar.gz": Kind("trainers.sources.images", "cnn"),
}
"""By the ending of a file's name; the name is then the file's path."""


def kind(name: str) -> Kind | None:
    """What a name, or the path of a file, stands for; None if nothing is known of it."""
    if name in SOURCES:
        return SOURCES[name]
    endings = [ending for ending in FILES if Path(name).name.endswith(ending)]
    return FILES[max(endings, key=len)] if endings else None


@cache
def source(name: str, context: int) -> Source:
    """The source of this name, or of the file at this path; it is built once in a process.

    Raises GridError if there is none, or its file cannot be used.
    """
    found = kind(name)
    assert found is not None  # the keys of a grid file were checked
    built: Source = import_module(found.module).load(name, context)
    return built


def passes(rows: int, seed: int, count: int) -> NDArray[np.int64]:
    """Which of `rows` rows (count,) a seed sees: shuffled passes, one after the other."""
    draw = np.random.default_rng(seed)
    whole = [draw.permutation(rows) for _ in range(-(-count // rows))]
    return np.concatenate(whole)[:count] if whole else np.empty(0, np.int64)
