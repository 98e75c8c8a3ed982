"""MLflow: its folder and its database without it, a tracking store with it."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from scalefit.errors import DataError
from scalefit.importers.imported import Imported
from scalefit.importers.mlflow import read_database, read_folder, read_server, run_folders
from tests.importers.written import mlruns

RUNS = [("d8", {100: 4.0, 200: 3.5}), ("d12", {100: 3.9, 200: 3.25})]


def check(found: Imported) -> None:
    assert found.runs == ["d8", "d12"]
    assert found.frame["step"].tolist() == [100, 200] * 2
    assert found.frame["val/loss"].tolist() == [4.0, 3.5, 3.9, 3.25]
    stated = {name: fact.value for name, fact in found.facts["d8"].items()}
    assert stated == {"params_total": 124_000_000, "lr": 6e-4, "status": "ok"}


def test_a_folder_is_read_without_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    folder = mlruns(tmp_path / "mlruns", RUNS)
    check(read_folder(folder))
    check(read_folder(tmp_path))
    check(read_folder(folder / "413003551064641146"))
    assert len(run_folders(run_folders(folder)[0])) == 1


def test_runs_of_one_name_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    found = read_folder(mlruns(tmp_path, [RUNS[0], RUNS[0]]))
    assert found.runs == [f"d8 ({number:032x})" for number in (0, 1)]
    assert len(found.frame) == 4


def test_failed_and_deleted_runs_are_what_they_are(tmp_path: Path) -> None:
    found = read_folder(mlruns(tmp_path / "a", RUNS, status=4))
    assert found.facts["d8"]["status"].value == "failed"
    found = read_folder(mlruns(tmp_path / "b", RUNS, status=1))
    assert "status" not in found.facts["d8"]
    with pytest.raises(DataError, match="holds no measurement"):
        read_folder(mlruns(tmp_path / "c", RUNS, stage="deleted"))


def test_yaml_is_not_run(tmp_path: Path) -> None:
    folder = mlruns(tmp_path, RUNS)
    marker = tmp_path / "ran"
    with (run_folders(folder)[0] / "meta.yaml").open("a") as file:
        file.write(f"x: !!python/object/apply:pathlib.Path.touch ['{marker}']\n")
    check(read_folder(folder))
    assert not marker.exists()


def test_lines_of_other_versions_are_read(tmp_path: Path) -> None:
    folder = mlruns(tmp_path, RUNS[:1])
    metric = run_folders(folder)[0] / "metrics" / "val" / "loss"
    metric.write_text("1 4.0 100 wiki 1a2b3c\n2 nan 200\n")
    assert read_folder(folder).frame["val/loss"].tolist() == [4.0, float("inf")]
    metric.write_text("1 4.0\n")
    assert read_folder(folder).frame["step"].tolist() == [0]
    metric.write_text("1 4.0 100\n2 3.\x00 2")
    with pytest.raises(DataError, match="is not a timestamp, a value and a step"):
        read_folder(folder)


def database(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as store:
        store.executescript(
            "CREATE TABLE runs (run_uuid TEXT, name TEXT, status TEXT, lifecycle_stage TEXT, "
            "start_time INT);"
            "CREATE TABLE metrics (key TEXT, value FLOAT, timestamp INT, run_uuid TEXT, step INT, "
            "is_nan BOOLEAN);"
            "CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);"
        )
        for number, (name, curve) in enumerate([*RUNS, ("gone", {1: 1.0})]):
            stage = "deleted" if name == "gone" else "active"
            row = (str(number), name, "FINISHED", stage, number)
            store.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?)", row)
            for step, loss in curve.items():
                store.execute("INSERT INTO metrics VALUES ('val/loss', ?, 0, ?, ?, 0)",
                              (loss, str(number), step))  # fmt: skip
            for key, value in (("n_params", "124000000"), ("learning_rate", "0.0006")):
                store.execute("INSERT INTO params VALUES (?, ?, ?)", (key, value, str(number)))
        store.commit()
    return path


def test_a_database_is_read_without_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    path = database(tmp_path / "mlflow.db")
    before = path.read_bytes()
    found = read_database(path)
    check(found)
    assert found.notes == ("1 deleted runs are left out",)
    assert path.read_bytes() == before
    with closing(sqlite3.connect(path)) as store:
        store.execute("UPDATE metrics SET value = 0, is_nan = 1 WHERE step = 200")
        store.commit()
    assert read_database(path).frame["val/loss"].tolist()[1] == float("inf")


def test_another_or_a_torn_database_is_refused(tmp_path: Path) -> None:
    path = database(tmp_path / "mlflow.db")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match="cannot be read as a database of MLflow"):
        read_database(path)
    with closing(sqlite3.connect(tmp_path / "other.db")) as store:
        store.execute("CREATE TABLE cats (name TEXT)")
    with pytest.raises(DataError, match="is no database of MLflow"):
        read_database(tmp_path / "other.db")


def test_mlflows_own_client_gives_the_same_as_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("GIT_PYTHON_REFRESH", "quiet")
    mlflow = pytest.importorskip("mlflow", reason="asks MLflow's client: the extra mlflow")
    uri = (tmp_path / "mlruns").as_uri()
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("scaling")
    for name, curve in RUNS:
        run = client.create_run(experiment, run_name=name).info.run_id
        for step, loss in curve.items():
            client.log_metric(run, "val/loss", loss, step=step)
        client.log_param(run, "n_params", 124_000_000)
        client.log_param(run, "learning_rate", 6e-4)
        client.set_terminated(run)
    gone = client.create_run(experiment, run_name="gone").info.run_id
    client.log_metric(gone, "val/loss", 1.0, step=1)
    client.delete_run(gone)
    check(read_server(f"mlflow:{uri}", None))
    check(read_server(f"mlflow:{uri}#scaling", None))
    chosen = read_server(f"mlflow:{uri}", "attributes.run_name = 'd12'")
    assert chosen.runs == ["d12"]
    folder = read_folder(tmp_path / "mlruns")
    assert sorted(folder.runs) == ["d12", "d8"]
    assert folder.notes == ("1 deleted runs are left out",)
    with pytest.raises(DataError, match=r'no experiment is called "none"; there are .*scaling'):
        read_server(f"mlflow:{uri}#none", None)
    with pytest.raises(
        DataError, match=r"cannot be read: .* is read without MLflow where its path"
    ):
        read_server(f"mlflow:{uri}", "nonsense ~~")


def test_without_mlflow_the_command_that_installs_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(DataError, match=r'pip install "scalefit\[mlflow\]"'):
        read_server("mlflow:http://localhost:5000", None)
