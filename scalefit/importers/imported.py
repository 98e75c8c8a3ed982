"""What every source of runs gives: rows by run and step, facts by run, and where each came from."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from scalefit.errors import DataError
from scalefit.importers.tables import SYNONYMS

MOST_STEP = 2**53  # up to it every whole number is a float
# What runs call the number of optimiser steps, last part of the name, case and signs aside.
STEP_NAMES = ("step", "global_step", "iter", "iteration", "iterations", "steps", "num_steps")
# One letter means too many things in a configuration: d may be a dropout.
_SHORTEST = 2
# What settings of a run may state, and which column or fact it is. Seeds of 0 are seeds too.
_SETTINGS = {
    "params": "params_total",
    "lr": "lr",
    "batch_tokens": "tokens_per_step",
    "seed": "seed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A value that the source states about a whole run, and where it stands."""

    value: float | str
    origin: str


Facts = Mapping[str, Mapping[str, Fact]]
"""By run, by name: params_total, tokens_per_step, flops_per_token, loss_unit, lr, ..."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Imported:
    """The runs of one source.

    `frame` has a row for every run and step: `run` (text), `step` (int64, optimiser steps done
    before the measurement), then one float64 column a metric, named as the source names it. NaN
    stands where nothing was logged, inf where something was that is no finite number: a loss of
    inf is a run that diverged.
    `step_origin` says what the steps are. `notes` are what a person should know of the reading.
    """

    kind: str
    source: str
    frame: pd.DataFrame
    facts: Facts = field(default_factory=dict)
    step_origin: str
    notes: tuple[str, ...] = ()

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics."""
        return [str(name) for name in self.frame.columns[2:]]

    @property
    def runs(self) -> list[str]:
        """The names of the runs, in the order of the source."""
        return list(dict.fromkeys(self.frame["run"]))


class Points:
    """Measurements as they come, (run, step, metric, value), into a frame."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, int], dict[str, float]] = {}
        self.again = 0

    def add(self, run: str, step: float, metric: str, value: float) -> None:
        """Note one value; a second one at the same step takes the place of the first."""
        if not 0 <= step < MOST_STEP or step != int(step):
            raise DataError(f"run {run!r}: step {step} is not a whole number from 0 on")
        row = self.rows.setdefault((run, int(step)), {})
        self.again += metric in row
        row[metric] = value if math.isfinite(value) else math.inf

    def frame(self, source: str) -> pd.DataFrame:
        """The frame of an `Imported`; DataError if nothing was noted."""
        if not self.rows:
            raise DataError(f"{source} holds no measurement of any run; name another source")
        runs = {run: place for place, run in enumerate(dict.fromkeys(run for run, _ in self.rows))}
        keys = sorted(self.rows, key=lambda key: (runs[key[0]], key[1]))
        metrics = sorted({name for row in self.rows.values() for name in row})
        values = np.array(
            [[self.rows[key].get(name, math.nan) for name in metrics] for key in keys], np.float64
        )
        head = pd.DataFrame(
            {
                "run": pd.Series([run for run, _ in keys], dtype=object),
                "step": np.array([step for _, step in keys], np.int64),
            }
        )
        return pd.concat(
            [head, pd.DataFrame(values.reshape(len(keys), -1), columns=metrics)], axis=1
        )

    def notes(self) -> tuple[str, ...]:
        """How many values were logged twice at a step, as a resumed run does."""
        said = f"{self.again} values were logged again at the same step: the last of each is taken"
        return (said,) if self.again else ()


def number(value: object) -> float | None:
    """A value as a float, of "NaN" and "Infinity" too; None if it is no number, or a flag."""
    if isinstance(value, bool) or value is None or value == "":
        return None
    try:
        return float(value)  # type: ignore[arg-type]  # what is no number is what is asked
    except (TypeError, ValueError, OverflowError):
        return None


def positive(value: object) -> float | None:
    """A value as a finite float above 0; None for any other."""
    x = number(value)
    return x if x is not None and 0 < x < math.inf else None


def folded(name: str) -> str:
    """A name without its case and signs: "train/Global-Step" is trainglobalstep."""
    return re.sub(r"[\W_]+", "", name).lower()


def leaf(name: str) -> str:
    """The last part of a name with slashes or dots, folded."""
    return folded(re.split(r"[/.]", name)[-1])


def named(quantity: str, names: Iterable[str]) -> list[str]:
    """Which of these names mean the quantity, by their last part (scalefit's own synonyms)."""
    known = {folded(word) for word in SYNONYMS[quantity] if len(word) >= _SHORTEST}
    return [name for name in names if leaf(name) in known]


def _called(word: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if leaf(name) == word]


def is_step(name: str) -> bool:
    """Whether a metric of this name counts optimiser steps."""
    return leaf(name) in {folded(word) for word in STEP_NAMES}


def configured(settings: Mapping[str, object], where: str) -> dict[str, Fact]:
    """The facts that a run's settings state under common names, each with where it stands.

    A quantity under two names with different values is left out: it must be given.
    """
    plain = {name: value for name, value in settings.items() if number(value) is not None}
    facts: dict[str, Fact] = {}
    for quantity, column in _SETTINGS.items():
        names = named(quantity, plain) if quantity in SYNONYMS else _called(quantity, plain)
        values = {number(plain[name]) for name in names}
        value = values.pop() if len(values) == 1 else None
        if value is not None and (0 < value < math.inf or (quantity == "seed" and value == 0)):
            facts[column] = Fact(value=value, origin=f'"{names[0]}" in {where}')
    return facts


def read_bytes(path: Path) -> bytes:
    """The content of a file, or a DataError that says why not."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def read_text(path: Path) -> str:
    """The text of a file; DataError for what is not UTF-8."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text: byte {error.start} is not UTF-8") from error


def distinct_names(paths: Sequence[Path], generic: frozenset[str] = frozenset()) -> list[str]:
    """A name for the run of each file: its stem, with folders before it as far as they tell apart.

    A stem in `generic` ("train", "log") says nothing, and its folder's name stands in.
    """
    parts = []
    for path in paths:
        *folders, last = path.absolute().parts[1:]
        stem = Path(last).stem
        parts.append(folders if stem in generic and folders else [*folders, stem])
    names = ["/".join(part[-1:]) for part in parts]
    for depth in range(2, max(map(len, parts), default=0) + 1):
        twice = {name for name in names if names.count(name) > 1}
        if not twice:
            break
        names = [
            "/".join(part[-depth:]) if name in twice else name
            for name, part in zip(names, parts, strict=True)
        ]
    return names
