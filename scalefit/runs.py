"""The runs table: what a row is, how parts are written, and how any table of runs is read.

A row is one (run, checkpoint). A results folder holds one Parquet part per run, named by the hash
of the run's configuration, so that the same configuration is the same part and going on after a
stop needs no ledger.
"""

import hashlib
import json
import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from scalefit import cleaning
from scalefit.cleaning import Dropped
from scalefit.errors import DataError
from scalefit.importers import NON_EMBEDDING, load, part_files, recognise
from scalefit.markup import paragraph

SCHEMA: pa.Schema = pa.schema(
    [
        ("run_id", pa.string()),
        ("step", pa.int64()),
        ("family", pa.string()),
        ("params_total", pa.int64()),
        ("params_embedding", pa.int64()),
        ("params_head", pa.int64()),
        ("params_non_embedding", pa.int64()),
        ("tokens", pa.int64()),
        ("unique_tokens", pa.int64()),
        ("flops", pa.float64()),
        ("loss", pa.float64()),
        ("loss_unit", pa.string()),
        ("loss_stderr", pa.float64()),
        ("source_entropy", pa.float64()),
        ("seed", pa.int64()),
        ("lr", pa.float64()),
        ("batch_tokens", pa.int64()),
        ("width", pa.int64()),
        ("depth", pa.int64()),
        ("schedule", pa.string()),
        ("averaging", pa.string()),
        ("wall_seconds", pa.float64()),
        ("device", pa.string()),
        ("status", pa.string()),
        ("config", pa.string()),
        ("code", pa.string()),
    ],
    metadata={b"scalefit.schema": b"1"},
)

FAILURE = ".failed.parquet"  # behind a run's id, in the name of a part that says why it failed
_TEMPORARY = re.compile(r"\.(?P<run_id>\w+)@(?P<host>.*)@(?P<pid>[0-9]+)\.tmp")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Runs:
    """Rows that may be fitted, and what was done to have them.

    `frame` has float64 columns of the `quantities` that were asked for, by default params, tokens,
    flops (FLOP) and loss (in the table's unit), all positive and finite, and every other column as
    it was. `params_kind` says which parameters are
    counted: "total" (Hoffmann et al. 2022), "non_embedding" (Kaplan et al. 2020) or "unknown".
    """

    frame: pd.DataFrame
    source: str
    params_kind: str
    notes: tuple[str, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    quantities: tuple[str, ...] = cleaning.QUANTITIES

    def __len__(self) -> int:
        return len(self.frame)

    def _repr_html_(self) -> str:
        """As a notebook shows it: what was seen, what was done to it, and the first rows."""
        told = paragraph(f"{self.source}: {len(self)} rows that may be fitted")
        said = [*self.notes, *(f"{one.rows} rows left out: {one.reason}" for one in self.dropped)]
        return told + "".join(map(paragraph, said)) + str(self.frame.head(10).to_html(index=False))

    @property
    def cluster(self) -> NDArray[np.object_] | None:
        """The run that each row belongs to, shape (rows,), or None if no two rows share one."""
        labels = cleaning.run_labels(self.frame)
        return None if labels is None or len(set(labels)) == len(labels) else labels

    def without_highest(self, count: int) -> "Runs":
        """These runs but for the `count` rows of highest loss; DataError if none would be left."""
        if not 0 <= count < len(self):
            raise DataError(
                f"{self.source} has {len(self)} usable rows, so the {count} of highest loss cannot "
                "be left out; leave out fewer"
            )
        if count == 0:
            return self
        response = self.quantities[-1]
        highest = self.frame[response].nlargest(count).index
        return self.only(~self.frame.index.isin(highest), f"highest {response}")

    def scaled(self, quantity: str, factor: float) -> "Runs":
        """These runs with a quantity in another unit."""
        return replace(self, frame=self.frame.assign(**{quantity: self.frame[quantity] * factor}))

    def only(self, rows: NDArray[np.bool_], reason: str) -> "Runs":
        """These runs but for the rows that are False, which are counted as left out."""
        lost = Dropped(reason=reason, rows=int((~rows).sum()))
        return replace(
            self, frame=self.frame[rows].reset_index(drop=True), dropped=(*self.dropped, lost)
        )

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that name the fitted numbers, whatever order they are in."""
        named = [name for name in self.quantities if name != "flops" or "tokens" not in self.frame]
        fitted = self.frame[named].to_numpy("<f8")
        return hashlib.sha256(fitted[np.lexsort(fitted.T)].tobytes()).hexdigest()[:12]


def read(
    source: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    where: str | None = None,
    needed: Sequence[str] | None = cleaning.QUANTITIES,
) -> Runs:
    """The runs of a file, a folder of parts, a glob, or "-" (standard input).

    Parquet, CSV, JSON and JSON lines are told by content, and common names of other people's
    columns are recognised; `columns` ({"loss": "NAME"}) settles what is not. One of params, tokens
    and flops may be missing: it follows from C = 6ND. `where` selects rows (scalefit.where).
    `needed` are the quantities that a law is about, the response last (`form.quantities`); None
    asks for all that there is of compute and data, to choose a law by. Raises DataError for what
    cannot be read or may not be fitted.
    """
    name = "standard input" if str(source) == "-" else str(source)
    frame = load(source)
    asked = ("unique_tokens", "loss") if needed is None else needed
    found = recognise(
        list(frame.columns), columns or {}, name, (*cleaning.COMPUTE, *asked, "run_id")
    )
    needed = _present(found) if needed is None else needed
    wanted = dict.fromkeys((*cleaning.COMPUTE, *needed))
    raw = {quantity: frame[found[quantity]] for quantity in wanted if quantity in found}
    frame = frame.assign(**{quantity: cleaning.numbers(column) for quantity, column in raw.items()})
    notes = [f'{q} is read from "{column.name}"' for q, column in raw.items() if column.name != q]
    notes += _told(cleaning.derive(frame, found, needed, name))
    if "run_id" in found:
        frame["run_id"] = frame[found["run_id"]]
    kept, outside = cleaning.choose(frame, where, name)
    cleaning.check_text(kept, {key: raw[key] for key in raw if key in needed}, name)
    kept, unfit = cleaning.distinct(kept, needed)
    kept, unlike = cleaning.one_unit(kept)
    dropped = (*outside, *unfit, *unlike)
    if kept.empty:
        reasons = ", ".join(f"{drop.rows} {drop.reason}" for drop in dropped)
        raise DataError(f"{name} has no row left to fit: {reasons}")
    cleaning.check_values(kept, found, needed, name)
    notes += _told(cleaning.discrepancy(kept))
    return Runs(
        frame=kept.reset_index(drop=True),
        source=name,
        params_kind=_params_kind(found.get("params")),
        notes=tuple(notes),
        dropped=dropped,
        quantities=tuple(needed),
    )


def canonical_json(config: Mapping[str, object]) -> str:
    """A configuration as JSON with sorted keys and no spaces: the text that names a run.

    Raises DataError for what JSON cannot hold exactly (NaN, infinities, paths, arrays).
    """
    try:
        return json.dumps(dict(config), sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"this configuration has no canonical JSON ({error}); "
            "use finite numbers, texts, lists and mappings"
        ) from error


def run_id(config: Mapping[str, object]) -> str:
    """The first 16 hexadecimal digits of the sha256 of the canonical configuration."""
    return hashlib.sha256(canonical_json(config).encode()).hexdigest()[:16]


def write_part(directory: Path, run_id: str, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write the rows of one run as `<run_id>.parquet`, wholly or not at all; return its path.

    Columns that a row lacks are null, and so is a NaN. Keys that the schema does not know are kept
    as extra columns, numbers among them as float64 so that all parts of a folder agree.
    Raises DataError if the part exists already (nothing measured is ever overwritten), if there
    are no rows, if a value does not fit its column, or if the folder cannot be written.
    """
    if not re.fullmatch(r"\w+", run_id):
        raise DataError(f"run id {run_id!r} cannot name a file; use runs.run_id(config)")
    table = _table(run_id, rows)
    part = directory / f"{run_id}.parquet"
    temporary = _temporary(directory, run_id)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _sweep(directory)
        _write_whole(table, temporary, part)
        _failure(directory, run_id).unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"cannot write {part}: {error.strerror or error}") from error
    return part


def write_failure(directory: Path, run_id: str, row: Mapping[str, object], reason: str) -> Path:
    """Write that a run failed, and why, as `<run_id>.failed.parquet`: a row without a loss.

    It replaces an earlier failure of the run, and goes when the run's part is written.
    Raises DataError if the folder cannot be written.
    """
    part = _failure(directory, run_id)
    temporary = _temporary(directory, run_id)
    table = _table(run_id, [{**row, "status": "failed", "loss": None, "reason": reason}])
    try:
        part.unlink(missing_ok=True)
        _write_whole(table, temporary, part)
    except OSError as error:
        raise DataError(f"cannot write {part}: {error.strerror or error}") from error
    return part


def failures(directory: Path) -> dict[str, str]:
    """Why runs failed that were not trained since, by their ids."""
    return {
        part.name.removesuffix(FAILURE): pq.read_table(part, columns=["reason"])["reason"][
            0
        ].as_py()
        for part in part_files(directory)
        if part.name.endswith(FAILURE)
    }


def _temporary(directory: Path, run_id: str) -> Path:
    """Where a part is written before it has its name."""
    return directory / f".{run_id}@{socket.gethostname()}@{os.getpid()}.tmp"


def _failure(directory: Path, run_id: str) -> Path:
    return directory / f"{run_id}{FAILURE}"


def is_finished(directory: Path, run_id: str) -> bool:
    """Whether the part of this run is in this folder."""
    return (directory / f"{run_id}.parquet").exists()


def finished(directory: Path) -> set[str]:
    """The ids of the runs whose parts are in this folder; a part is only ever there whole."""
    return {part.stem for part in part_files(directory) if not part.name.endswith(FAILURE)}


def _present(found: Mapping[str, str]) -> tuple[str, ...]:
    """What of compute and data a table has, or has by C = 6ND; the loss last."""
    compute = [name for name in cleaning.COMPUTE if name in found]
    known = cleaning.COMPUTE if len(compute) > 1 else tuple(compute)
    return *known, *(["unique_tokens"] if "unique_tokens" in found else []), "loss"


def _told(note: str | None) -> list[str]:
    return [] if note is None else [note]


def _params_kind(column: str | None) -> str:
    if column == "params_total":
        return "total"
    return "non_embedding" if column in NON_EMBEDDING else "unknown"


def _table(run_id: str, rows: Sequence[Mapping[str, object]]) -> pa.Table:
    if not rows:
        raise DataError(f"run {run_id} has no rows to write; a part without rows would hide it")
    extra = [
        name for name in dict.fromkeys(k for row in rows for k in row) if name not in SCHEMA.names
    ]
    columns = {"run_id": pa.array([run_id] * len(rows), pa.string())}
    for field in SCHEMA:
        if field.name != "run_id":
            columns[field.name] = _array(run_id, rows, field.name, field.type)
    for name in extra:
        array = _array(run_id, rows, name, None)
        # a column that is null throughout has no type, and would not agree with other parts
        if array.null_count < len(array):
            columns[name] = array
    fields = [pa.field(name, array.type) for name, array in columns.items()]
    return pa.table(columns, schema=pa.schema(fields, metadata=SCHEMA.metadata))


def _array(
    run_id: str, rows: Sequence[Mapping[str, object]], name: str, kind: pa.DataType | None
) -> pa.Array:
    values = [row.get(name) for row in rows]
    try:
        # inferred first, then cast: Arrow cuts 1.5 to 1 in silence when it is told the type
        array = pa.array(values, from_pandas=True)
        return array.cast(kind or (pa.float64() if pa.types.is_integer(array.type) else array.type))
    except (pa.ArrowException, TypeError, OverflowError) as error:
        raise DataError(f'run {run_id}: column "{name}" cannot hold this: {error}') from error


def _write_whole(table: pa.Table, temporary: Path, part: Path) -> None:
    try:
        with temporary.open("wb") as file:
            pq.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        _publish(temporary, part)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(part.parent)


def _publish(temporary: Path, part: Path) -> None:
    """Give the finished file its name, refusing to replace one that is there."""
    taken = DataError(f"{part} exists already; nothing measured is overwritten, move it away first")
    try:
        os.link(temporary, part)
    except FileExistsError as error:
        raise taken from error
    except OSError:  # a file system without hard links: the check and the rename are two steps
        if part.exists():
            raise taken from None
        temporary.replace(part)


def _sweep(directory: Path) -> None:
    """Remove the temporaries that killed processes of this machine have left behind."""
    for path in directory.glob(".*.tmp"):
        match = _TEMPORARY.fullmatch(path.name)
        if match and match["host"] == socket.gethostname() and not _alive(int(match["pid"])):
            path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync_folder(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
