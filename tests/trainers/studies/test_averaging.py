"""Over which n a training loss is averaged."""

import numpy as np
import pytest

from trainers.studies import averaging
from trainers.study import Ask


@pytest.fixture(scope="module")
def table():
    return averaging.run(Ask(seeds=range(10)))


def test_the_mean_since_the_beginning_is_worse_than_thirty_or_a_hundred_steps(table):
    running = table[table["way"] == averaging.RUNNING].groupby("batch")["rmse"].mean()
    windows = table[(table["way"] == averaging.WINDOW) & table["n"].between(30, 100)]
    assert (windows.groupby("batch")["rmse"].max() < running / 2.0).all()
    # a bias: eight and sixty-four times the data change nothing
    assert running.max() < 1.05 * running.min()


def test_the_best_n_falls_with_the_batch_about_as_its_cube_root(table):
    best = averaging.best(table).pivot_table("n", index="seed", columns="batch")
    assert (best[1] > best[8]).all()
    assert (best[8] > best[64]).all()
    for batch in averaging.BATCHES:
        assert best[batch].mean() == pytest.approx(averaging.predicted(batch), rel=0.3)
    assert -0.4 < averaging.find(table).numbers["power"] < -0.25


def test_the_error_of_a_window_is_its_noise_and_its_lag(table):
    truth = averaging.truth()
    for batch, n in zip((1, 8, 64), averaging.WINDOWS[[10, 10, 25]], strict=True):
        lag = (averaging.last(truth, n) - truth)[averaging.FROM :]
        wanted = np.sqrt(averaging.NOISE**2 / (batch * n) + (lag**2).mean())
        rows = table[(table["batch"] == batch) & (table["n"] == n)]
        assert len(rows) == 10
        assert rows["rmse"].mean() == pytest.approx(wanted, rel=0.1)


def test_a_window_holds_the_last_n_losses_and_no_more():
    losses = np.array([4.0, 2.0, 6.0, 8.0])
    assert averaging.last(losses, 1) == pytest.approx(losses)
    assert averaging.last(losses, 2) == pytest.approx([4.0, 3.0, 4.0, 7.0])
    assert averaging.last(losses, 9) == pytest.approx([4.0, 3.0, 4.0, 5.0])


def test_what_is_said_is_what_the_table_holds(table):
    finding = averaging.find(table)
    assert finding.showed
    assert (
        f"{table[table['way'] == averaging.RUNNING]['rmse'][table['batch'] == 1].mean():.3f}"
        in (finding.text[2])
    )
    worse = table.assign(rmse=table["rmse"].where(table["way"] == averaging.WINDOW, 0.0))
    assert not averaging.find(worse).showed
    assert len(averaging.draw(table).axes) == 2
