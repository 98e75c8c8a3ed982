"""The runs table as CSV or JSON lines, so that it comes back equal.

Numbers are written with as many digits as bring the same float back; whole numbers stay whole, a
null is an empty cell in CSV and null in JSON. Text that Excel would take for a formula is written
as it is: the file is for programs.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from scalefit.errors import DataError

SUFFIXES = (".csv", ".jsonl", ".ndjson")


def as_csv(frame: pd.DataFrame) -> str:
    """Comma-separated text with a header."""
    text: str = _plain(frame).to_csv(index=False, lineterminator="\n")
    return text


def as_json_lines(frame: pd.DataFrame) -> str:
    """One JSON object a row."""
    return "".join(f"{json.dumps(record)}\n" for record in _records(frame))


def encoded(frame: pd.DataFrame, path: Path) -> str:
    """The table in the format that the suffix says.

    Raises:
        DataError: for another suffix.
    """
    if path.suffix not in SUFFIXES:
        raise DataError(
            f"{path} says no format; name a file that ends in {', '.join(SUFFIXES[:-1])} or "
            f"{SUFFIXES[-1]}"
        )
    return as_csv(frame) if path.suffix == ".csv" else as_json_lines(frame)


def write_new(content: str | bytes, path: Path) -> Path:
    """Write a new file of bytes or UTF-8 text; one that is there is kept.

    Raises:
        DataError: if there is one, or it cannot be written.
    """
    try:
        with path.open("xb") as file:
            file.write(content.encode("utf-8") if isinstance(content, str) else content)
    except FileExistsError as error:
        raise DataError(f"{path} exists already and is not overwritten; name another") from error
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Whole numbers with gaps, which pandas holds as floats, as whole numbers again."""
    return frame.assign(**{str(name): _whole(frame[name]) for name in frame.columns})


def _whole(column: pd.Series) -> pd.Series:
    if column.dtype.kind != "f" or column.name in _REAL:
        return column
    known = column.dropna().to_numpy()
    whole = len(known) > 0 and bool((np.abs(known) < 2**53).all() and (known % 1 == 0).all())
    return column.astype("Int64") if whole else column


def _records(frame: pd.DataFrame) -> Iterator[dict[str, object]]:
    columns: Iterable[list[object]] = [
        [None if pd.isna(x) else x for x in _whole(frame[name]).tolist()] for name in frame.columns
    ]
    for values in zip(*columns, strict=True):
        yield dict(zip(map(str, frame.columns), values, strict=True))


_REAL = ("flops", "loss", "loss_stderr", "source_entropy", "lr", "wall_seconds")
