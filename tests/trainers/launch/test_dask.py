"""Grids on a Dask cluster: a real scheduler and two workers, of which one is killed."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace

import pandas as pd
import pytest

from scalefit.errors import GridError
from scalefit.runs import finished
from tests.conftest import ROOT
from trainers import checkpoint
from trainers.claims import Claims
from trainers.launch import dask as dask_module
from trainers.launch.dask import Dask, _connected, _Count, _has
from trainers.launch.tasks import Trained, tasks
from trainers.train import train

pytest.importorskip("distributed")

DRIVE = """
import sys
from pathlib import Path
from trainers.grid import load
from trainers.launch.dask import Dask
from trainers.train import train
if __name__ == "__main__":
    train(load(sys.argv[1]), Path(sys.argv[2]), launcher=Dask(address=sys.argv[3]),
          report=lambda progress: print("heard", flush=True))
"""


def python(*arguments, log):
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)], cwd=ROOT, stdout=log, stderr=log,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


@contextmanager
def cluster(folder, workers):
    """A scheduler's address and the processes of its workers."""
    told, started = folder / "scheduler.json", []
    here = ("--scheduler-file", told, "--no-dashboard")
    with (folder / "log.txt").open("w") as log:
        try:
            module = "distributed.cli.dask_scheduler"
            place = ("--host", "127.0.0.1", "--port", "0")
            started.append(python("-m", module, *place, *here, log=log))
            wait_for(lambda: told.exists() and told.read_text().strip())
            for number in range(workers):
                own = ("--nthreads", 1, "--no-nanny", "--local-directory", folder / str(number))
                started.append(python("-m", "distributed.cli.dask_worker", *here, *own, log=log))
            yield json.loads(told.read_text())["address"], started[1:]
        finally:
            for process in started:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("dask"), 1) as (address, _):
        yield address


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def silent(_progress):
    pass


def losses(folder):
    frame = pd.read_parquet(folder).sort_values(["width", "seed", "tokens", "averaging"])
    return frame["loss"].to_numpy()


@pytest.mark.slow
def test_workers_train_a_grid_as_this_machine_does(address, tiny, tmp_path):
    seen, there, here = [], tmp_path / "dask", tmp_path / "local"
    assert Dask(address=address).workers == 1
    done = train(tiny, there, launcher=Dask(address=address), report=seen.append)
    assert (done.trained, done.failed, done.elsewhere) == (6, 0, 0)
    assert done.flops == pytest.approx(tiny.describe().flops)
    told = [progress.flops[0] for progress in seen]
    assert told == sorted(told)
    assert len(set(told)) > 6
    train(tiny, here, workers=1, report=silent)
    assert losses(there) == pytest.approx(losses(here), rel=1e-4)
    assert not [path.name for path in there.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_no_run(tiny, tmp_path):
    grid = replace(tiny, tokens=(1280, 19_200))
    with cluster(tmp_path, 2) as (address, workers):
        wait_for(lambda: Dask(address=address).workers == 2)
        todo, results = tasks(grid.runs(), 2), tmp_path / "results"
        heard = set()

        def kill(progress):
            """Once both workers have told a loss."""
            heard.add(progress.losses)
            if len(heard) == 3:
                workers[0].kill()
                workers[0].wait()

        done = train(grid, results, launcher=Dask(address=address), report=kill)
    assert len(todo) > 1
    assert workers[0].returncode == -9
    assert (done.trained, done.failed) == (6, 0)
    assert done.flops == pytest.approx(grid.describe().flops)
    assert finished(results) == {run.id for run in grid.runs()}
    assert len(pd.read_parquet(results)) == 6 * 6


@pytest.mark.slow
def test_a_stopped_driver_leaves_checkpoints_and_idle_workers(address, tiny, tmp_path):
    grid = replace(tiny, widths=(4,), tokens=(1280, 1_280_000))
    todo = tasks(grid.runs(), 1)
    start = Dask(address=address)
    messages = start(todo, claims=Claims(tmp_path), results=tmp_path)
    for _, message in messages:
        if isinstance(message, Trained) and message.losses:
            break
    messages.close()
    assert checkpoint.kept(tmp_path) == [tuple(run.id for run in todo[0].runs)]
    assert not any(training(address))


@pytest.mark.slow
def test_workers_stop_when_their_driver_is_gone(address, tiny, tmp_path):
    path = tmp_path / "grid.toml"
    path.write_text(
        'source = "markov"\ncontext = 8\nwidths = [4]\ndepth = 1\nhead_width = 4\n'
        "tokens = [1280, 1280000]\nseeds = [0]\nbatch = 4\nlearning_rate = 0.01\n"
        "embedding_rate = 0.1\nwarmup = 5\ncooldown = 0.2\nheld_out = 1024\n"
    )
    script, log = tmp_path / "drive.py", tmp_path / "log.txt"
    script.write_text(DRIVE)
    with log.open("w") as told:
        driver = python(script, path, tmp_path / "results", address, log=told)
        wait_for(lambda: "heard" in log.read_text())
        assert any(training(address))
        driver.kill()
        driver.wait()
    wait_for(lambda: not any(training(address)))
    assert len(checkpoint.kept(tmp_path / "results")) == 1


def training(address):
    """Of each worker, whether it trains anything."""
    client = _connected(address)
    try:
        return list(client.run(_has, "scalefit").values())
    finally:
        client.close()


def test_a_scheduler_that_is_not_there_is_one_sentence(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(dask_module, "ANSWER", 0.5)
    for wrong in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(GridError, match=r"no Dask scheduler answers at .*dask scheduler"):
            train(tiny, tmp_path, launcher=Dask(address=wrong), report=silent)


def test_flops_of_a_second_attempt_count_once():
    count = _Count()
    assert [count.more("a", 2.0), count.more("a", 3.0)] == [2.0, 3.0]
    assert [count.more("b", 2.0), count.more("b", 2.0), count.more("b", 2.0)] == [0.0, 0.0, 1.0]
    assert count.told == 6.0
