"""Best learning rates and batches: from a sweep to optima, and the laws of Li et al. 2025."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from scalefit.errors import DataError, FitError
from scalefit.fitting import fit
from scalefit.laws import FORMS
from scalefit.runs import Runs, read
from scalefit.sweeps import NEEDED, best_of_sweep
from tests.laws.cases import grid
from tests.laws.expected import assert_near, every_row

RATE, BATCH = FORMS["optimal-lr"], FORMS["optimal-batch"]
STEP_LAW = {"c": 1.79, "p": -0.713, "q": 0.307}  # arXiv:2503.04715, eq. 1
STEP_BATCH = {"c": 0.58, "q": 0.571}
SEQUENCE = 2048  # their batches are counted in sequences of so many tokens


@pytest.fixture(scope="module")
def optima(published_path) -> Runs:
    """The optima of the 17 pairs of N and D of their dense models."""
    runs = read(published_path("steplaw_dense.parquet"), needed=("params", "tokens", "lr", "loss"))
    tokens = runs.frame["batch_size"] * float(SEQUENCE)
    return best_of_sweep(replace(runs, frame=runs.frame.assign(batch_tokens=tokens)))


@every_row("steplaw_dense", 3)
def test_every_row_of_the_expected_answers(row, optima: Runs) -> None:
    form, name = {
        "lr_exp_N": (RATE, "p"), "lr_exp_D": (RATE, "q"), "bs_exp_D": (BATCH, "q"),
    }[row["quantity"]]  # fmt: skip
    assert_near(fit(optima, form=form, objective="mse-log", bootstrap=0).law.params[name], row)


def test_the_published_exponents_lie_inside_our_intervals(optima: Runs) -> None:
    for form, published in ((RATE, STEP_LAW), (BATCH, STEP_BATCH)):
        found = fit(optima, form=form, objective="mse-log")
        assert found.status == "converged"
        for name in set(published) - {"c"}:
            assert found.intervals[name].low < published[name] < found.intervals[name].high


def test_diverged_runs_are_counted(optima: Runs) -> None:
    # 177 have a loss above 5; four more lie between 4.1 and 5, where no other is above 3.2.
    assert len(optima) == 17
    assert set(optima.frame["found"]) == {"surface"}
    assert optima.frame["runs"].sum() == 1911 - 181
    assert any(note.startswith("181 of 1911 runs left out (diverged") for note in optima.notes)


@pytest.mark.parametrize("share", [1 / 3, 0.4, 0.5])
def test_the_exponents_hardly_depend_on_the_share_of_runs(published_path, share: float) -> None:
    runs = read(published_path("steplaw_dense.parquet"), needed=("params", "tokens", "lr", "loss"))
    tokens = runs.frame["batch_size"] * float(SEQUENCE)
    table = best_of_sweep(replace(runs, frame=runs.frame.assign(batch_tokens=tokens)), share=share)
    found = fit(table, form=RATE, objective="mse-log", bootstrap=0).law.params
    assert found["p"] == pytest.approx(STEP_LAW["p"], abs=0.15)
    assert found["q"] == pytest.approx(STEP_LAW["q"], abs=0.12)


def test_few_optima_leave_no_replicate_behind(optima: Runs) -> None:
    # Near least absolute deviations no run may bend the objective where a replicate is.
    for form in (RATE, BATCH):
        found = fit(optima, form=form, bootstrap=500)
        assert found.certificate.replicates == (500, 500)


def sweep(*, noise: float = 0.0, lrs: int = 9, batches: int = 8) -> pd.DataFrame:
    """Runs whose loss is a paraboloid in (log lr, log batch) about the optima of the step law."""
    frame = pd.DataFrame(
        grid(
            params=np.array([1e8, 3e8, 1e9]),
            tokens=np.array([4e9, 2e10, 1e11]),
            lr=np.geomspace(1e-4, 2e-2, lrs),
            batch_tokens=np.geomspace(5e4, 4e6, batches),
        )
    )
    n, d = frame["params"].to_numpy(), frame["tokens"].to_numpy()
    x = np.log(frame["lr"] / RATE.predict(np.array([*STEP_LAW.values()]), n, d))
    y = np.log(frame["batch_tokens"] / BATCH.predict(np.array([*STEP_BATCH.values()]), d))
    bowl = 0.02 * x**2 + 0.01 * y**2 - 0.012 * x * y
    error = noise * np.random.default_rng(0).standard_normal(len(frame))
    return frame.assign(loss=1.7 + 400 / n**0.34 + 410 / d**0.28 + bowl + error)


def as_runs(frame: pd.DataFrame) -> Runs:
    return Runs(frame=frame, source="a sweep", params_kind="non_embedding", quantities=NEEDED)


def test_a_sweep_without_noise_gives_the_law_back() -> None:
    table = best_of_sweep(as_runs(sweep()))
    assert table.quantities[-1] == "loss"
    assert (table.frame["flops"] == 6 * table.frame["params"] * table.frame["tokens"]).all()
    for form, truth in ((RATE, STEP_LAW), (BATCH, STEP_BATCH)):
        found = fit(table, form=form, bootstrap=0).law.params
        for name, value in truth.items():
            assert found[name] == pytest.approx(value, rel=1e-6)


def test_the_surface_is_steadier_than_the_lowest_run() -> None:
    frame = sweep(noise=0.004)
    table = best_of_sweep(as_runs(frame)).frame
    lowest = frame.loc[frame.groupby(["params", "tokens"])["loss"].idxmin()]
    truth = [
        RATE.predict(np.array([*STEP_LAW.values()]), part["params"], part["tokens"])
        for part in (table, lowest)
    ]
    error = [
        np.abs(np.log(part["lr"] / true)).mean()
        for part, true in zip((table, lowest), truth, strict=True)
    ]
    assert error[0] < 0.5 * error[1]


def test_failed_and_diverged_runs_are_left_out_and_counted() -> None:
    frame = sweep()
    frame["status"] = "ok"
    frame.loc[[0, 100], "status"] = "diverged"
    frame.loc[[0, 100], "loss"] = 0.1  # what a run that failed says does not count
    frame.loc[[7, 300, 301], "loss"] = [9.0, np.nan, 7.5]
    table = best_of_sweep(as_runs(frame))
    assert table.notes == (
        "2 runs left out (their status is not ok)",
        "3 of 646 runs left out (diverged: more than 1.5 times the lowest loss of their N and D)",
    )
    assert table.frame["runs"].sum() == 648 - 5


def test_budgets_met_in_whole_steps_are_one_cell() -> None:
    frame = sweep()
    steps = np.round(frame["tokens"] / frame["batch_tokens"] / 50) * 50
    frame["tokens"] = np.maximum(steps * frame["batch_tokens"], 0.99 * frame["tokens"])
    assert len(best_of_sweep(as_runs(frame))) == 9


def test_a_sweep_of_rates_alone_gives_rates_and_says_that_the_batch_is_given() -> None:
    frame = sweep(batches=1)
    table = best_of_sweep(as_runs(frame))
    assert set(table.frame["batch_tokens"]) == {5e4}
    assert "batch_tokens was not swept in 9 pairs of N and D: it is as given there" in table.notes
    assert set(table.frame["found"]) == {"surface"}


def test_pairs_whose_optimum_was_not_met_are_left_out() -> None:
    frame = sweep()
    short = (frame["params"] == 1e8) & (frame["lr"] > 1e-3)
    table = best_of_sweep(as_runs(frame[~short]))
    assert set(table.frame["params"]) == {3e8, 1e9}
    assert any(note.startswith("3 of 9 pairs of N and D left out") for note in table.notes)
    with pytest.raises(FitError, match="none of the 9 pairs of N and D"):
        best_of_sweep(as_runs(frame[frame["lr"] < 5e-4]))


def test_where_runs_are_too_few_for_a_surface_the_lowest_is_taken() -> None:
    cross = pd.DataFrame(
        {
            "params": 1e8,
            "tokens": 4e9,
            "lr": [1e-3, 2e-3, 4e-3, 2e-3, 2e-3],
            "batch_tokens": [2e5, 2e5, 2e5, 1e5, 4e5],
            "loss": [3.1, 3.0, 3.2, 3.05, 3.1],
        }
    )
    table = best_of_sweep(as_runs(cross)).frame
    assert table[["lr", "batch_tokens", "loss"]].to_numpy().tolist() == [[2e-3, 2e5, 3.0]]
    assert table["found"].tolist() == ["lowest run"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns=["lr", "batch_tokens"]), "no 'lr' and no 'batch_tokens'"),
        (lambda f: f.assign(lr=0.0), "numbers above 0"),
    ],
)
def test_a_table_that_is_no_sweep_is_refused(change, message: str) -> None:
    with pytest.raises(DataError, match=message):
        best_of_sweep(as_runs(change(sweep())))


def test_powers_below_zero_may_be_fixed_and_bounded(optima: Runs) -> None:
    from scalefit.fitting.parameters import parameters

    wanted = parameters(RATE, fix=[("p", -0.713)], bound=[("q", -1.0, 0.25)])
    found = fit(optima, form=RATE, objective="mse-log", parameters=wanted, bootstrap=0)
    assert found.law.params["p"] == -0.713
    assert found.law.params["q"] == pytest.approx(0.25)
    assert found.certificate.bounds == ("q",)
