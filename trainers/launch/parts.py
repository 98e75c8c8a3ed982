"""What the launchers that leave this machine share: a finished run's rows, and its last losses."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pyarrow.parquet as pq

from trainers.launch.tasks import Task, Trained
from trainers.recipe import Row, Run


def rows_of(results: Path, run: Run) -> list[Row]:
    """The rows of a run whose part is in this folder."""
    rows: list[Row] = pq.read_table(results / f"{run.id}.parquet").to_pylist()
    return rows


def at_end(task: Task, rows: Sequence[Sequence[Row]], told: float = 0.0) -> Trained:
    """What is told of a task that is done: its FLOPs but for those told, and its last losses."""
    losses = tuple(cast("float | None", of_run[-1]["loss"]) for of_run in rows)
    return Trained(flops=max(0.0, task.flops - told), losses=losses)
