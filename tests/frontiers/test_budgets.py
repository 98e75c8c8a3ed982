"""Which rows count, which budget each is of, and the tokens of a size at a budget."""

import numpy as np
import pandas as pd
import pytest

from scalefit.errors import FitError
from scalefit.frontiers.budgets import Profile, finished, grouped, profiles
from scalefit.runs import Runs

BUDGETS = np.array([6e18, 1e19, 3e19, 6e19, 1e20])


def table(flops: np.ndarray, sizes: int = 8) -> pd.DataFrame:
    c = np.repeat(flops, sizes)
    n = np.tile(np.geomspace(1e8, 2e9, sizes), len(flops))
    return pd.DataFrame({"params": n, "tokens": c / 6 / n, "flops": c, "loss": 3.0})


def as_runs(frame: pd.DataFrame) -> Runs:
    return Runs(frame=frame.reset_index(drop=True), source="made", params_kind="total")


def test_digitised_budgets_are_found_and_stray_runs_between_them_are_not() -> None:
    rng = np.random.default_rng(0)
    frame = table(BUDGETS)
    frame["flops"] *= np.exp(rng.uniform(-0.05, 0.05, len(frame)))
    strays = table(np.geomspace(4e18, 2e20, 17), sizes=2)
    strays["flops"] *= np.exp(rng.uniform(-0.03, 0.03, len(strays)))
    both = pd.concat([frame, strays]).sample(frac=1, random_state=0)
    runs, found = profiles(as_runs(both), tolerance=0.1, least=3)
    assert [p.flops for p in found] == pytest.approx(BUDGETS, rel=0.06)
    assert min(p.sizes for p in found) == 8
    reasons = {drop.reason for drop in runs.dropped}
    assert reasons == {"at a compute that few other sizes have"}


def test_exact_budgets_nearer_than_the_tolerance_stay_apart() -> None:
    close = np.array([1e19, 1.08e19, 1.16e19])
    found = profiles(as_runs(table(close)), tolerance=0.1, least=3)[1]
    assert [p.flops for p in found] == pytest.approx(close, rel=1e-12)


def test_the_order_of_rows_means_nothing() -> None:
    frame = table(BUDGETS)
    frame["flops"] *= np.exp(np.random.default_rng(1).uniform(-0.05, 0.05, len(frame)))
    mixed = frame.sample(frac=1, random_state=3)
    labels = pd.Series(grouped(frame, 0.1), index=frame.index)
    other = pd.Series(grouped(mixed, 0.1), index=mixed.index).sort_index()
    assert len(set(zip(labels, other, strict=True))) == len(set(labels)) == 5


def curves(offset: float = 0.0) -> pd.DataFrame:
    """Five checkpoints of eight runs; with an offset no two sizes meet at one compute."""
    frame = table(np.geomspace(1e18, 1e20, 5))
    size = np.tile(np.arange(8), 5)
    frame["flops"] *= np.exp(offset * size)
    frame["tokens"] = frame["flops"] / 6 / frame["params"]
    return frame.assign(run_id=size.astype(str))


def test_the_last_row_of_each_curve_counts() -> None:
    runs = finished(as_runs(curves(0.01)))
    assert len(runs) == 8
    assert runs.frame["flops"].min() > 9e19
    assert runs.dropped[-1].reason == "before the end of their run"
    assert runs.dropped[-1].rows == 32


def test_losses_read_off_curves_at_given_budgets_all_count() -> None:
    assert len(finished(as_runs(curves()))) == 40


def test_annealed_branches_count_wherever_they_left_the_trunk() -> None:
    frame = curves(0.01)
    kinds = np.where(np.arange(40) < 24, "cooldown", "raw")
    assert len(finished(as_runs(frame.assign(averaging=kinds)))) == 32


def test_a_table_without_budgets_is_refused() -> None:
    lone = table(np.geomspace(1e18, 1e20, 8), sizes=1)
    with pytest.raises(FitError, match="same compute to within 10%, so there is no isoFLOP prof"):
        profiles(as_runs(lone), tolerance=0.1, least=3)


def test_a_table_without_tokens_is_refused() -> None:
    with pytest.raises(FitError, match="made has no 'tokens', which isoFLOP profiles are about"):
        profiles(as_runs(table(BUDGETS).drop(columns="tokens")), tolerance=0.1, least=3)


def test_repeated_sizes_are_one_size() -> None:
    frame = pd.concat([table(BUDGETS), table(BUDGETS).assign(params=lambda f: f["params"] * 1.002)])
    found = profiles(as_runs(frame), tolerance=0.1, least=3)[1]
    assert [(p.sizes, len(p.rows)) for p in found] == [(8, 16)] * 5
    size, average = found[0].by_size
    assert size == pytest.approx(np.log(np.geomspace(1e8, 2e9, 8)) + 0.001, abs=1e-5)
    assert average.sum(axis=1) == pytest.approx(1)


def test_the_sizes_about_the_lowest_loss_keep_their_rows() -> None:
    frame = table(BUDGETS[:2])
    frame["loss"] = 3 + np.tile([6.0, 5, 4, 3, 2, 1, 0, 1], 2)
    runs, found = profiles(as_runs(frame), tolerance=0.1, least=3, sizes=4)
    expected = np.geomspace(1e8, 2e9, 8)[4:]
    assert all(np.exp(p.log_params) == pytest.approx(expected) for p in found)
    assert runs.frame["loss"].to_numpy()[found[1].rows].tolist() == [5.0, 4.0, 3.0, 4.0]


def test_tokens_of_a_size_follow_the_budgets_own_curve() -> None:
    n = np.geomspace(1e8, 2e9, 9)
    d = 1e20 / (6 * n + 3e4 * n ** (2 / 3))  # attention weighs more in small models
    rows = np.arange(9)
    profile = Profile(
        flops=1e20, rows=rows, log_params=np.log(n), log_tokens=np.log(d), loss=np.ones(9),
        size=rows, run=rows,
    )  # fmt: skip
    between = np.sqrt(n[1:] * n[:-1])
    true = np.log(1e20 / (6 * between + 3e4 * between ** (2 / 3)))
    assert profile.tokens_at(np.log(between)) == pytest.approx(true, abs=2e-3)
    exact = Profile(
        flops=1e20, rows=rows, log_params=np.log(n), log_tokens=np.log(1e20 / 6 / n),
        loss=np.ones(9), size=rows, run=rows,
    )  # fmt: skip
    found = np.exp(exact.tokens_at(np.log(between)))
    assert found * between * 6 == pytest.approx(1e20, rel=1e-9)
