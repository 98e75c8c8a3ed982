"""Runs of MLflow: a folder mlruns/, a database mlflow.db, or a tracking server.

The first two are read without MLflow. A run's folder holds metrics/NAME, whose lines are "timestamp
value step" (older ones have no step), params/NAME with one value each, tags/mlflow.runName, and
meta.yaml, of which two plain lines are read. In the database these are the tables runs, metrics
and params. Deleted runs are left out and counted.
"""

import re
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalefit.errors import DataError
from scalefit.importers.imported import (
    Fact,
    Imported,
    Points,
    configured,
    number,
    read_bytes,
    read_text,
)

PREFIX = "mlflow:"
SQLITE = b"SQLite format 3\0"
MISSING = 'reading an MLflow server needs MLflow: pip install "scalefit[mlflow]"'
_TABLES = ("runs", "metrics", "params")
_MOST_RUNS = 50_000
_LOCAL = ("file:", "sqlite:", "/", ".")
_NAME_IT = "a folder or an mlflow.db is read without MLflow where its path is named alone"
# mlflow.entities.RunStatus; a killed or running one says nothing of its last checkpoint.
_STATUS = {"3": "ok", "FINISHED": "ok", "4": "failed", "FAILED": "failed"}
_PLAIN = re.compile(r"^(?P<key>\w+): *(?P<quote>['\"]?)(?P<value>.*?)(?P=quote) *$")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One run as any of the three holds it: (metric, step, value) and settings."""

    id: str
    name: str
    status: str
    settings: Mapping[str, object]
    metrics: Iterable[tuple[str, float, float]]


def run_folders(folder: Path) -> list[Path]:
    """The folders of runs in mlruns/, in one of its experiments, or the folder of a run itself."""
    for pattern in ("metrics", "*/metrics", "*/*/metrics", "mlruns/*/*/metrics"):
        found = [path.parent for path in sorted(folder.glob(pattern)) if path.is_dir()]
        runs = [run for run in found if (run / "meta.yaml").is_file() or (run / "params").is_dir()]
        if runs:
            return runs
    return []


def read_folder(folder: Path) -> Imported:
    """The runs of a folder that MLflow wrote, without MLflow.

    Raises:
        DataError: if it holds none, or a line of a metric is torn.
    """
    runs, deleted = [], 0
    for path in run_folders(folder):
        meta = _plain_lines(path / "meta.yaml")
        if meta.get("lifecycle_stage") == "deleted":
            deleted += 1
        else:
            runs.append(_folder_run(path, meta))
    return _imported(runs, str(folder), deleted)


def read_database(path: Path) -> Imported:
    """The runs of a mlflow.db (SQLite), opened read-only, without MLflow.

    Raises:
        DataError: if it is damaged, or not a database of MLflow.
    """
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            found = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            if not set(_TABLES) <= found:
                raise DataError(f"{path} is no database of MLflow: it lacks {', '.join(_TABLES)}")
            listed = database.execute(
                "SELECT run_uuid, name, status, lifecycle_stage FROM runs ORDER BY start_time"
            ).fetchall()
            alive = [row[:3] for row in listed if row[3] != "deleted"]
            runs = [_database_run(database, *map(str, row)) for row in alive]
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a database of MLflow: {error}") from error
    return _imported(runs, str(path), len(listed) - len(alive))


def read_server(source: str, chosen: str | None) -> Imported:
    """The runs of "mlflow:URI" or "mlflow:URI#EXPERIMENT", through MLflow's own client.

    Args:
        source: the URI is a tracking server's or any other that MLflow knows; without it MLflow's
            own settings decide (MLFLOW_TRACKING_URI).
        chosen: a filter of MLflow, "params.model = 'gpt2'".

    Raises:
        DataError: if MLflow is not installed, or answers with an error.
    """
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ModuleNotFoundError as error:
        raise DataError(MISSING) from error
    uri, _, experiment = source.removeprefix(PREFIX).partition("#")
    try:
        client = MlflowClient(tracking_uri=uri or None)
        runs = [_client_run(client, run) for run in _found(client, experiment, chosen, source)]
    except MlflowException as error:
        said = str(error).strip().splitlines()[0]
        hint = f"; {_NAME_IT}" if uri.startswith(_LOCAL) else ""
        raise DataError(f"{source} cannot be read: {said}{hint}") from error
    return _imported(runs, source, 0)


def _found(client: Any, experiment: str, chosen: str | None, source: str) -> list[Any]:
    known = client.search_experiments()
    ids = [one.experiment_id for one in known if not experiment or one.name == experiment]
    if not ids:
        names = ", ".join(one.name for one in known)
        raise DataError(f'{source}: no experiment is called "{experiment}"; there are {names}')
    found: list[Any] = []
    token = None
    while True:
        page = client.search_runs(
            ids, chosen or "", order_by=["attributes.start_time ASC"], page_token=token
        )
        found += page
        token = page.token
        if not token:
            return found
        if len(found) > _MOST_RUNS:
            raise DataError(f"{source} has over {_MOST_RUNS} runs; choose some with --filter")


def _client_run(client: Any, run: Any) -> _Run:
    measured = [
        (name, one.step, one.value)
        for name in sorted(run.data.metrics)
        for one in client.get_metric_history(run.info.run_id, name)
    ]
    return _Run(
        id=run.info.run_id, name=run.info.run_name or run.info.run_id, status=run.info.status,
        settings=run.data.params, metrics=measured,
    )  # fmt: skip


def _folder_run(path: Path, meta: Mapping[str, str]) -> _Run:
    tag = path / "tags" / "mlflow.runName"
    name = read_text(tag).strip() if tag.is_file() else meta.get("run_name")
    settings = {
        str(file.relative_to(path / "params")): read_bytes(file).decode("utf-8", "replace").strip()
        for file in sorted((path / "params").rglob("*"))
        if file.is_file()
    }
    measured = [
        (str(file.relative_to(path / "metrics")), *_measured(line, file))
        for file in sorted((path / "metrics").rglob("*"))
        if file.is_file()
        for line in read_text(file).splitlines()
    ]
    return _Run(
        id=path.name, name=name or path.name, status=meta.get("status", ""), settings=settings,
        metrics=measured,
    )  # fmt: skip


def _measured(line: str, file: Path) -> tuple[float, float]:
    """Step and value of one line."""
    words = [number(word) for word in line.split(" ")[:3]]
    if len(words) < 2 or None in words:
        raise DataError(f"{file}: {line!r} is not a timestamp, a value and a step")
    return (words[2] or 0.0 if len(words) > 2 else 0.0), words[1] or 0.0


def _plain_lines(path: Path) -> dict[str, str]:
    """The lines "key: value" of a YAML file that hold plain text; nothing else of it is read."""
    if not path.is_file():
        return {}
    found = (_PLAIN.match(line) for line in read_text(path).splitlines())
    return {match["key"]: match["value"] for match in found if match}


def _database_run(database: sqlite3.Connection, run: str, name: str, status: str) -> _Run:
    measured = database.execute(
        "SELECT key, step, value, is_nan FROM metrics WHERE run_uuid = ? ORDER BY step, timestamp",
        (run,),
    ).fetchall()
    settings = database.execute("SELECT key, value FROM params WHERE run_uuid = ?", (run,))
    return _Run(
        id=run, name=name, status=status, settings=dict(settings.fetchall()),
        metrics=[
            (str(key), number(step) or 0.0, float("nan") if nan else x)
            for key, step, value, nan in measured
            if (x := number(value)) is not None
        ],
    )  # fmt: skip


def _imported(runs: list[_Run], source: str, deleted: int) -> Imported:
    names = [run.name for run in runs]
    points, facts = Points(), {}
    for run in runs:
        name = run.name if names.count(run.name) == 1 else f"{run.name} ({run.id})"
        for metric, step, value in run.metrics:
            points.add(name, step, metric, value)
        facts[name] = configured(run.settings, "the params of MLflow")
        if run.status in _STATUS:
            facts[name]["status"] = Fact(value=_STATUS[run.status], origin="the status of MLflow")
    said = (f"{deleted} deleted runs are left out",) if deleted else ()
    return Imported(
        kind="mlflow", source=source, frame=points.frame(source), facts=facts,
        step_origin="the step of MLflow", notes=(*said, *points.notes()),
    )  # fmt: skip
