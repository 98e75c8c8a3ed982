"""Back-tests on tables whose future is known."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalefit.diagnosis.backtest import Backtest, Points, backtest
from scalefit.errors import FitError
from scalefit.runs import Runs, read
from scalefit.simulate import Noise, grid, simulate, write
from tests.conftest import known_law


def table(folder: Path, noise: float, *, seed: int = 0, ratio: float | None = None) -> Runs:
    """Profiles of equal compute, or one size a budget at a ratio of tokens to parameters."""
    law, budgets = known_law("chinchilla"), np.geomspace(1e18, 1e22, 12)
    n, d = grid(law, flops=budgets)
    if ratio:
        n, d = np.sqrt(budgets / 6 / ratio), np.sqrt(budgets / 6 * ratio)
    frame = simulate(law, params=n, tokens=d, noise=Noise(sd=noise), seed=seed)
    return read(write(frame, folder / f"{seed}-{ratio}.parquet"))


@pytest.fixture(scope="module")
def tested(tmp_path_factory: pytest.TempPathFactory) -> Backtest:
    return backtest(table(tmp_path_factory.mktemp("runs"), 0.003))


def test_cuts_expand_and_split_every_row(tested: Backtest) -> None:
    flops = [cut.flops for cut in tested.cuts]
    assert len(flops) == 4
    assert flops == sorted(set(flops))
    assert all(cut.fitted + cut.predicted == 84 for cut in tested.cuts)
    assert all(cut.reach > 1 for cut in tested.cuts)
    assert tested.skipped == ()


def test_a_law_that_is_true_predicts_and_no_naive_rule_does(tested: Backtest) -> None:
    for cut in tested.cuts:
        law, *naive = cut.forecasts
        assert law.predictor == "chinchilla"
        assert law.rms < 0.01
        assert {entry.predictor for entry in naive} == {
            "power law in C", "pinned E", "20 tokens per parameter", "last value",
        }  # fmt: skip
        assert all(entry.coverage is None for entry in naive)
        assert all(law.rms < entry.rms for entry in naive)


def test_intervals_hold_what_they_say_when_the_law_is_true(tmp_path: Path) -> None:
    held = []
    for seed in range(12):
        done = backtest(table(tmp_path, 0.005, seed=seed), cuts=1, bootstrap=150, level=0.9)
        held.append(done.cuts[0].forecasts[0].coverage)
    # Rows of one table share the error of its fit, so tables are the sample.
    assert np.mean(held) == pytest.approx(0.9, abs=0.07)


def test_the_signs_are_measured_over_predicted(tmp_path: Path) -> None:
    runs = table(tmp_path, 0.001)
    worse = runs.frame["flops"] > 1e20
    runs.frame.loc[worse, "loss"] *= 1.1
    last = backtest(runs, cuts=1, bootstrap=50).cuts[0].forecasts[0]
    assert last.bias == pytest.approx(np.log(1.1), abs=0.02)
    assert last.coverage < 0.1


def test_the_baselines_are_the_lines_they_are_called(tmp_path: Path) -> None:
    runs = table(tmp_path, 0.0)
    power = 30 * runs.frame["flops"] ** -0.05
    same = dataclasses.replace(runs, frame=runs.frame.assign(loss=power))
    done = backtest(same, cuts=2, bootstrap=20)
    for cut in done.cuts:
        line = next(f for f in cut.forecasts if f.predictor == "power law in C")
        assert line.rms < 1e-6
        last = next(f for f in cut.forecasts if f.predictor == "last value")
        assert last.best_bias < 0


def test_epoch_runs_come_out_better_than_predicted(epoch: Runs) -> None:
    done = backtest(epoch.without_highest(5), bootstrap=200)
    laws = [cut.forecasts[0] for cut in done.cuts]
    assert [cut.predicted for cut in done.cuts] == sorted(
        (cut.predicted for cut in done.cuts), reverse=True
    )
    assert all(law.rms < 0.02 for law in laws)
    assert all(law.best_bias < 0 for law in laws)


@given(
    st.lists(
        st.tuples(st.sampled_from([1.0, 2.0, 3.0, 4.0]), st.sampled_from([1.0, 2.0, 3.0])),
        min_size=1,
        max_size=30,
    )
)
def test_the_envelope_is_what_nothing_as_cheap_beats(rows: list[tuple[float, float]]) -> None:
    flops, loss = np.array(rows).T
    best = Points(params=flops, tokens=flops, flops=flops, loss=loss).best()
    assert best.any()
    for i in range(len(rows)):
        beaten = ((flops <= flops[i]) & (loss < loss[i])).any()
        assert not (best[i] and beaten)
    for c in set(flops):
        least = loss[flops <= c].min()
        assert loss[best & (flops <= c)].min() == least


def test_what_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    runs = table(tmp_path, 0.003)
    with pytest.raises(FitError, match="ask for one or more"):
        backtest(runs, cuts=0)
    one = dataclasses.replace(runs, frame=runs.frame.assign(flops=1e20))
    with pytest.raises(FitError, match="one compute only"):
        backtest(one)
    line = table(tmp_path, 0.003, ratio=20.0)
    with pytest.raises(FitError, match="no cut of compute leaves runs to fit"):
        backtest(line)


def test_a_cut_that_leaves_too_little_is_told(tmp_path: Path) -> None:
    runs = table(tmp_path, 0.003)
    few = dataclasses.replace(runs, frame=runs.frame.sample(10, random_state=1, ignore_index=True))
    done = backtest(few, cuts=4, bootstrap=20)
    assert done.skipped
    assert "usable rows" in done.skipped[0]
    assert len(done.cuts) + len(done.skipped) <= 4


def test_the_json_is_whole(tested: Backtest) -> None:
    document = json.loads(json.dumps(tested.to_dict(), allow_nan=False))
    assert set(document) == {"schema", "source", "level", "cuts", "skipped"}
    assert document["cuts"][0]["forecasts"][0]["predictor"] == "chinchilla"
