"""Two processes under torchrun train one model together, and write what one process would."""

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace

import pandas as pd
import pytest

from scalefit.runs import failures, finished
from tests.conftest import ROOT
from trainers import checkpoint
from trainers.train import train

pytestmark = pytest.mark.slow

DRIVE = """
import sys
from pathlib import Path
from trainers.grid import load
from trainers.launch import torchrun
from trainers.launch.choose import leads
from trainers.launch.torchrun import Torchrun
from trainers.train import train
torchrun.AGREE = 3.0
def tell(progress):
    print("heard", flush=True)
if __name__ == "__main__":
    {break_it}
    done = train(load(sys.argv[1]), Path(sys.argv[2]), launcher=Torchrun(), report=tell)
    if leads():
        print("done", done.trained, done.failed, *done.failures, flush=True)
    else:
        assert done.trained == done.failed == 0
"""
BREAK_ONE = """
    import os
    from trainers import run
    whole = run.Trainer._measure_trunk
    def broken(self):
        if os.environ["RANK"] == "1" and self.run.shape.width == 8:
            raise ValueError("the fan stands still")
        return whole(self)
    run.Trainer._measure_trunk = broken
"""
BREAK_ALL = BREAK_ONE.replace('os.environ["RANK"] == "1" and ', "")


def torchrun(*arguments, cwd=ROOT):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port))
    return subprocess.Popen(
        [sys.executable, *start, *map(str, arguments)], cwd=cwd, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def save(tmp_path, grid):
    path = tmp_path / "grid.toml"
    path.write_text(grid.text())
    return path


def script(tmp_path, break_it="pass"):
    path = tmp_path / "drive.py"
    path.write_text(DRIVE.format(break_it=break_it))
    return path


def losses(folder):
    frame = pd.read_parquet(folder).sort_values(["width", "seed", "tokens", "averaging"])
    return frame["loss"].to_numpy()


def test_two_processes_write_what_one_does_and_one_of_them_speaks(tiny, tmp_path):
    grid = replace(tiny, seeds=(0, 1))
    there, here = tmp_path / "two", tmp_path / "one"
    process = torchrun("-m", "scalefit", "train-grid", save(tmp_path, grid), "--results", there)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    assert stdout.count("4 runs trained") == 1
    assert stdout.count("runs trained") == 1
    assert stderr.count("next    scalefit fit") == 1
    train(grid, here, workers=1, report=lambda _: None)
    assert losses(there) == pytest.approx(losses(here), rel=1e-4)
    assert finished(there) == {run.id for run in grid.runs()}
    assert not [path.name for path in there.iterdir() if path.name.startswith(".")]


def test_a_signal_to_torchrun_saves_a_checkpoint_and_stops_all(tiny, tmp_path):
    grid = replace(tiny, widths=(4,), seeds=(0,), tokens=(1280, 640_000))
    results = tmp_path / "results"
    process = torchrun(script(tmp_path), save(tmp_path, grid), results)
    assert process.stdout.readline().strip() == "heard"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert checkpoint.kept(results) == [(grid.runs()[0].id,)]
    assert (finished(results), failures(results)) == (set(), {})


def test_what_fails_in_one_process_alone_is_written_and_ends_all(tiny, tmp_path):
    process = torchrun(script(tmp_path, BREAK_ONE), save(tmp_path, tiny), tmp_path / "results")
    begun = time.monotonic()
    _, stderr = process.communicate(timeout=100)
    assert process.returncode != 0
    assert "the fan stands still" in stderr
    assert time.monotonic() - begun < 60
    assert finished(tmp_path / "results") == set()
    reasons = set(failures(tmp_path / "results").values())
    assert reasons == {"ValueError: the fan stands still"}


def test_what_fails_in_all_processes_costs_its_own_task_only(tiny, tmp_path):
    process = torchrun(script(tmp_path, BREAK_ALL), save(tmp_path, tiny), tmp_path / "results")
    stdout, stderr = process.communicate(timeout=100)
    assert process.returncode == 0, stderr
    assert "done 3 3 width 8, seed 0, 1, 2: ValueError: the fan stands still" in stdout
    frame = pd.read_parquet(tmp_path / "results").query("status == 'ok'")
    assert set(frame["width"]) == {4}


def test_a_batch_that_cannot_be_shared_is_one_sentence(tiny, tmp_path):
    grid = replace(tiny, batch=3)
    process = torchrun(script(tmp_path), save(tmp_path, grid), tmp_path / "results")
    stdout, stderr = process.communicate(timeout=100)
    assert process.returncode == 0, stderr
    assert "done 0 6" in stdout
    assert "a batch of 3 cannot be shared evenly by 2 processes" in stdout
