"""Other people's tables: bytes of any common format into a frame, their column names into ours.

The format is told from the content, never from a suffix: Parquet by its magic bytes, JSON (lines or
an array) by its first character, else text with a delimiter. Nothing is ever unpickled.
"""

import csv
import difflib
import glob
import io
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from scalefit.errors import DataError

# What other tables call a quantity, in the order in which they are told to people. Case, spaces,
# underscores, hyphens and dots do not count: "Model Size" is model_size.
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "params": (
        *("params", "params_total", "n", "n_params", "num_params", "parameters", "model_size"),
        *("model_params", "param_count", "parameter_count", "num_parameters", "n_parameters"),
        *("total_params", "total_parameters"),
    ),
    "tokens": (
        *("tokens", "d", "n_tokens", "num_tokens", "training_tokens", "train_tokens"),
        *("tokens_seen", "total_tokens", "token_count", "tokens_trained", "tokens_total"),
    ),
    "flops": (
        *("flops", "c", "flop", "compute", "training_flop", "training_flops", "train_flops"),
        *("total_flops", "training_compute", "train_compute", "compute_flops", "flops_total"),
    ),
    "loss": (
        *("loss", "val_loss", "final_loss", "eval_loss", "validation_loss", "test_loss", "l"),
        *("final_val_loss", "final_eval_loss", "loss_val", "loss_eval"),
    ),
    "run_id": ("run_id", "run", "run_name"),
    # What only some laws are about; recognised where a law asks for it.
    "unique_tokens": ("unique_tokens", "u_d", "unique_data", "dataset_tokens"),
    "steps": ("steps", "step", "n_steps", "iterations", "training_steps"),
    "experts": ("experts", "num_experts", "n_experts"),
    "lr": ("lr", "learning_rate", "peak_lr", "max_lr"),
    "batch_tokens": ("batch_tokens", "batch_size_tokens", "tokens_per_batch"),
    "error": ("error", "err", "error_rate", "top1_error", "downstream_error"),
}
NON_EMBEDDING = (
    *("params_non_embedding", "non_embedding_params", "n_params_non_embedding"),
    *("non_embedding_parameters", "params_nonembed"),
)
# Names that are the house's own: each beats every synonym, the first of them the rest.
_HOUSE: Mapping[str, tuple[str, ...]] = {"params": ("params", "params_total")}
_DELIMITERS = (",", ";", "\t")


def load(source: str | Path) -> pd.DataFrame:
    """The raw table of a file, a folder of Parquet parts, a glob, or "-" (standard input).

    Columns are as they were named; parts with different columns are united. Raises DataError if
    there is nothing to read, or if any of it is torn or is not a table.
    """
    if str(source) == "-":
        return _whole("standard input", parse(sys.stdin.buffer.read(), "standard input"))
    path = Path(source)
    if path.is_dir():
        return _whole(str(source), _united(_parts(path), str(source)))
    if path.exists():
        return _whole(str(source), _read_file(path))
    if glob.has_magic(str(source)):
        # Path.glob takes no absolute pattern
        matches = sorted(glob.glob(str(source), recursive=True))  # noqa: PTH207
        files = [path for path in map(Path, matches) if path.is_file()]
        if not files:
            raise DataError(f"no file matches {source}; check the pattern and the folder")
        return _whole(str(source), _united(files, str(source)))
    raise DataError(f"{source} does not exist; name a file, a folder of parts, a glob or -")


def parse(content: bytes, name: str) -> pd.DataFrame:
    """A table out of the bytes of a Parquet, JSON, JSON-lines or delimited text file.

    The name is for messages. Raises DataError if the content is empty, torn or not a table.
    """
    if content.startswith(b"PAR1"):
        return _parse_parquet(content, name)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _not_a_table(name, f"byte {error.start} is not UTF-8 text") from error
    if not text.strip():
        raise DataError(f"{name} is empty; it should hold one row for each run")
    if "\0" in text:
        raise _not_a_table(name, f"character {text.index(chr(0))} is a null byte")
    return _parse_json(text, name) if text.lstrip()[0] in "{[" else _parse_csv(text, name)


def part_files(directory: Path) -> list[Path]:
    """The Parquet files of a folder in order of name, hidden ones left out."""
    return sorted(path for path in directory.glob("*.parquet") if not path.name.startswith("."))


def recognise(
    names: Sequence[str],
    columns: Mapping[str, str],
    source: str,
    wanted: Sequence[str] = ("params", "tokens", "flops", "loss", "run_id"),
) -> dict[str, str]:
    """Which column holds which quantity: {"params": "Model Size", ...} for those that are there.

    Only the quantities `wanted` are looked for, and those that the caller names. The names that the
    caller gives (`columns`) settle a quantity; else an exact house name does; else the one synonym
    present. Raises DataError for an unknown key or column, and for two synonyms of one quantity.
    """
    for quantity, given in columns.items():
        if quantity not in SYNONYMS:
            raise DataError(
                f'--column {quantity}={given}: no quantity is called "{quantity}"; '
                f"{nearest(quantity, SYNONYMS)}"
            )
        if given not in names:
            raise DataError(f'{source} has no column "{given}"; {nearest(given, names)}')
    found: dict[str, str] = {}
    for quantity in SYNONYMS:
        name = columns.get(quantity)
        if name is None and quantity in wanted:
            name = _find(quantity, names, source)
        if name is not None:
            found[quantity] = name
    return found


def nearest(name: str, names: Iterable[str]) -> str:
    """The names closest to a mistyped one, or all of them if none is close: for messages."""
    known = list(names)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"it has {', '.join(known)}"


def _find(quantity: str, names: Sequence[str], source: str) -> str | None:
    for house in _HOUSE.get(quantity, (quantity,)):
        if house in names:
            return house
    present = _among(names, SYNONYMS[quantity])
    if len(present) > 1:
        raise DataError(
            f"{source} has {' and '.join(map(repr, present))}, which may both be {quantity}; "
            f"choose with --column {quantity}=NAME"
        )
    if not present and quantity == "params":
        present = _among(names, NON_EMBEDDING)
    return present[0] if present else None


def _among(names: Sequence[str], synonyms: Sequence[str]) -> list[str]:
    folded = {_fold(synonym) for synonym in synonyms}
    return [name for name in names if _fold(name) in folded]


def _fold(name: str) -> str:
    return re.sub(r"[\s_.\-]+", "", name).lower()


def _parts(directory: Path) -> list[Path]:
    parts = part_files(directory)
    if not parts:
        raise DataError(
            f"{directory} holds no .parquet parts; name another folder, or other files by a glob "
            f'such as "{directory}/*.csv"'
        )
    return parts


def _united(files: Sequence[Path], source: str) -> pd.DataFrame:
    frames: list[pd.DataFrame] = []
    torn: list[tuple[Path, DataError]] = []
    for path in files:
        try:
            frames.append(_read_file(path))
        except DataError as error:
            torn.append((path, error))
    if torn:
        path, reason = torn[0]
        others = f", and {len(torn) - 1} more are like it" if len(torn) > 1 else ""
        raise DataError(
            f"{reason}{others}; {len(frames)} of {len(files)} files in {source} are whole: "
            f"move {path.name} away to read those"
        ) from reason
    return pd.concat(frames, ignore_index=True).infer_objects()


def _read_file(path: Path) -> pd.DataFrame:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    return parse(content, str(path))


def _whole(source: str, frame: pd.DataFrame) -> pd.DataFrame:
    """The frame, if it has rows and every column its own name."""
    if frame.empty:
        raise DataError(f"{source} has no rows; it should hold one for each run")
    frame.columns = frame.columns.map(str)
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice):
        raise DataError(f'{source} has two columns "{twice[0]}"; rename one of them')
    return frame


def _parse_parquet(content: bytes, name: str) -> pd.DataFrame:
    try:
        table = pq.read_table(pa.BufferReader(content))
        # the pandas metadata could turn columns into an index; a column is a column here
        frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{name} is a torn or damaged Parquet file; write or copy it again"
        ) from error
    return frame


def _parse_json(text: str, name: str) -> pd.DataFrame:
    try:
        records = _json_records(text, name)
    except RecursionError as error:
        raise _not_a_table(name, "its JSON is nested too deeply") from error
    rows = [record for record in records if isinstance(record, dict)]
    if len(rows) < len(records):
        odd = next(i for i, record in enumerate(records, start=1) if not isinstance(record, dict))
        raise _not_a_table(name, f"its JSON record {odd} is not an object")
    return pd.DataFrame.from_records(rows)


def _json_records(text: str, name: str) -> list[object]:
    try:
        whole = json.loads(text)
        return whole if isinstance(whole, list) else [whole]
    except json.JSONDecodeError:
        pass  # many documents, one a line
    records = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            if line.strip():
                records.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise _not_a_table(name, f"line {number} is not JSON ({error.msg})") from error
    return records


def _parse_csv(text: str, name: str) -> pd.DataFrame:
    header = text.lstrip().splitlines()[0]
    delimiter = max(_DELIMITERS, key=header.count)
    reader = csv.reader(
        io.StringIO(text.lstrip("\r\n"), newline=""), delimiter=delimiter, strict=True
    )
    try:
        lines = [[cell.strip() for cell in row] for row in reader if any(row)]
    except csv.Error as error:
        raise _not_a_table(name, f"line {reader.line_num}: {error}") from error
    if not lines:
        raise _not_a_table(name, "no line holds anything but delimiters")
    head, *rows = lines
    for number, row in enumerate(rows, start=1):
        if len(row) != len(head):
            raise _not_a_table(
                name, f"data row {number} has {len(row)} fields where the header has {len(head)}"
            )
    cells = zip(*rows, strict=True) if rows else [()] * len(head)
    series = [_typed(column, list(values)) for column, values in zip(head, cells, strict=True)]
    return pd.concat(series, axis=1)


def _typed(name: str, cells: list[str]) -> pd.Series:
    """A text column as numbers or truth values where all of its cells are, else as text.

    The labels of runs stay text: a hexadecimal one may look like a number.
    """
    empty = {"", "NA", "N/A", "null", "None", "nan", "NaN"}
    values = [None if cell in empty else cell for cell in cells]
    present = {value for value in values if value is not None}
    if present and present <= {"True", "False", "true", "false"}:
        flags = [None if value is None else value.lower() == "true" for value in values]
        return pd.Series(flags, name=name, dtype=object if None in flags else bool)
    if not _among([name], SYNONYMS["run_id"]):
        try:
            numbers = [float("nan") if value is None else float(value) for value in values]
            return pd.Series(numbers, name=name, dtype=float)
        except ValueError:
            pass  # text
    return pd.Series(values, name=name, dtype=object)


def _not_a_table(name: str, why: str) -> DataError:
    return DataError(f"{name} is not a table in Parquet, CSV, JSON or JSON lines: {why}")
