"""Several processes on one folder: no run is trained twice, and a dead one's runs are free."""

import subprocess
import sys
from dataclasses import replace

import pandas as pd

from scalefit.runs import finished, write_part
from tests.conftest import ROOT
from trainers.claims import Claims
from trainers.grid import load
from trainers.train import train

TAKE = """
import sys, time
from pathlib import Path
from trainers.claims import Claims
from trainers.grid import load
runs = load(sys.argv[1]).runs()
claims = Claims(Path(sys.argv[2]))
print(len(claims.take(runs[:2])), flush=True)
time.sleep(60)
"""
TRAIN = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from trainers.grid import load
from trainers.train import train
if __name__ == "__main__":
    done = train(load(sys.argv[1]), Path(sys.argv[2]), workers=1, report=lambda progress: None)
    print(done.trained, done.elsewhere, done.skipped, done.failed)
"""


def start(script, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], cwd=ROOT, text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip


def grid_file(tmp_path, **changes):
    keys = {
        "source": "markov", "context": 8, "widths": [4, 6, 8, 12], "depth": 1, "head_width": 16,
        "tokens": [1280, 2560], "seeds": [0, 1], "batch": 4, "learning_rate": 0.01,
        "embedding_rate": 0.1, "warmup": 5, "cooldown": 0.2, "held_out": 1024,
    }  # fmt: skip
    path = tmp_path / "grid.toml"
    path.write_text("\n".join(f"{key} = {value!r}" for key, value in (keys | changes).items()))
    return path


def test_a_run_is_one_processes_until_it_ends_however_it_ends(tmp_path):
    path = grid_file(tmp_path)
    runs = load(path).runs()
    other = start(TAKE, path, tmp_path)
    assert other.stdout.readline().strip() == "2"
    claims = Claims(tmp_path)
    assert claims.take(runs) == tuple(runs[2:])
    assert claims.take(runs[2:4]) == tuple(runs[2:4])
    other.kill()
    other.communicate()
    assert claims.take(runs[:2]) == tuple(runs[:2])
    claims.release_all()
    assert claims.take(runs) == tuple(runs)


def test_a_run_that_is_done_is_nobodys(tmp_path):
    runs = load(grid_file(tmp_path)).runs()[:2]
    row = {"params_total": 1.0, "tokens": 1.0, "flops": 6.0, "loss": 1.0, "status": "ok"}
    claims = Claims(tmp_path)
    assert claims.take(runs) == tuple(runs)
    write_part(tmp_path, runs[0].id, [row])
    claims.release(runs)
    assert Claims(tmp_path).take(runs) == (runs[1],)
    assert not list(tmp_path.glob(f".{runs[0].id}*"))


def test_two_commands_on_one_folder_share_its_runs(tmp_path):
    path, results = grid_file(tmp_path, tokens=[6400, 12800]), tmp_path / "results"
    both = [start(TRAIN, path, results) for _ in range(2)]
    counts = [list(map(int, one.communicate()[0].split())) for one in both]
    runs = load(path).runs()
    assert finished(results) == {run.id for run in runs}
    assert sum(trained for trained, *_ in counts) == len(runs)
    assert all(sum(count) == len(runs) and count[3] == 0 for count in counts)
    assert len(pd.read_parquet(results)) == len(runs) * 6
    assert [path.name for path in results.iterdir() if path.name.startswith(".")] == []


def test_what_another_process_trains_is_left_to_it(tiny, tmp_path):
    grid = replace(tiny, widths=(4,))
    other = Claims(tmp_path)
    other.take(grid.runs()[:1])
    done = train(grid, tmp_path, workers=1, report=lambda _: None)
    assert (done.trained, done.elsewhere) == (2, 1)
    other.release_all()
    again = train(grid, tmp_path, workers=1, report=lambda _: None)
    assert (again.trained, again.skipped, again.elsewhere) == (1, 2, 0)
