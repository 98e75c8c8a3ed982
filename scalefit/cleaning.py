"""From a raw table to rows that a fit may use: numbers, what is derived, what is left out and why.

Nothing is changed or left out in silence: each step returns what it did as a note or a count.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype, is_scalar

from scalefit.errors import DataError
from scalefit.flops import six_nd
from scalefit.importers import SYNONYMS
from scalefit.undertuned import undertuned
from scalefit.where import select

COMPUTE = ("params", "tokens", "flops")
"""Of these, any one follows from the other two by C = 6ND."""
QUANTITIES = (*COMPUTE, "loss")
SAME = 0.01  # of C: what is so near to 6ND in the median is 6ND
_DERIVED = {
    "params": "params = flops / (6 * tokens)",
    "tokens": "tokens = flops / (6 * params)",
    "flops": "flops = 6 * params * tokens",
}
# Weights that were annealed are what a law of compute-optimal training speaks of; an average
# stands in for annealing; a point on the constant-rate trunk is above both.
_AVERAGING = ("cooldown", "ema", "raw")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """So many rows of a table that are not fitted, and the reason."""

    reason: str
    rows: int


def numbers(column: pd.Series) -> pd.Series:
    """A column as float64, of the same shape and index; what is no number becomes NaN."""
    if is_numeric_dtype(column):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        values = np.array([_number(cell) for cell in column], dtype=np.float64)
    return pd.Series(values, index=column.index)


def derive(
    frame: pd.DataFrame, found: Mapping[str, str], needed: Sequence[str], source: str
) -> str | None:
    """Add the one of params, tokens and flops that is missing by C = 6ND; say so, if it was.

    The 6 counts the multiplications and additions of the forward and backward pass (Kaplan et al.
    2020, section 2.1). Raises DataError if a quantity that is ``needed`` is missing then.
    """
    known = {q for q in COMPUTE if q in found and frame[q].notna().any()}
    missing = [q for q in COMPUTE if q not in known]
    lacking = [q for q in missing if q in needed and len(missing) > 1]
    lacking += [q for q in needed if q not in (*COMPUTE, *found)]
    if lacking:
        theirs = [name for name in frame.columns if found.get(name, name) == name]
        raise _lacking(lacking, theirs, source)
    if len(missing) != 1:
        return None
    with np.errstate(all="ignore"):  # zeros and overflow are refused by check, in plain words
        match missing[0]:
            case "flops":
                frame["flops"] = six_nd(frame["params"], frame["tokens"])
            case "tokens":
                frame["tokens"] = frame["flops"] / 6.0 / frame["params"]
            case _:
                frame["params"] = frame["flops"] / 6.0 / frame["tokens"]
    return f"{_DERIVED[missing[0]]} (derived; the table has none)"


def inside(frame: pd.DataFrame, where: str, source: str) -> NDArray[np.bool_]:
    """The rows for which an expression holds; DataError if there are none."""
    rows: NDArray[np.bool_] = select(frame, where)
    if not rows.any():
        raise DataError(f'--where "{where}" selects none of the {len(frame)} rows of {source}')
    return rows


def choose(
    frame: pd.DataFrame, where: str | None, source: str
) -> tuple[pd.DataFrame, list[Dropped]]:
    """The rows inside the expression whose runs ended well, and the count of the others."""
    dropped: list[Dropped] = []
    if where is not None:
        rows = inside(frame, where, source)
        frame = _keep(frame, rows, f"outside --where {where}", dropped)
    if "status" in frame:
        frame = _keep(frame, ~_outlived(frame), "their run failed where it was annealed", dropped)
        status = frame["status"].astype(object).fillna("ok").astype(str)
        for kind in sorted(set(status) - {"ok"}):
            bad = (status == kind).reindex(frame.index).to_numpy()
            frame = _keep(frame, ~bad, f"status {kind}", dropped)
    return frame, dropped


def distinct(frame: pd.DataFrame, needed: Sequence[str]) -> tuple[pd.DataFrame, list[Dropped]]:
    """The rows with a measured response, each once, in the best averaging that its run has.

    The response is the last of the quantities ``needed``.
    """
    dropped: list[Dropped] = []
    response = needed[-1]
    frame = _keep(frame, frame[response].notna().to_numpy(), f"{response} not measured", dropped)
    runs = run_labels(frame)
    if runs is not None and "averaging" in frame:
        rank = frame["averaging"].map(_averaging_rank).astype(int)
        best = rank.groupby(runs).transform("min")
        reason = "less annealed than other rows of their run"
        frame = _keep(frame, (rank == best).to_numpy(), reason, dropped)
    if "lr" not in needed:
        reason = "under-tuned: another learning rate did better"
        frame = _keep(frame, ~undertuned(frame), reason, dropped)
    key = [*needed, *(["run_id"] if "run_id" in frame else [])]
    frame = _keep(frame, ~frame.duplicated(key).to_numpy(), "exact duplicate", dropped)
    return frame, dropped


def check_text(frame: pd.DataFrame, raw: Mapping[str, pd.Series], source: str) -> None:
    """Raise DataError for the first cell of a quantity that holds something but no number."""
    for quantity, column in raw.items():
        cells = column.loc[frame.index]
        wrong = cells[frame[quantity].isna() & ~cells.map(_is_missing).astype(bool)]
        if len(wrong):
            row, value = wrong.index[0], wrong.iloc[0]
            raise DataError(
                f'{source}, column "{column.name}", data row {row + 1}: {value!r} is not a number; '
                "correct it or leave the row out with --where"
            )


def check_values(
    frame: pd.DataFrame, found: Mapping[str, str], needed: Sequence[str], source: str
) -> None:
    """Raise DataError unless every quantity needed is positive and finite in every row."""
    # columns that were read come first: what is derived from a bad one is not the one to blame
    for quantity in sorted(needed, key=lambda q: q not in found):
        x = frame[quantity]
        for fault, rows in (
            ("missing", x.isna()),
            ("infinite", np.isinf(x)),
            ("zero or negative", x <= 0),
        ):
            if rows.any():
                first = x[rows].index[0] + 1
                cure = f"0 < {quantity} < 1e300" if fault == "infinite" else f"{quantity} > 0"
                raise DataError(
                    f'{source}, column "{found.get(quantity, quantity)}": {rows.sum()} of '
                    f"{len(x)} values are {fault}, the first in data row {first}; "
                    f'leave them out with --where "{cure}"'
                )


def one_unit(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[Dropped]]:
    """The rows whose loss is in the unit that most rows state, or in none; the others counted."""
    dropped: list[Dropped] = []
    if "loss_unit" not in frame:
        return frame, dropped
    units = frame["loss_unit"].dropna().astype(str).value_counts()
    for unit in units.index[1:]:
        other = (frame["loss_unit"] == unit).to_numpy()
        frame = _keep(frame, ~other, f"loss in {unit}, not {units.index[0]}", dropped)
    return frame, dropped


def run_labels(frame: pd.DataFrame) -> NDArray[np.object_] | None:
    """The label of each row's run, shape (rows,), or None if the table has none.

    A row whose label is missing is a run of its own.
    """
    if "run_id" not in frame:
        return None
    alone = [f"row {i}" for i in frame.index]
    given = frame["run_id"].astype(object)
    labels: NDArray[np.object_] = given.where(given.notna(), alone).astype(str).to_numpy(object)
    return labels


def discrepancy(frame: pd.DataFrame) -> str | None:
    """What people should know if the table's own flops is not 6 * params * tokens."""
    if not set(COMPUTE) <= set(frame):
        return None
    ratio, off = over_six_nd(frame)
    if not off > SAME:
        return None
    return (
        f"flops differs from 6 * params * tokens by {off:.0%} in the median "
        f"({ratio.min():.2f} to {ratio.max():.2f} times it); the column is used as it is"
    )


def over_six_nd(frame: pd.DataFrame) -> tuple[NDArray[np.float64], float]:
    """C over 6ND of every row, shape (rows,), and how far it is from 1 in the median."""
    ratio = (frame["flops"] / 6.0 / frame["params"] / frame["tokens"]).to_numpy()
    return ratio, float(np.median(np.abs(ratio - 1.0)))


def _outlived(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Rows (rows,) that would stand in for better annealed ones of their run, which all failed."""
    runs = run_labels(frame)
    if runs is None or "averaging" not in frame:
        return np.zeros(len(frame), dtype=bool)
    rank = frame["averaging"].map(_averaging_rank).astype(float)
    failed = (frame["status"].astype(object).fillna("ok").astype(str) != "ok").to_numpy()
    annealed = rank.where(failed & (rank < len(_AVERAGING)).to_numpy()).groupby(runs)
    worse: NDArray[np.bool_] = (rank > annealed.transform("min")).to_numpy() & ~failed
    return worse


def _lacking(missing: list[str], columns: Sequence[str], source: str) -> DataError:
    wanted = " and ".join(f'"{quantity}" (tried {_tried(quantity)})' for quantity in missing)
    names = [name for name in columns if name not in missing]
    listed = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return DataError(
        f"{source} has no column with values for {wanted}; it has {listed}; "
        f"map yours with --column {missing[0]}=NAME"
    )


def _tried(quantity: str) -> str:
    names = SYNONYMS.get(quantity, (quantity,))
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def _keep(
    frame: pd.DataFrame, rows: NDArray[np.bool_], reason: str, dropped: list[Dropped]
) -> pd.DataFrame:
    lost = int(np.count_nonzero(~rows))
    if lost:
        dropped.append(Dropped(reason=reason, rows=lost))
    return frame[rows] if lost else frame


def _averaging_rank(kind: object) -> int:
    return _AVERAGING.index(kind) if kind in _AVERAGING else len(_AVERAGING)


def _number(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def _is_missing(cell: Any) -> bool:
    return cell == "" if isinstance(cell, str) else bool(is_scalar(cell) and pd.isna(cell))
