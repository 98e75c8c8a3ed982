"""Grids as SLURM jobs, on a real SLURM of one node where it can be started."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from scalefit.errors import GridError
from scalefit.runs import failures, finished
from tests.conftest import ROOT
from tests.trainers.launch.slurm_server import NotStartedError, slurm
from trainers import checkpoint
from trainers.grid import Grids
from trainers.launch import slurm as slurm_module
from trainers.launch.slurm import Slurm
from trainers.launch.squeue import ENDED, State, living
from trainers.train import train

pytest.importorskip("submitit")

DRIVE = """
import sys
from pathlib import Path
from trainers.grid import load
from trainers.launch.slurm import Slurm
from trainers.train import train
if __name__ == "__main__":
    try:
        done = train(
            load(sys.argv[1]), Path(sys.argv[2]), launcher=Slurm(minutes=5, workers=2),
            report=lambda progress: None,
        )
        print(done.trained, done.elsewhere, done.failed, *done.failures, flush=True)
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    patch = pytest.MonkeyPatch()
    patch.chdir(ROOT)  # where jobs find trainers
    patch.setattr(slurm_module, "GRACE", 2.0)
    patch.setattr(slurm_module, "ASK", (1.0, 2.0))
    try:
        with slurm(folder) as environment:
            for name, value in environment.items():
                patch.setenv(name, value)
            yield folder
    except NotStartedError as error:
        pytest.skip(str(error))
    finally:
        patch.undo()


def silent(_progress):
    pass


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def losses(folder):
    frame = pd.read_parquet(folder).sort_values(["width", "seed", "tokens", "averaging"])
    return frame["loss"].to_numpy()


def queued(results):
    return living(slurm_module._beginning(results.resolve()))


def measured(results):
    """How many jobs have told a loss."""
    return sum("loss" in log.read_text() for log in results.glob(".slurm/*/*_log.out"))


def hidden(results):
    return [path.name for path in results.iterdir() if path.name.startswith(".")]


def grid_file(tmp_path, grid):
    path = tmp_path / "grid.toml"
    path.write_text(grid.text())
    return path


def drive(path, results):
    """A driver in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", DRIVE, str(path), str(results)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.fixture
def endless(tiny):
    """Minutes of training in two jobs, if nobody stops them."""
    return replace(tiny, seeds=(0,), tokens=(12_800, 1_280_000))


@pytest.mark.slow
def test_an_array_trains_a_grid_as_this_machine_does(server, tiny, tmp_path):
    seen = []
    there, here = tmp_path / "slurm", tmp_path / "local"
    done = train(tiny, there, launcher=Slurm(minutes=5, workers=2), report=seen.append)
    assert (done.trained, done.failed, done.elsewhere) == (6, 0, 0)
    assert done.flops == pytest.approx(tiny.describe().flops)
    assert all(isinstance(loss, float) for loss in seen[-1].losses)
    train(tiny, here, workers=1, report=silent)
    assert losses(there) == pytest.approx(losses(here), rel=1e-4)
    assert pd.read_parquet(there)["code"].str.startswith("scalefit ").all()
    assert not hidden(there)
    assert queued(there) == []


@pytest.mark.slow
def test_a_refused_partition_is_one_sentence(server, tiny, tmp_path):
    with pytest.raises(GridError, match=r"SLURM refuses.*partition.*--slurm") as caught:
        train(tiny, tmp_path, launcher=Slurm(partition="nowhere"), report=silent)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_job_that_could_never_start_fails_and_is_gone(server, tiny, tmp_path):
    # more time than a partition has is accepted, and never comes
    subprocess.run(["scontrol", "update", "PartitionName=main", "MaxTime=10"], check=True)
    try:
        done = train(tiny, tmp_path, launcher=Slurm(minutes=60), report=silent)
    finally:
        subprocess.run(["scontrol", "update", "PartitionName=main", "MaxTime=INFINITE"], check=True)
    assert (done.trained, done.failed) == (0, 6)
    assert "never start it (PartitionTimeLimit)" in done.failures[0]
    assert len(failures(tmp_path)) == 6
    wait_for(lambda: not queued(tmp_path))


@pytest.mark.slow
def test_a_stopped_driver_cancels_jobs_which_save_what_they_have(server, endless, tmp_path):
    results = tmp_path / "results"
    driver = drive(grid_file(tmp_path, endless), results)
    wait_for(lambda: measured(results) == 2)
    driver.send_signal(signal.SIGINT)
    assert driver.wait(timeout=60) == 130
    driver.stdout.close()
    assert queued(results) == []
    kept = {run for runs in checkpoint.kept(results) for run in runs}
    assert kept == {run.id for run in endless.runs()}
    assert failures(results) == {}


@pytest.mark.slow
def test_jobs_outlive_their_driver_and_are_left_alone_by_the_next(server, tiny, tmp_path):
    grid = replace(tiny, seeds=(0,), tokens=(1280, 12_800))
    results, path = tmp_path / "results", grid_file(tmp_path, grid)
    driver = drive(path, results)
    wait_for(lambda: len(queued(results)) == 2)
    driver.kill()
    driver.wait()
    driver.stdout.close()
    done = train(grid, results, launcher=Slurm(minutes=5), report=silent)
    assert (done.trained, done.elsewhere, done.failed) == (0, 2, 0)
    wait_for(lambda: not queued(results))
    assert finished(results) == {run.id for run in grid.runs()}
    assert len(pd.read_parquet(results)) == 2 * 6
    again = train(grid, results, launcher=Slurm(minutes=5), report=silent)
    assert (again.trained, again.skipped) == (0, 2)


def processes_of(results):
    """The Python processes of this folder's jobs."""
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdecimal():
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if b"submitit.core._submit" in words and str(results).encode() in words[-2]:
                    yield int(entry.name)


@pytest.mark.slow
def test_a_killed_job_fails_alone_and_says_where_its_log_is(server, tiny, tmp_path):
    grid = replace(tiny, seeds=(0,), tokens=(12_800, 1_280_000))
    short = replace(tiny, seeds=(1,))
    killed = []

    def kill(_progress=None):
        """Once the short run is told, which both jobs have begun before."""
        if not killed and len(finished(tmp_path)) == 2:
            killed.extend(processes_of(tmp_path))
            for number in killed:
                os.kill(number, signal.SIGKILL)

    both = Grids(name="both", parts=(replace(grid, widths=(4,)), short))
    done = train(both, tmp_path, launcher=Slurm(minutes=5, workers=3), report=kill)
    assert killed
    assert (done.trained, done.failed) == (2, 1)
    assert "its process died, perhaps for want of memory" in done.failures[0]
    assert (tmp_path / ".slurm").is_dir()
    log = Path(done.failures[0].rpartition("; see ")[2])
    assert "Killed" in log.read_text()


@pytest.mark.slow
def test_a_job_whose_time_is_up_goes_back_to_the_queue_and_goes_on(server, tiny, tmp_path):
    grid = replace(tiny, widths=(8,), seeds=(0,), tokens=(1280, 320_000))
    results = tmp_path / "results"
    driver = drive(grid_file(tmp_path, grid), results)
    wait_for(lambda: measured(results) == 1)
    (job,) = queued(results)
    subprocess.run(["scancel", "--signal=USR2", job.job], check=True)
    wait_for(lambda: any(job.state == "PENDING" for job in queued(results)))
    assert checkpoint.kept(results) == [(grid.runs()[0].id,)]
    assert driver.poll() is None
    # SLURM lets a requeued job wait for two minutes, by which the first one has left its node
    wait_for(lambda: not list(processes_of(results)))
    time.sleep(1)
    subprocess.run(["scontrol", "update", f"JobId={job.job}", "StartTime=now"], check=True)
    told, _ = driver.communicate(timeout=60)
    assert told.split() == ["1", "0", "0"]
    assert finished(results) == {grid.runs()[0].id}
    assert not hidden(results)


def test_a_line_of_the_queue_says_what_a_job_will_still_do():
    def of(line):
        return State.parse(line)

    waiting = of("12_3|3|PENDING|Resources|scalefit-ab-c|d")
    assert (waiting.job, waiting.index, waiting.name) == ("12_3", 3, "scalefit-ab-c|d")
    assert waiting.lives
    assert not waiting.hopeless
    assert of("12|N/A|RUNNING|None|x").index == 0
    assert of("12|N/A|PENDING|PartitionTimeLimit|x").hopeless
    assert of("12|N/A|PENDING|launch failed requeued held|x").hopeless
    assert not of("12|N/A|RUNNING|PartitionTimeLimit|x").hopeless
    assert not any(of(f"12|N/A|{state}|None|x").lives for state in ENDED)
    assert all(of(f"12|N/A|{state}|None|x").lives for state in ("COMPLETING", "REQUEUED"))


def test_a_machine_without_slurm_says_where_to_go(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GridError, match=r"no sbatch on this machine.*login node"):
        train(tiny, tmp_path, launcher=Slurm(), report=silent)


def test_what_is_asked_reaches_sbatch():
    how = Slurm(partition="gpu", minutes=2, cpus=4, gpus=1, memory="8G", extra={"account": "a"})
    asked = how.parameters("name")
    assert asked["partition"] == "gpu"
    assert asked["signal_delay_s"] == 30
    assert asked["srun_args"] == ["--cpus-per-task=4"]
    assert (asked["gpus_per_node"], asked["mem"]) == (1, "8G")
    assert asked["additional_parameters"] == {"account": "a"}
    assert "partition" not in Slurm().parameters("name")
    assert "gpus_per_node" not in Slurm().parameters("name")
