"""What a grid will take, what a folder holds of it, and why runs failed."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from cli import cli
from scalefit.errors import GridError
from scalefit.runs import failures, finished, read, write_failure, write_part
from trainers.estimate import affordable, estimate, memory
from trainers.grid import load, shipped
from trainers.launch.tasks import tasks
from trainers.status import status
from trainers.train import left_of, train


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """The four cheapest runs of the tiny grid."""
    folder = tmp_path_factory.mktemp("some") / "results.parquet"
    runs = sorted(tiny.runs(), key=lambda run: run.flops)
    budget = sum(run.flops for run in runs[:4]) * (1 + 1e-9)
    return folder, train(tiny, folder, workers=1, report=lambda _: None, max_flops=budget)


def test_a_budget_trains_the_cheapest_runs_and_says_what_is_left(tiny, trained):
    folder, summary = trained
    assert (summary.trained, summary.left, summary.skipped) == (4, 2, 0)
    cheapest = sorted(tiny.runs(), key=lambda run: run.flops)[:4]
    assert finished(folder) == {run.id for run in cheapest}
    found = status(folder, tiny)
    assert (found.done, found.diverged, found.missing, found.others) == (4, 0, 2, 0)
    assert found.flops == pytest.approx((summary.flops, tiny.describe().flops))
    assert {run.id for run in left_of(tiny, folder, 1)} == {
        run.id for run in tiny.runs()
    } - finished(folder)
    other = status(folder, replace(tiny, seeds=(7,)))
    assert (other.done, other.missing, other.others) == (0, 2, 4)
    assert status(folder).missing is None


def test_hours_are_a_budget_by_estimate(tiny):
    runs = tiny.runs()
    whole = sum(task.seconds for task in tasks(runs, workers=6)) / 3600
    assert affordable(runs, 1, max_flops=None, max_hours=2 * whole) == runs
    some = affordable(runs, 1, max_flops=None, max_hours=whole / 2)
    assert 0 < len(some) < len(runs)
    assert max(run.flops for run in some) <= min(
        run.flops for run in runs if run.id not in {one.id for one in some}
    )
    # Twice as many workers do as much in half the time.
    assert affordable(runs, 2, max_flops=None, max_hours=whole / 4) == some


def test_more_workers_take_less_time_and_more_memory(tiny):
    one, two = (estimate(tiny.runs(), workers) for workers in (1, 2))
    assert one.runs == two.runs == 6
    assert two.seconds < one.seconds
    assert two.memory > one.memory
    assert one.flops == pytest.approx(tiny.describe().flops)
    assert estimate([], 2).seconds == 0


def test_memory_is_of_the_order_that_was_measured():
    # Peak resident memory of one worker in training: 0.59 GB for the default grid's largest task.
    (largest, *_) = tasks(load("text").runs(), 1)
    assert 0.4e9 < memory(largest) < 0.9e9
    wide = replace(load("text"), widths=(4096,), depth=8).runs()
    assert memory(tasks(wide, 1)[0]) > 3 * 8 * 12 * 4096**2 * 16


def test_a_failure_is_a_row_until_the_run_succeeds(tmp_path: Path):
    row = {"params_total": 10.0, "tokens": 20.0, "flops": 1200.0, "seed": 1}
    write_part(tmp_path, "done", [row | {"loss": 2.0, "status": "ok"}])
    write_failure(tmp_path, "lost", row, "out of memory")
    write_failure(tmp_path, "lost", row, "killed")  # the last reason counts
    assert failures(tmp_path) == {"lost": "killed"}
    assert finished(tmp_path) == {"done"}
    frame = pd.read_parquet(tmp_path)
    assert sorted(frame["status"]) == ["failed", "ok"]
    assert len(read(tmp_path)) == 1  # never fitted
    found = status(tmp_path)
    assert (found.done, found.failed) == (1, {"lost": "killed"})
    write_part(tmp_path, "lost", [row | {"loss": 2.1, "status": "ok"}])
    assert failures(tmp_path) == {}
    assert finished(tmp_path) == {"done", "lost"}


def test_a_run_that_cannot_be_trained_leaves_its_reason(tiny, tmp_path: Path):
    grid = replace(tiny, widths=(4,))
    summary = train(grid, tmp_path, workers=1, device="nowhere", report=lambda _: None)
    assert summary.failed == 3
    found = status(tmp_path, grid)
    assert sorted(found.failed) == [f"width 4, seed {seed}" for seed in (0, 1, 2)]
    assert all("nowhere" in reason for reason in found.failed.values())
    assert train(grid, tmp_path, workers=1, report=lambda _: None).trained == 3
    assert status(tmp_path, grid).failed == {}


def test_ten_thousand_runs_are_listed_and_looked_at_in_seconds(tiny, tmp_path: Path):
    many = replace(tiny, widths=(4,), seeds=tuple(range(10_000)))
    runs = many.runs()
    for run in runs[:50]:
        write_part(tmp_path, run.id, [{"params_total": 1.0, "tokens": 1.0, "flops": 6.0,
                                       "loss": 1.0, "status": "ok"}])  # fmt: skip
    assert len(left_of(many, tmp_path, 2)) == 9_950
    assert status(tmp_path, many).missing == 9_950
    assert many.describe().runs == 10_000


def ask(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == code, done.output
    return done.stdout


def test_grids_are_listed_and_printed_to_begin_ones_own(tmp_path: Path):
    told = ask("grids")
    assert "markov: 21 runs" in told
    assert "whose entropy is known exactly" in told
    assert [one["name"] for one in json.loads(ask("grids", "--json"))] == sorted(shipped())
    path = tmp_path / "mine.toml"
    path.write_text(ask("grids", "markov"))
    assert replace(load(path), name="markov") == load("markov")
    assert "did you mean" in CliRunner().invoke(cli, ["grids", "markow"]).stderr


def test_a_status_is_words_and_json(tiny, trained):
    folder, _ = trained
    assert ask("status", str(folder)).strip() == "4 done, 0 diverged, 0 failed"
    found = json.loads(ask("status", str(folder), "markov", "--json"))
    assert (found["missing"], found["others"]) == (21, 4)
    assert "runs are not of this grid" in ask("status", str(folder), "markov")
    with pytest.raises(GridError, match="is no folder of results"):
        status(folder / "none")


def test_a_dry_run_says_time_and_memory_and_trains_nothing(tmp_path: Path):
    results = tmp_path / "r.parquet"
    told = ask("train-grid", "markov", "--dry-run", "--seeds", "2", "--results", str(results))
    assert told.startswith("14 runs left")
    assert "memory" in told
    assert not results.exists()
    found = json.loads(
        ask("train-grid", "markov", "--dry-run", "--max-flops", "1e10", "--json", "--results",
            str(results))
    )  # fmt: skip
    assert 0 < found["left"]["runs"] < found["runs"] == 21
