"""The rows of a table by run: sizes, recipes and runs by number, and which rows are warm-up."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from scalefit.errors import FitError
from scalefit.laws import Flags, FloatArray
from scalefit.runs import Runs

ONE_SIZE = 0.01  # sizes nearer in log N are one
STRIDE = 0.4  # of log C, over which the slope of a curve is taken to tell its warm-up
STEEPER = 2.0  # times as steep as at its start, and as after it, gets a curve that warms up
SETTINGS = ("lr", "batch_tokens", "width", "depth", "schedule", "unique_tokens", "family")
"""What runs have in common that differ in seed alone, besides their size and their length."""
LOGARITHMS = {"n": "params", "c": "flops", "d": "tokens", "l": "loss"}
Numbers = npt.NDArray[np.intp]


def stretches(labels: Numbers) -> Iterator[tuple[int, slice]]:
    """Each stretch of equal neighbours: their label and where they are."""
    starts = np.flatnonzero(np.diff(labels, prepend=labels[:1] - 1))
    for first, end in zip(starts, [*starts[1:], len(labels)], strict=True):
        yield int(labels[first]), slice(int(first), int(end))


def rows_by_run(runs: Runs) -> pd.DataFrame:
    """The table by run and compute: logarithms, and the numbers of size, recipe and run.

    Runs are numbered by size and then recipe; checkpoints of one run at one compute are averaged.
    """
    _check_columns(runs)
    labels = runs.cluster
    if labels is None:
        raise FitError(
            f"{runs.source}: no two rows share a run, so there are no training curves for an "
            "envelope; fit with isoflop or parametric, or name the column of runs with "
            "--column run_id=NAME"
        )
    frame = runs.frame.copy()
    for short, name in LOGARITHMS.items():
        frame[f"log_{short}"] = np.log(frame[name])
    if "lr" in frame:
        frame["lr"] = pd.to_numeric(frame["lr"], errors="coerce")
    _check_rows(frame, labels, runs.source)
    table = _numbered(frame, labels)
    for name in ("size", "recipe", "run"):
        frame[name] = table[name].reindex(labels).to_numpy()
    kept = ["log_n", "log_d", "log_l", "size", "recipe", *(["lr"] if "lr" in frame else [])]
    averaged: pd.DataFrame = frame.groupby(["run", "log_c"])[kept].mean().reset_index()
    return averaged.astype({"size": np.intp, "recipe": np.intp, "run": np.intp})


def _numbered(frame: pd.DataFrame, labels: npt.NDArray[np.object_]) -> pd.DataFrame:
    """The numbers of size, recipe and run by label."""
    by_run = frame.groupby(labels, sort=False)
    settings = [name for name in SETTINGS if name in frame]
    table = by_run[settings].first()
    log_n = by_run["log_n"].median()
    order = np.argsort(log_n.to_numpy(), kind="stable")
    steps = np.cumsum(np.diff(log_n.to_numpy()[order], prepend=log_n.min()) > ONE_SIZE)
    table["size"] = pd.Series(steps, index=log_n.index[order])
    table["end"] = by_run["log_d"].max().round(2)
    group = table.groupby(["size", "end", *settings], dropna=False).ngroup()
    table["recipe"] = group.max() + 1 + np.arange(len(table))
    if "seed" in frame:
        seed = by_run["seed"].first().groupby(group)
        differ = seed.transform("nunique") == group.groupby(group).transform("size")
        table["recipe"] = table["recipe"].where(~differ, group)
    table = table.sort_values(["size", "recipe"], kind="stable")
    return table[["size", "recipe"]].assign(run=np.arange(len(table)))


def warming(rows: pd.DataFrame, warmup: float | None) -> Flags:
    """Which rows are warm-up."""
    log_c, log_l = (rows[name].to_numpy() for name in ("log_c", "log_l"))
    rate = rows["lr"].to_numpy(np.float64) if "lr" in rows else np.full(len(rows), np.nan)
    cold = np.zeros(len(rows), dtype=bool)
    for _, mine in stretches(rows["run"].to_numpy()):
        if warmup is not None:
            cold[mine] = log_c[mine] < log_c[mine.stop - 1] + np.log(max(warmup, 1e-300))
        elif (first := _warm(log_c[mine], log_l[mine], rate[mine])) > 0:
            cold[mine.start : mine.start + first] = True
    return cold


def _warm(log_c: FloatArray, log_l: FloatArray, rate: FloatArray) -> int:
    """The first checkpoint after the warm-up of a curve, 0 if there is none to be seen."""
    if np.isfinite(rate).all() and np.ptp(rate) > 0 and (peak := int(rate.argmax())) > 0:
        return peak
    some = np.unique((log_c - log_c[0]) // STRIDE, return_index=True)[1]
    some = some[np.diff(log_c[some], prepend=-np.inf) > STRIDE / 2]
    if len(some) < 4:
        return 0
    slope = np.diff(log_l[some]) / np.diff(log_c[some])
    steepest = int(slope[: len(slope) // 2 + 1].argmin())  # a cooldown at the end is steep too
    if slope[steepest] >= STEEPER * min(slope[0], 0.0):
        return 0
    after = slope[steepest:] > slope[steepest] / STEEPER
    return int(some[steepest + int(after.argmax())]) if after.any() else 0


def _check_columns(runs: Runs) -> None:
    lacking = [name for name in LOGARITHMS.values() if name not in runs.frame]
    if lacking:
        raise FitError(
            f"{runs.source} was read without {' and '.join(lacking)}, and an envelope takes N, D, "
            f"C and L; map a column with --column {lacking[0]}=NAME"
        )


def _check_rows(frame: pd.DataFrame, labels: npt.NDArray[np.object_], source: str) -> None:
    units = sorted(map(str, frame["loss_unit"].dropna().unique())) if "loss_unit" in frame else []
    if len(units) > 1:
        raise FitError(
            f"{source}: its losses are in {' and in '.join(units)}, and curves in different units "
            f"have no envelope; take one with --where \"loss_unit == '{units[0]}'\""
        )
    spread = frame.groupby(labels)["log_n"].agg(np.ptp)
    if (spread > ONE_SIZE).any():
        raise FitError(
            f"{source}: run {spread.idxmax()} has rows of several sizes, so it is no training "
            "curve; name the column that tells runs apart with --column run_id=NAME"
        )
