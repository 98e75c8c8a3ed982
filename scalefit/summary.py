"""What a table of runs holds: counts, spans, seeds, and what a fit would leave out and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from scalefit import cleaning, runs
from scalefit.errors import DataError
from scalefit.importers import load, nearest, recognise

MOST_GROUPS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The least and greatest value of a quantity, where it is known, and how many rows lack it."""

    low: float
    high: float
    missing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The rows with one value of a column (None: null): how many, of how many runs, least loss."""

    value: str | float | None
    rows: int
    runs: int
    best: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A table at a glance.

    `spans` are of params, tokens, flops (FLOP) and loss (in `units`); `fitted` counts the rows
    that a fit of them would use, `dropped` the others; `obstacle` is why none would be used.
    """

    source: str
    rows: int
    runs: int
    families: Mapping[str, int]
    statuses: Mapping[str, int]
    units: tuple[str, ...]
    seeds: int
    spans: Mapping[str, Span]
    fitted: int
    dropped: tuple[cleaning.Dropped, ...]
    obstacle: str | None
    notes: tuple[str, ...]
    by: str | None
    groups: tuple[Group, ...]

    def to_dict(self) -> dict[str, object]:
        """The JSON object of ``scalefit runs --json``."""
        return {
            "schema": 1,
            "source": self.source,
            "rows": self.rows,
            "runs": self.runs,
            "families": dict(self.families),
            "statuses": dict(self.statuses),
            "loss_units": list(self.units),
            "seeds": self.seeds,
            "spans": {
                name: {"low": span.low, "high": span.high, "missing": span.missing}
                for name, span in self.spans.items()
            },
            "fit": {
                "rows": self.fitted,
                "dropped": [{"reason": one.reason, "rows": one.rows} for one in self.dropped],
                "obstacle": self.obstacle,
                "notes": list(self.notes),
            },
            "by": self.by,
            "groups": [
                {"value": one.value, "rows": one.rows, "runs": one.runs, "best_loss": one.best}
                for one in self.groups
            ],
        }


def chosen(source: str | Path, where: str | None) -> pd.DataFrame:
    """The rows of a table for which an expression holds, every column as it is.

    Raises:
        DataError: if the table cannot be read, or the expression is none or selects nothing.
    """
    frame = load(source)
    if where is None:
        return frame
    return frame[cleaning.inside(frame, where, str(source))].reset_index(drop=True)


def summarise(
    source: str | Path,
    *,
    where: str | None = None,
    columns: Mapping[str, str] | None = None,
    by: str | None = None,
) -> Summary:
    """What the table holds, in the rows that `where` selects, and its groups by a column.

    Args:
        source: a file, a folder of parts, a glob, or "-" for standard input.
        where: which rows, in the language of ``--where``.
        columns: {"loss": "NAME"} where a quantity is not found by its name.
        by: the column whose values are counted.

    Raises:
        DataError: if the table or the expression cannot be read, or a column is not there.
    """
    frame = chosen(source, where)
    if by is not None and by not in frame:
        raise DataError(f'{source} has no column "{by}" for --by; {nearest(by, frame.columns)}')
    wanted = (*cleaning.QUANTITIES, "run_id")
    found = recognise(list(frame.columns), columns or {}, str(source), wanted)
    quantities = [name for name in cleaning.QUANTITIES if name in found]
    numbers = {name: cleaning.numbers(frame[found[name]]) for name in quantities}
    labels = _labels(frame, found)
    fit, obstacle = _fit(source, where, columns or {})
    return Summary(
        source=str(source),
        rows=len(frame),
        runs=len(set(labels)),
        families=_counts(frame, "family"),
        statuses=_counts(frame, "status"),
        units=tuple(_counts(frame, "loss_unit")),
        seeds=frame["seed"].nunique() if "seed" in frame else 0,
        spans={name: span for name, x in numbers.items() if (span := _span(x)) is not None},
        fitted=0 if fit is None else len(fit),
        dropped=() if fit is None else fit.dropped,
        obstacle=obstacle,
        notes=() if fit is None else fit.notes,
        by=by,
        groups=() if by is None else _groups(frame[by], labels, numbers.get("loss")),
    )


def _fit(
    source: str | Path, where: str | None, columns: Mapping[str, str]
) -> tuple[runs.Runs | None, str | None]:
    """The rows a fit would use, or why there are none."""
    if str(source) == "-":
        return None, "standard input is read once; name a file to see what a fit would leave out"
    try:
        return runs.read(source, where=where, columns=columns), None
    except DataError as error:
        return None, str(error)


def _labels(frame: pd.DataFrame, found: Mapping[str, str]) -> Sequence[str]:
    """Which run each row is of; without labels each row is one."""
    named = frame.assign(run_id=frame[found["run_id"]]) if "run_id" in found else frame
    labels = cleaning.run_labels(named)
    return [str(row) for row in frame.index] if labels is None else [str(one) for one in labels]


def _counts(frame: pd.DataFrame, column: str) -> dict[str, int]:
    """How many rows have each value of a column, the most frequent first; nulls are not counted."""
    if column not in frame:
        return {}
    counts = frame[column].dropna().astype(str).value_counts()
    return {str(value): int(count) for value, count in counts.items()}


def _span(values: pd.Series) -> Span | None:
    known = values[np.isfinite(values.to_numpy())]
    if known.empty:
        return None
    return Span(
        low=float(known.min()), high=float(known.max()), missing=int(len(values) - len(known))
    )


def _groups(column: pd.Series, labels: Sequence[str], loss: pd.Series | None) -> tuple[Group, ...]:
    """The groups in the order of their values, nulls last."""
    table = pd.DataFrame(
        {"value": column, "run": labels, "loss": loss if loss is not None else np.nan}
    )
    grouped = table.groupby("value", dropna=False, sort=True)
    if grouped.ngroups > MOST_GROUPS:
        raise DataError(
            f'--by "{column.name}" has {grouped.ngroups} values; choose a column with at most '
            f"{MOST_GROUPS}"
        )
    return tuple(_group(value, rows) for value, rows in grouped)


def _group(value: object, rows: pd.DataFrame) -> Group:
    best = rows["loss"].min()
    plain = value.item() if isinstance(value, np.generic) else value
    missing = rows["value"].isna().all()
    return Group(
        value=None if missing else plain if isinstance(plain, float | int) else str(plain),
        rows=len(rows),
        runs=rows["run"].nunique(),
        best=None if pd.isna(best) else float(best),
    )
