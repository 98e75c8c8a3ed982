"""Imported runs into a new Parquet file, or as parts into a folder; nothing is ever overwritten."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from scalefit import runs
from scalefit.errors import DataError

Rows = Mapping[str, Sequence[Mapping[str, object]]]


def write(rows: Rows, target: Path) -> Path:
    """Write the rows of runs, by run id, to a new file NAME.parquet or as parts into a folder.

    A folder is what is one already, or has a name without a suffix.

    Raises:
        DataError: if the file or a part is there already, the suffix is another, a value does not
            fit its column, or nothing can be written there.
    """
    check(rows, target)
    if _is_folder(target):
        for run_id, own in rows.items():
            runs.write_part(target, run_id, own)
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
            _write_one(rows, Path(folder), target)
    except OSError as error:
        raise DataError(f"cannot write {target}: {error.strerror or error}") from error
    return target


def check(rows: Rows, target: Path) -> None:
    """Raise DataError for what `write` would refuse, before anything is written."""
    if _is_folder(target):
        there = [run_id for run_id in rows if runs.is_finished(target, run_id)]
        if there:
            run = rows[there[0]][0]["run"]
            raise DataError(
                f"run {run!r} is in {target} already ({there[0]}.parquet), {len(there)} of "
                f"{len(rows)} are; nothing measured is overwritten: move the part away, or name "
                "another folder"
            )
    elif target.suffix != ".parquet":
        raise DataError(
            f"{target} is no place for an import: name a file that ends in .parquet, or a folder; "
            "scalefit export makes CSV and JSON lines of it"
        )
    elif target.exists():
        raise DataError(
            f"{target} exists already and is not overwritten; name another, or a folder, to which "
            "imports can be added"
        )


def _is_folder(target: Path) -> bool:
    return target.is_dir() or (not target.exists() and target.suffix == "")


def _write_one(rows: Rows, folder: Path, target: Path) -> None:
    """All runs as one table: each is checked as a part, then they are put together."""
    parts = [runs.write_part(folder, run_id, own) for run_id, own in rows.items()]
    tables = [pq.read_table(part) for part in parts]
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"the runs do not fit into one table: {error}") from error
    whole = folder / "whole"
    with whole.open("wb") as file:
        pq.write_table(
            table.replace_schema_metadata(runs.SCHEMA.metadata), file, compression="zstd"
        )
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(whole, target)
    except FileExistsError as error:
        raise DataError(f"{target} exists already and is not overwritten") from error
    except OSError:  # a file system without hard links
        whole.replace(target)
