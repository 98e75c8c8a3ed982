"""From a sweep of learning rates and batch sizes to the best of each, for every pair (N, D).

The loss near its minimum is a paraboloid in the logarithms of both, for the minimum is broad and
convex (Li et al. 2025, arXiv:2503.04715). Its vertex uses all runs near the lowest, and so is
steadier than the lowest run, whose noise decides among neighbours on a flat floor.
"""

import json
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement

import numpy as np
import numpy.typing as npt
import pandas as pd

from scalefit.errors import DataError, FitError
from scalefit.laws import FloatArray
from scalefit.runs import Runs

SCHEMA = 1
AXES = ("lr", "batch_tokens")
NEEDED = ("params", "tokens", *AXES, "loss")
SAME = 0.03  # sizes this near in log are one: budgets are met in whole steps
SPARE = 2  # runs more than a surface has coefficients
TELLS = 3  # values of an axis that a parabola along it needs


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best (lr, batch_tokens) of one pair (N, D), the loss there, and how it was found.

    ``found`` is "surface" or "lowest run"; ``swept`` are the axes along which it is a best at all.
    """

    at: tuple[float, float]
    loss: float
    found: str
    swept: list[str]


def best_of_sweep(runs: Runs, *, share: float = 0.4, far: float = 1.5) -> Runs:
    """The table of optima that the forms "optimal-lr" and "optimal-batch" are fitted to.

    Args:
        runs: a sweep with params, tokens, lr, batch_tokens and loss; a "status" other than "ok"
            marks runs that failed.
        share: of the runs of a pair (N, D), those of lowest loss, to which the surface is fitted.
        far: a run whose loss is more than so many times the lowest of its pair has diverged.

    Returns:
        A row for every pair: params, tokens, flops (6ND), lr, batch_tokens, loss, ``runs`` (how
        many it comes from) and ``found`` ("surface", or "lowest run" where the runs have no
        minimum inside). The notes count what was left out.

    Raises:
        DataError: if a column is missing or holds no rates.
        FitError: if no pair has an optimum inside its sweep.
    """
    frame, notes = _sound(runs, far)
    cells = [(cell, _best(cell, share)) for _, cell in frame.groupby("cell")]
    found = [(cell, best) for cell, best in cells if best is not None]
    if not found:
        raise FitError(
            f"{runs.source}: none of the {len(cells)} pairs of N and D has its lowest loss inside "
            "the learning rates and batches tried; sweep wider, with three or more of each"
        )
    if len(found) < len(cells):
        notes.append(
            f"{len(cells) - len(found)} of {len(cells)} pairs of N and D left out: their lowest "
            "loss does not lie inside the learning rates and batches tried"
        )
    for axis in AXES:
        given = sum(axis not in best.swept for _, best in found)
        if given:
            notes.append(f"{axis} was not swept in {given} pairs of N and D: it is as given there")
    table = pd.DataFrame([_row(cell, best) for cell, best in found])
    return replace(runs, frame=table, notes=(*runs.notes, *notes), dropped=(), quantities=NEEDED)


def summary(optima: Runs) -> dict[str, object]:
    """The JSON object of ``scalefit sweep --json``."""
    rows = optima.frame.to_json(orient="records", double_precision=15)
    return {"schema": SCHEMA, "optima": json.loads(rows), "notes": list(optima.notes)}


def _row(cell: pd.DataFrame, best: Best) -> dict[str, object]:
    n, d = float(cell["params"].median()), float(cell["tokens"].median())
    lr, batch = best.at
    return {
        "params": n,
        "tokens": d,
        "flops": 6 * n * d,
        "lr": lr,
        "batch_tokens": batch,
        "loss": best.loss,
        "runs": len(cell),
        "found": best.found,
    }


def _sound(runs: Runs, far: float) -> tuple[pd.DataFrame, list[str]]:
    """The runs that ended well, each with the number of its pair (N, D), and what was left out."""
    missing = [name for name in NEEDED if name not in runs.frame]
    if missing:
        raise DataError(
            f"{runs.source} has no {' and no '.join(map(repr, missing))}, which a sweep needs; "
            f"map a column with --column {missing[0]}=NAME"
        )
    frame = runs.frame
    if not (frame[list(AXES)] > 0).all(axis=None):
        raise DataError(f"{runs.source}: lr and batch_tokens must be numbers above 0 in every row")
    notes = [f"{entry.rows} runs left out ({entry.reason})" for entry in runs.dropped]
    if "status" in frame:
        failed = (frame["status"].astype(object).fillna("ok").astype(str) != "ok").to_numpy()
        frame = frame[~failed]
        if failed.any():
            notes.append(f"{failed.sum()} runs left out (their status is not ok)")
    sizes = [_near(frame[name].to_numpy(np.float64)) for name in ("params", "tokens")]
    frame = frame.assign(cell=[f"{n}, {d}" for n, d in zip(*sizes, strict=True)])
    lowest = frame.groupby("cell")["loss"].transform("min")
    diverged = (~(frame["loss"] <= far * lowest)).to_numpy()
    if diverged.any():
        notes.append(
            f"{diverged.sum()} of {len(diverged)} runs left out (diverged: more than {far:g} times "
            "the lowest loss of their N and D)"
        )
    return frame[~diverged], notes


def _near(values: FloatArray) -> npt.NDArray[np.intp]:
    """The number of the group of nearly equal values that each belongs to."""
    distinct, which = np.unique(values, return_inverse=True)
    group: npt.NDArray[np.intp] = np.cumsum(np.diff(np.log(distinct), prepend=-np.inf) > SAME)
    return group[which]


def _best(cell: pd.DataFrame, share: float) -> Best | None:
    """The vertex of the surface, else the lowest run unless it lies on an edge; None if so."""
    lowest = cell.iloc[int(cell["loss"].to_numpy().argmin())]
    free = [name for name in AXES if cell[name].nunique() >= TELLS]
    for name in set(AXES) - set(free):
        cell = cell[cell[name] == lowest[name]]
    if not free:
        return None
    vertex = _vertex(cell, free, share)
    given, loss = vertex or ({}, float(lowest["loss"]))
    edge = any(lowest[name] in (cell[name].min(), cell[name].max()) for name in free)
    if vertex is None and edge:
        return None
    lr, batch = (float(given.get(name, lowest[name])) for name in AXES)
    return Best(at=(lr, batch), loss=loss, found="surface" if vertex else "lowest run", swept=free)


def _vertex(
    cell: pd.DataFrame, free: list[str], share: float
) -> tuple[dict[str, float], float] | None:
    """Where the paraboloid of the lowest runs is least, and that loss; None if not among them."""
    k = len(free)
    pairs = list(combinations_with_replacement(range(k), 2))
    count = 1 + k + len(pairs)
    used = cell.nsmallest(max(int(np.ceil(share * len(cell))), count + SPARE), "loss")
    if len(used) < count + SPARE or any(used[name].nunique() < TELLS for name in free):
        return None
    logs = np.log(used[free].to_numpy(np.float64))
    middle = logs.mean(axis=0)
    x = logs - middle
    terms = np.column_stack([np.ones(len(x)), x, *(x[:, i] * x[:, j] for i, j in pairs)])
    height, *rest = np.linalg.lstsq(terms, used["loss"].to_numpy(np.float64))[0]
    slope, bend = np.array(rest[:k]), np.zeros((k, k))
    for (i, j), value in zip(pairs, rest[k:], strict=True):
        bend[i, j] += value
        bend[j, i] += value
    if not np.linalg.eigvalsh(bend)[0] > 0:
        return None
    at = -np.linalg.solve(bend, slope)
    if (at < x.min(axis=0)).any() or (at > x.max(axis=0)).any():
        return None
    where = np.exp(middle + at).tolist()
    return dict(zip(free, where, strict=True)), float(height + slope @ at / 2)
