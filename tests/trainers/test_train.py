"""Where runs execute: order, progress, resuming, stopping, and everything that can die."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from scalefit.errors import GridError
from scalefit.runs import canonical_json, finished
from trainers import checkpoint
from trainers.claims import Claims
from trainers.grid import Grids
from trainers.launch import parts
from trainers.launch.local import Local
from trainers.launch.tasks import Failed, tasks
from trainers.run import Keeper
from trainers.run import train as train_runs
from trainers.train import train

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from pathlib import Path
from trainers.grid import load
from trainers.train import train
if __name__ == "__main__":
    try:
        train(load(sys.argv[1]), Path(sys.argv[2]), workers=2, report=lambda progress: None)
    except KeyboardInterrupt:
        sys.exit(130)
"""


def silent(_progress):
    pass


def losses(folder):
    frame = pd.read_parquet(folder).sort_values(["width", "seed", "tokens", "averaging"])
    return frame["loss"].to_numpy()


def save(grid, path):
    path.write_text(grid.text())
    return path


def start(tmp_path, grid):
    """A process of its own that trains the grid."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(save(grid, tmp_path / "g.toml"))]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen([*command, str(tmp_path / "results")], env=environment)


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """The tiny grid, trained by one worker: its folder, the summary, and every progress told."""
    seen = []
    folder = tmp_path_factory.mktemp("whole") / "results.parquet"
    return folder, train(tiny, folder, workers=1, report=seen.append), seen


def test_a_grid_is_trained_and_then_skipped(tiny, trained):
    folder, summary, seen = trained
    assert (summary.trained, summary.skipped, summary.failed, summary.diverged) == (6, 0, 0, 0)
    assert summary.flops == pytest.approx(tiny.describe().flops)
    assert seen[-1].runs == (6, 6)
    assert seen[-1].flops == pytest.approx((summary.flops, summary.flops))
    assert seen[-1].remaining == pytest.approx(0, abs=1e-6)
    assert [p.flops[0] for p in seen] == sorted(p.flops[0] for p in seen)
    assert len(seen[-1].losses) == 3

    again = train(tiny, folder, workers=1, report=silent)
    assert (again.trained, again.skipped) == (0, 6)
    frame = pd.read_parquet(folder)
    assert len(frame) == 6 * 6
    assert frame["code"].str.startswith("scalefit ").all()
    assert set(frame["run_id"]) == {run.id for run in tiny.runs()}


def test_missing_seeds_alone_give_the_same_runs(tiny, trained, tmp_path):
    for run in tiny.runs():
        if run.seed == 1:
            shutil.copy(trained[0] / f"{run.id}.parquet", tmp_path)
    summary = train(tiny, tmp_path, workers=1, report=silent)
    assert (summary.trained, summary.skipped) == (4, 2)
    assert losses(tmp_path) == pytest.approx(losses(trained[0]), rel=1e-4)


def test_longest_task_comes_first_and_workers_get_a_fair_share(tiny):
    runs = tiny.runs()
    alone = tasks(runs, workers=1)
    assert [task.runs[0].shape.width for task in alone] == [8, 4]
    assert [len(task.runs) for task in alone] == [3, 3]
    many = tasks(runs, workers=6)
    assert [len(task.runs) for task in many] == [1] * 6
    for groups in (alone, many):
        assert {run.id for task in groups for run in task.runs} == {run.id for run in runs}
        assert [t.seconds for t in groups] == sorted((t.seconds for t in groups), reverse=True)


@pytest.mark.parametrize(
    "change",
    [{"batch": 2}, {"tokens": (2560,)}, {"warmup": 2}, {"held_out": 512}, {"schedule": "cosine"},
     {"precision": "bf16"}],
)  # fmt: skip
def test_runs_that_differ_in_more_than_seed_and_rates_train_apart(tiny, change):
    one = replace(tiny, widths=(4,))
    runs = Grids(name="two", parts=(one, replace(one, **change))).runs()
    groups = tasks(runs, workers=1)
    assert sorted(len(task.runs) for task in groups) == [3, 3]
    for task in groups:
        assert len({run.id for run in task.runs}) == 3
        assert len({canonical_json(replace(run, seed=0).config()) for run in task.runs}) == 1


def test_runs_that_differ_in_seed_and_rates_train_as_one(tiny):
    one = replace(tiny, widths=(4,))
    parts = (one, replace(one, learning_rate=0.05), replace(one, embedding_rate=0.5))
    (group,) = tasks(Grids(name="rates", parts=parts).runs(), workers=1)
    assert len(group.runs) == 9


def test_grids_of_one_file_train_as_they_would_alone(tiny, tmp_path):
    one = replace(tiny, widths=(4,), seeds=(0,))
    other = replace(one, learning_rate=0.05, batch=2)
    together = Grids(name="two", parts=(one, other))
    assert train(together, tmp_path / "both", workers=1, report=silent).trained == 2
    for part in (one, other):
        train(part, tmp_path / "alone", workers=1, report=silent)
    both, alone = (
        pd.read_parquet(tmp_path / name).sort_values(["run_id", "tokens", "averaging"])
        for name in ("both", "alone")
    )
    assert both["run_id"].tolist() == alone["run_id"].tolist()
    assert both["loss"].to_numpy() == pytest.approx(alone["loss"].to_numpy(), rel=1e-5)
    assert both.groupby("run_id")["loss"].min().nunique() == 2


def test_a_killed_command_leaves_whole_parts_and_goes_on(tiny, tmp_path):
    grid = replace(tiny, widths=(4, 6, 8), tokens=(6400, 12_800), head_width=16)
    results = tmp_path / "results"
    process = start(tmp_path, grid)
    wait_for(lambda: len(finished(results)) >= 3)
    process.kill()
    process.wait()
    done = finished(results)
    assert 3 <= len(done) < 9
    before = {name: (results / f"{name}.parquet").stat().st_mtime_ns for name in done}
    assert len(pd.read_parquet(results)) == 6 * len(done)

    summary = train(grid, results, workers=2, report=silent)
    assert (summary.trained, summary.skipped) == (9 - len(done), len(done))
    assert finished(results) == {run.id for run in grid.runs()}
    for name, written in before.items():
        assert (results / f"{name}.parquet").stat().st_mtime_ns == written


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_ends_at_once_with_its_workers(tiny, tmp_path, number):
    endless = replace(tiny, widths=(4, 8), tokens=(12_800, 12_800_000))
    process = start(tmp_path, endless)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        process.kill()
        process.wait()
        pytest.skip("needs Linux to list the workers")
    wait_for(lambda: len(children.read_text().split()) >= 2)
    workers = children.read_text().split()
    time.sleep(1)
    process.send_signal(number)
    assert process.wait(timeout=10) == 130
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), seconds=10)
    assert finished(tmp_path / "results") == set()


def test_a_worker_that_dies_fails_its_own_task_only(tiny, tmp_path):
    todo = tasks(tiny.runs(), workers=1)
    killed, outcomes = False, []
    for task, message in Local(workers=1)(todo, claims=Claims(tmp_path), results=tmp_path):
        if not killed:
            children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
            if not children.exists():
                pytest.skip("needs Linux to find the worker")
            killed = True
            kill_spawned(children)
        if type(message).__name__ != "Trained":
            outcomes.append((task, message))
    assert [task for task, _ in outcomes] == todo
    assert isinstance(outcomes[0][1], Failed)
    assert "killed" in outcomes[0][1].reason
    assert not isinstance(outcomes[1][1], Failed)


def kill_spawned(children):
    for pid in children.read_text().split():
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if b"spawn_main" in command:
            os.kill(int(pid), signal.SIGKILL)


def test_what_a_task_raises_is_reported_and_not_written(tiny, tmp_path):
    summary = train(tiny, tmp_path, workers=1, device="nonsense", report=silent)
    assert (summary.trained, summary.failed) == (0, 6)
    assert summary.failures[0].startswith("width 8, seed 0, 1, 2: RuntimeError: ")
    assert finished(tmp_path) == set()


def test_results_that_cannot_be_written_are_one_sentence(tiny, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(GridError, match="file cannot be made a folder of results"):
        train(tiny, tmp_path / "file", workers=1, report=silent)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parts, "write_part", full)
    with pytest.raises(GridError, match=r"No space left on device.*the same command goes on"):
        train(tiny, tmp_path / "results", workers=1, report=silent)


def test_a_run_whose_worker_died_goes_on_from_its_checkpoint(tiny, tmp_path):
    """The checkpoint of a failed task stays, and is gone once its runs are done."""
    grid = replace(tiny, widths=(4,))
    ids = [run.id for run in grid.runs()]
    keeper = Keeper(folder=tmp_path, every=0.0)
    reports = []

    def die(flops, _losses):
        reports.append(flops)
        if len(reports) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_runs(grid.runs(), device="cpu", report=die, keeper=keeper)
    assert checkpoint.kept(tmp_path) == [tuple(ids)]
    assert train(grid, tmp_path, workers=1, device="nowhere", report=silent).failed == 3
    assert checkpoint.kept(tmp_path) == [tuple(ids)]
    done = train(grid, tmp_path, workers=1, report=silent)
    assert done.trained == 3
    assert done.flops < grid.describe().flops
    assert checkpoint.kept(tmp_path) == []
