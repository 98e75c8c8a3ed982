"""What a folder of results holds of a grid: what is done, what failed and why, what is missing."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

from scalefit.errors import GridError
from scalefit.runs import failures, finished
from scalefit.undertuned import undertuned
from trainers.grid import Grid, Grids
from trainers.recipe import Run

UNDERTUNED = "undertuned"
COLUMNS = ["run_id", "status", "config", "loss", "tokens", "averaging"]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Runs by what became of them.

    Attributes:
        done: finished runs, diverged ones not among them.
        diverged: those whose loss is no number.
        undertuned: those done that do worse than their like at another learning rate, at every
            token count (``scalefit.undertuned``).
        failed: reasons by run, of those that failed and were not trained since.
        missing: runs of the grid that are not there; None where no grid was given.
        flops: (done, in all) of the grid's training FLOPs; None likewise.
        others: runs that are not the grid's; None likewise.
    """

    done: int
    diverged: int
    undertuned: int
    failed: Mapping[str, str]
    missing: int | None
    flops: tuple[float, float] | None
    others: int | None

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``scalefit status --json``."""
        return asdict(self)


def status(results: Path, grid: Grid | Grids | None = None) -> State:
    """What a folder holds, and with a grid what it lacks.

    Raises:
        GridError: if there is no such folder.
    """
    if not results.is_dir():
        raise GridError(f"{results} is no folder of results; name one that train-grid wrote")
    found, reasons = _kinds(results), failures(results)
    runs = {run.id: run for run in grid.runs()} if grid else {}
    mine = {key: kind for key, kind in found.items() if not grid or key in runs}
    failed = {key: reason for key, reason in reasons.items() if not grid or key in runs}
    return State(
        done=sum(kind in ("ok", UNDERTUNED) for kind in mine.values()),
        diverged=sum(kind == "diverged" for kind in mine.values()),
        undertuned=sum(kind == UNDERTUNED for kind in mine.values()),
        failed={_name(runs.get(key), key): reason for key, reason in failed.items()},
        missing=len(runs.keys() - found.keys() - failed.keys()) if grid else None,
        flops=_flops(runs, mine) if grid else None,
        others=len(found.keys() - runs.keys()) if grid else None,
    )


def _kinds(results: Path) -> dict[str, str]:
    """By finished run: "ok", "undertuned", or what one of its rows is instead."""
    parts = [str(results / f"{run}.parquet") for run in sorted(finished(results))]
    if not parts:
        return {}
    frame = ds.dataset(parts, format="parquet").to_table(columns=COLUMNS).to_pandas()
    frame["status"] = frame["status"].fillna("ok")
    frame["worse"] = undertuned(frame)
    found: dict[str, str] = {}
    for run, rows in frame.groupby("run_id"):
        other = rows["status"][rows["status"] != "ok"]
        usual = UNDERTUNED if rows["worse"].all() else "ok"
        found[str(run)] = str(other.iloc[0]) if len(other) else usual
    return found


def _flops(runs: Mapping[str, Run], found: Mapping[str, str]) -> tuple[float, float]:
    done = sum(run.flops for key, run in runs.items() if key in found)
    return done, sum(run.flops for run in runs.values())


def _name(run: Run | None, key: str) -> str:
    return f"width {run.shape.width}, seed {run.seed}" if run else key
