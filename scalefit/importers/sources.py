"""Which kind a source is, told by what it holds, and the reading of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scalefit.errors import DataError
from scalefit.importers import logs, mlflow, tensorboard, trainer, wandb
from scalefit.importers.imported import Imported, read_bytes

KINDS: Mapping[str, str] = {
    "wandb": "an export or history of Weights & Biases, or wandb:ENTITY/PROJECT",
    "tensorboard": "an event file, or a folder of runs",
    "mlflow": "a folder mlruns, an mlflow.db, or mlflow:URI#EXPERIMENT",
    "nanogpt": "a log of nanoGPT",
    "nanochat": "a log of nanochat, or its results.csv",
    "trainer": f"a {trainer.STATE} of Hugging Face's Trainer, or folders with such",
}
_LOGS = ("*.log", "*.txt", "*.out")
_TOGETHER = ("nanogpt", "nanochat", "trainer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How sources are read: the kind where it is forced, the step metric and filter if given."""

    kind: str | None = None
    step: str | None = None
    filter: str | None = None


def read_sources(sources: Sequence[str], choice: Choice) -> list[Imported]:
    """Every source read, logs of one kind together so that their runs get names apart.

    Raises:
        DataError: if one cannot be read or told, or two sources have a run of the same name.
    """
    for source in sources:
        if choice.filter is not None and not source.startswith((wandb.PREFIX, mlflow.PREFIX)):
            raise DataError(f"--filter is for wandb: and mlflow: sources; {source} is read whole")
    told = [(source, choice.kind or kind_of(source)) for source in sources]
    found = [read_source(source, kind, choice) for source, kind in told if not _joins(source, kind)]
    for kind in _TOGETHER:
        joined = [source for source, other in told if other == kind and _joins(source, kind)]
        if joined:
            found.append(_read_together(joined, kind))
    _refuse_twins(found)
    return found


def read_source(source: str, kind: str, choice: Choice) -> Imported:
    """One source of a known kind."""
    if source.startswith(wandb.PREFIX):
        return wandb.read_api(source, choice.filter, choice.step)
    if source.startswith(mlflow.PREFIX):
        return mlflow.read_server(source, choice.filter)
    path = _existing(source)
    match kind:
        case "wandb":
            found = wandb.read_file(path, choice.step)
        case "tensorboard":
            files = tensorboard.event_files(path) if path.is_dir() else [path]
            found = tensorboard.read_events(files, source)
        case "mlflow":
            found = _read_mlflow(path)
        case "nanochat" if not path.is_dir() and _is_results(path):
            found = logs.read_results(path)
        case _:
            found = _read_together([source], kind)
    return found


def kind_of(source: str) -> str:
    """The kind of a source by its prefix or its content.

    Raises:
        DataError: if it is none of the kinds, or more than one.
    """
    for kind, prefix in (("wandb", wandb.PREFIX), ("mlflow", mlflow.PREFIX)):
        if source.startswith(prefix):
            return kind
    path = _existing(source)
    kinds = _folder_kinds(path) if path.is_dir() else _file_kinds(path)
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        raise DataError(
            f"{source} holds runs of {' and '.join(kinds)}; choose with --from {kinds[0]}"
        )
    raise DataError(
        f"{source} is by its content none of {', '.join(KINDS)} (scalefit import --help); a table "
        f"with one row a run needs no import: scalefit fit {source}"
    )


def _existing(source: str) -> Path:
    path = Path(source)
    if not path.exists():
        raise DataError(f"{source} does not exist; name a file, a folder, or wandb:ENTITY/PROJECT")
    return path


def _folder_kinds(folder: Path) -> list[str]:
    kinds = []
    if trainer.state_files(folder):
        kinds.append("trainer")
    if tensorboard.event_files(folder):
        kinds.append("tensorboard")
    if mlflow.run_folders(folder) or (folder / "mlflow.db").is_file():
        kinds.append("mlflow")
    return kinds or sorted({kind for path in _log_files(folder) for kind in _file_kinds(path)})


def _file_kinds(path: Path) -> list[str]:
    content = read_bytes(path)
    if tensorboard.is_events(content):
        return ["tensorboard"]
    if content.startswith(mlflow.SQLITE):
        return ["mlflow"]
    text = content.decode("utf-8-sig", "replace")
    kind = _json_kind(text) or _csv_kind(text) or logs.lines_kind(text)
    return [kind] if kind else []


def _json_kind(text: str) -> str | None:
    start = text.lstrip()
    if start[:1] not in ("{", "["):
        return None
    try:
        whole = json.loads(text)
    except RecursionError:
        return None
    except ValueError:
        pass  # JSON lines
    else:
        return "trainer" if trainer.is_state(whole) else _history_kind(whole)
    try:
        return _history_kind(json.loads(start.splitlines()[0]))
    except (ValueError, RecursionError):
        return None


def _history_kind(record: object) -> str | None:
    first = record[0] if isinstance(record, list) and record else record
    return "wandb" if wandb.is_history(first) else None


def _csv_kind(text: str) -> str | None:
    header = wandb.csv_header(text)
    if wandb.is_export(header):
        return "wandb"
    return "nanochat" if logs.is_results(header) else None


def _log_files(folder: Path) -> list[Path]:
    return sorted(path for pattern in _LOGS for path in folder.rglob(pattern) if path.is_file())


def _is_results(path: Path) -> bool:
    return logs.is_results(wandb.csv_header(read_bytes(path).decode("utf-8-sig", "replace")))


def _joins(source: str, kind: str) -> bool:
    """Whether a source is read together with others of its kind."""
    path = Path(source)
    results = kind == "nanochat" and path.is_file() and _is_results(path)
    return kind in _TOGETHER and path.exists() and not results


def _read_together(sources: Sequence[str], kind: str) -> Imported:
    """Logs or trainer states, of files and folders, as one."""
    files: list[Path] = []
    for path in map(Path, sources):
        found = [path]
        if path.is_dir() and kind == "trainer":
            found = trainer.state_files(path)
        elif path.is_dir():
            found = [log for log in _log_files(path) if _file_kinds(log) == [kind]]
        if not found:
            raise DataError(f"{path} holds nothing of the kind {kind}: {KINDS[kind]}")
        files += found
    source = sources[0] if len(sources) == 1 else f"{len(sources)} sources"
    if kind == "trainer":
        return trainer.read_states(files, source)
    return logs.read_logs(files, kind, source)


def _read_mlflow(path: Path) -> Imported:
    database = path / "mlflow.db" if path.is_dir() else path
    if path.is_dir() and mlflow.run_folders(path):
        return mlflow.read_folder(path)
    if database.is_file():
        return mlflow.read_database(database)
    raise DataError(f"{path} holds no run of MLflow; name a folder mlruns or an mlflow.db")


def _refuse_twins(found: Sequence[Imported]) -> None:
    seen: dict[str, str] = {}
    for one in found:
        for run in one.runs:
            if run in seen:
                raise DataError(
                    f"two runs are called {run!r}, one of {seen[run]} and one of {one.source}; "
                    "import them one after the other, into one folder"
                )
            seen[run] = one.source
