"""A run's part of the results: how it is written, by whom the run was trained, and read again."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pyarrow.parquet as pq

from scalefit.runs import is_finished, write_failure, write_part
from trainers.launch.tasks import Task, Trained
from trainers.recipe import Row, Run


def write_rows(results: Path, run: Run, rows: Sequence[Row], code: str) -> None:
    """Write the part of a finished run, unless whoever trained it has done so.

    `code` is the column that names this code. Raises DataError if it cannot be written.
    """
    if not is_finished(results, run.id):
        write_part(results, run.id, [row | {"code": code} for row in rows])


def write_reason(results: Path, run: Run, reason: str, code: str) -> None:
    """Write that a run failed, and why; DataError if it cannot be written."""
    write_failure(results, run.id, run.columns() | {"code": code}, reason)


def rows_of(results: Path, run: Run) -> list[Row]:
    """The rows of a run whose part is in this folder."""
    rows: list[Row] = pq.read_table(results / f"{run.id}.parquet").to_pylist()
    return rows


def at_end(task: Task, rows: Sequence[Sequence[Row]], told: float = 0.0) -> Trained:
    """What is told of a task that is done: its FLOPs but for those told, and its last losses."""
    losses = tuple(cast("float | None", of_run[-1]["loss"]) for of_run in rows)
    return Trained(flops=max(0.0, task.flops - told), losses=losses)
