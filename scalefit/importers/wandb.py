"""Runs of Weights & Biases: exports of its web pages, history files, and its API.

A chart's CSV has the x axis first, then "RUN - METRIC" a run, with "RUN - METRIC__MIN" and "__MAX"
beside it where points were drawn together. The table's CSV has a row a run: "Name", "State", then
settings and last values. A history has a row a step, with `_step`, `_runtime`, `_timestamp`.
`_step` counts calls of wandb.log, unless the run logs its own step: where a history has one other
step (train/global_step, iter), that is taken.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scalefit.errors import DataError
from scalefit.importers.imported import (
    Fact,
    Imported,
    Points,
    configured,
    distinct_names,
    is_step,
    number,
    read_text,
)

PREFIX = "wandb:"
MISSING = 'reading runs from W&B needs wandb: pip install "scalefit[wandb]"'
OWN_STEP = "_step"
_CALLS = "_step of W&B, which counts calls of wandb.log"
_SPREAD = ("__MIN", "__MAX")
_TABLE = ("State", "Notes", "User", "Tags", "Created", "Runtime", "Sweep")
_STATUS = {"finished": "ok", "failed": "failed", "crashed": "failed"}
_INNER = ("_wandb", "_timestamp", "_runtime")

Row = Mapping[str, object]


def csv_header(text: str) -> list[str]:
    """The columns of a CSV by its first line; none if it is not one."""
    try:
        return next(csv.reader(io.StringIO(text[:100_000]), strict=True), [])
    except csv.Error:
        return []


def is_export(header: Sequence[str]) -> bool:
    """Whether a CSV with these columns is an export of W&B."""
    return _is_chart(header) or _is_table(header) or OWN_STEP in header


def is_history(record: object) -> bool:
    """Whether a JSON record is a row of a history."""
    return isinstance(record, dict) and OWN_STEP in record


def _is_chart(header: Sequence[str]) -> bool:
    return len(header) > 1 and all(" - " in name for name in header[1:])


def _is_table(header: Sequence[str]) -> bool:
    return "Name" in header and len(set(_TABLE) & set(header)) > 1


def read_file(path: Path, step: str | None) -> Imported:
    """An export as CSV, or a history as JSON lines.

    Args:
        path: of the file.
        step: the name of the column that counts steps, where that is not plain.

    Raises:
        DataError: if it is neither, or its steps are not optimiser steps.
    """
    text = read_text(path)
    if text.lstrip()[:1] in ("{", "["):
        return _history(list(_json_rows(text, path)), path, step)
    header, rows = _csv_rows(text, path)
    if OWN_STEP in header:
        return _history(rows, path, step)
    if _is_table(header):
        return _table(rows, path, step)
    if _is_chart(header):
        return _chart(header, rows, path)
    raise DataError(
        f'{path} is no export of W&B: it has neither "RUN - METRIC" columns, nor Name and State, '
        f"nor {OWN_STEP}"
    )


def read_api(source: str, chosen: str | None, step: str | None) -> Imported:
    """The runs of "wandb:ENTITY/PROJECT", through W&B's own client.

    Args:
        source: entity and project.
        chosen: a filter of W&B in JSON, '{"state": "finished"}'.
        step: the metric that counts optimiser steps, where that is not plain.

    Raises:
        DataError: if wandb is not installed, the filter is no JSON, or W&B refuses.
    """
    filters = _filters(chosen)
    try:
        import wandb
    except ModuleNotFoundError as error:
        raise DataError(MISSING) from error
    try:
        runs = list(wandb.Api().runs(source.removeprefix(PREFIX), filters=filters))
        histories = [[dict(row) for row in run.scan_history()] for run in runs]
    except (wandb.errors.Error, OSError, ValueError) as error:
        raise DataError(f"{source} cannot be read: {str(error).splitlines()[0]}") from error
    taken = _step_of([row for rows in histories for row in rows], step, source)
    points, facts = Points(), {}
    names = [str(run.name) for run in runs]
    for run, rows in zip(runs, histories, strict=True):
        name = run.name if names.count(run.name) == 1 else f"{run.name} ({run.id})"
        _add(rows, name, taken, points)
        facts[name] = configured(_flat(run.config), "the config of W&B") | _state(str(run.state))
    return _imported(points, source, facts, _said(taken))


def _flat(config: Mapping[str, Any]) -> dict[str, object]:
    """Nested settings under their names with dots, as the table of W&B shows them."""
    flat: dict[str, object] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": x for inner, x in _flat(value).items()}
        else:
            flat[str(name)] = value
    return flat


def _filters(chosen: str | None) -> dict[str, Any] | None:
    try:
        filters = json.loads(chosen) if chosen else None
    except ValueError as error:
        raise DataError(
            f"--filter {chosen!r} is not JSON ({error}); W&B takes a JSON object"
        ) from error
    if filters is not None and not isinstance(filters, dict):
        raise DataError(f"--filter {chosen!r} is not a JSON object, which W&B takes")
    return filters


def _chart(header: Sequence[str], rows: Iterable[Row], path: Path) -> Imported:
    """A chart: the x axis is the step, or each run has a column of its own steps."""
    axis, *columns = header
    plain = [name for name in columns if not name.endswith(_SPREAD)]
    pairs = {name: tuple(name.rsplit(" - ", 1)) for name in plain}
    own = {run for run, metric in pairs.values() if metric == OWN_STEP}
    lacking = sorted({run for run, _ in pairs.values()} - own)
    if not is_step(axis) and lacking:
        raise DataError(
            f'{path}: the x axis is "{axis}", which counts no steps, and {lacking[0]!r} has no '
            f'column "{lacking[0]} - {OWN_STEP}"; export the chart with Step on its x axis'
        )
    points = Points()
    for row in rows:
        for name, (run, metric) in pairs.items():
            value = number(row[name])
            step = number(row[axis] if is_step(axis) else row[f"{run} - {OWN_STEP}"])
            if value is not None and step is not None and metric != OWN_STEP:
                points.add(run, step, metric, value)
    said = f'the x axis "{axis}" of the chart' if is_step(axis) else _CALLS
    spread = ["__MIN and __MAX columns are left out"] if len(plain) < len(columns) else []
    return _imported(points, str(path), {}, _CALLS if axis == "Step" else said, spread)


def _table(rows: Sequence[Row], path: Path, step: str | None) -> Imported:
    """The table of runs: one row a run, its last values."""
    taken = _step_of(rows, step, str(path))
    points, facts = Points(), {}
    names = [str(row["Name"]) for row in rows]
    for row in rows:
        name = str(row["Name"])
        if names.count(name) > 1:
            if not row.get("ID"):
                raise DataError(
                    f"{path} has {names.count(name)} runs called {name!r}; export it with the "
                    "column ID, which tells them apart"
                )
            name = f"{name} ({row['ID']})"
        _add([row], name, taken, points)
        facts[name] = configured(dict(row), "the table of W&B") | _state(str(row.get("State")))
    return _imported(points, str(path), facts, _said(taken))


def _history(rows: Sequence[Row], path: Path, step: str | None) -> Imported:
    """The rows of one run, named by the file."""
    run = distinct_names([path])[0]
    taken = _step_of(rows, step, str(path))
    points = Points()
    _add(rows, run, taken, points)
    return _imported(points, str(path), {}, _said(taken))


def _imported(
    points: Points,
    source: str,
    facts: Mapping[str, Mapping[str, Fact]],
    steps: str,
    notes: Sequence[str] = (),
) -> Imported:
    return Imported(
        kind="wandb", source=source, frame=points.frame(source), facts=facts, step_origin=steps,
        notes=(*notes, *points.notes()),
    )  # fmt: skip


def _step_of(rows: Sequence[Row], given: str | None, source: str) -> str:
    """The column that counts optimiser steps: as given, else the one that has such a name."""
    names = dict.fromkeys(name for row in rows for name, value in row.items() if value != "")
    if given is not None:
        if given not in names:
            raise DataError(f"{source} has no column {given!r} for --step-metric")
        return given
    found = [name for name in names if is_step(name) and name != OWN_STEP]
    if len(found) > 1:
        raise DataError(
            f"{source} has {' and '.join(map(repr, found))}, which may both count steps; choose "
            "with --step-metric NAME"
        )
    if not found and OWN_STEP not in names:
        raise DataError(f"{source} has no column that counts steps; name it with --step-metric")
    return found[0] if found else OWN_STEP


def _add(rows: Iterable[Row], run: str, taken: str, points: Points) -> None:
    """Note every number of the rows; a row of a history that lacks the step has the last one."""
    last = None
    for row in rows:
        step = number(row.get(taken))
        last = step if step is not None else last
        for name, value in row.items():
            x = None if name in (taken, OWN_STEP, *_INNER) else number(value)
            if x is not None and last is not None:
                points.add(run, last, name, x)


def _said(taken: str) -> str:
    return _CALLS if taken == OWN_STEP else f'"{taken}"'


def _state(state: str) -> dict[str, Fact]:
    known = _STATUS.get(state)
    return {"status": Fact(value=known, origin="the state of W&B")} if known else {}


def _csv_rows(text: str, path: Path) -> tuple[list[str], list[Row]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header, *lines = [line for line in reader if line] or [[]]
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}") from error
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise DataError(
            f'{path} has two columns "{twice[0]}"; rename one of the runs and export again'
        )
    for place, line in enumerate(lines, start=1):
        if len(line) != len(header):
            raise DataError(
                f"{path}: data row {place} has {len(line)} fields where the header has "
                f"{len(header)}; export it again"
            )
    return header, [dict(zip(header, line, strict=True)) for line in lines]


def _json_rows(text: str, path: Path) -> Iterator[Row]:
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        whole = json.loads(text) if text.lstrip()[0] == "[" else map(json.loads, lines)
        for place, row in enumerate(whole, start=1):
            if not isinstance(row, dict):
                raise DataError(f"{path}: record {place} is not an object; name a history of W&B")
            yield row
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON lines: {error}") from error
