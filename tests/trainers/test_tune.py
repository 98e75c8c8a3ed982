"""The sweep of learning rates: what it trains, what it finds, what comes of it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from cli import cli
from scalefit.errors import GridError
from scalefit.runs import read, write_part
from trainers.grid import Grids, load
from trainers.launch.tasks import tasks
from trainers.status import status
from trainers.tune import save, sweep_of, tuned

BEST = {4: 0.02, 8: 0.01}


@pytest.fixture
def sweep(tiny):
    return sweep_of(tiny, rates=7, span=64.0, tokens=None, seeds=2)


def measured(sweep, folder, best=BEST):
    """Parts with losses that are least at a rate known for each width."""
    for run in sweep.runs():
        loss = 3.0 + 0.05 * np.log(run.learning_rate / best[run.shape.width]) ** 2
        row = run.columns() | {
            "tokens": 1280, "flops": 1e9, "loss": loss + 0.001 * run.seed, "averaging": "cooldown",
            "loss_unit": "nats/token", "status": "ok",
        }  # fmt: skip
        write_part(folder, run.id, [row])


def test_a_sweep_is_every_width_at_rates_around_the_grids_own(tiny, sweep):
    runs = sweep.runs()
    assert len(runs) == 2 * 7 * 2
    rates = sorted({run.learning_rate for run in runs})
    assert rates[3] == pytest.approx(tiny.learning_rate)
    assert rates[-1] / rates[0] == pytest.approx(64)
    assert {run.tokens for run in runs} == {(1280,)}
    # all rates and seeds of a width train as one model
    assert [len(task.runs) for task in tasks(runs, workers=1)] == [14, 14]


def test_the_best_rate_is_found_between_those_that_were_tried(tiny, sweep, tmp_path):
    measured(sweep, tmp_path)
    found = tuned(tiny, sweep, tmp_path)
    assert [one.width for one in found.widths] == [4, 8]
    for one in found.widths:
        assert one.rate == pytest.approx(BEST[one.width], rel=1e-3)
        assert one.loss == pytest.approx(3.0005, abs=1e-3)
    assert found.rate == pytest.approx((0.02 * 0.01) ** 0.5, rel=1e-3)
    assert found.drift == pytest.approx(-1, abs=1e-3)
    assert found.widths[1].stated == pytest.approx(3.0005, abs=1e-6)


def test_a_best_at_an_end_is_no_best(tiny, sweep, tmp_path):
    measured(sweep, tmp_path, best={4: 0.01, 8: 10.0})
    found = tuned(tiny, sweep, tmp_path)
    assert [one.rate is None for one in found.widths] == [False, True]
    assert found.drift is None
    measured_nowhere = tmp_path / "nowhere"
    measured_nowhere.mkdir()
    measured(sweep, measured_nowhere, best={4: 10.0, 8: 10.0})
    lost = tuned(tiny, sweep, measured_nowhere)
    assert lost.rate is None
    with pytest.raises(GridError, match="no width has its best rate inside the sweep"):
        save(lost, tiny, tmp_path / "tuned.toml")


def test_the_grid_is_written_with_the_rate_found(tiny, sweep, tmp_path):
    measured(sweep, tmp_path)
    path = save(tuned(tiny, sweep, tmp_path), tiny, tmp_path / "tuned.toml")
    assert replace(load(path), name="tiny") == replace(tiny, learning_rate=0.0141)
    with pytest.raises(GridError, match="cannot be written"):
        save(tuned(tiny, sweep, tmp_path), tiny, tmp_path / "none" / "tuned.toml")


def test_a_sweep_takes_one_grid_and_needs_all_its_runs(tiny, sweep, tmp_path):
    with pytest.raises(GridError, match="holds several grids"):
        sweep_of(Grids(name="two", parts=(tiny, tiny)), rates=5, span=4, tokens=None, seeds=1)
    with pytest.raises(GridError, match="lacks 14 runs of the sweep"):
        tuned(tiny, sweep, tmp_path)


def test_what_the_sweep_found_worse_is_flagged_and_not_fitted(sweep, tmp_path):
    measured(sweep, tmp_path)
    found = status(tmp_path)
    assert (found.done, found.undertuned) == (28, 24)
    assert len(read(tmp_path)) == 4


def test_the_command_trains_and_tells(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(
        'source = "markov"\ncontext = 8\nwidths = [4, 8]\ndepth = 1\nhead_width = 4\n'
        "tokens = [12_800, 25_600]\nseeds = [0]\nbatch = 4\nlearning_rate = 0.005\n"
        "embedding_rate = 0.1\nwarmup = 5\ncooldown = 0.2\nheld_out = 1024\n"
    )
    arguments = ["tune", "mine.toml", "--workers", "1", "--seeds", "1", "--output", "tuned.toml"]
    dry = CliRunner().invoke(cli, [*arguments, "--dry-run"])
    assert dry.stdout.startswith("14 runs left")
    assert not Path("tune.parquet").exists()
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert "serves them all" in done.stdout
    again = CliRunner().invoke(cli, [*arguments, "--json"])
    found = json.loads(again.stdout)
    assert 0.0005 < found["rate"] < 0.05
    assert load("tuned.toml").learning_rate == pytest.approx(found["rate"], rel=5e-3)
    assert pd.read_parquet("tune.parquet")["run_id"].nunique() == 14
