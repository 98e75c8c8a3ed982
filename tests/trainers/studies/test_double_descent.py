"""Squared test error against width, with wrong labels and without."""

import numpy as np
import pandas as pd
import pytest

from scalefit.errors import StudyError
from tests.trainers.studies.tools.made_images import arrays
from trainers.studies import double_descent
from trainers.studies.double_descent import ARMS, CLEAN, NOISY, WIDTHS
from trainers.studies.parts.reuse import Paper
from trainers.study import Ask

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table():
    return double_descent.run(Ask(seeds=range(5)))


def mean(table, labels, name):
    return table[table["labels"] == labels].groupby("width")[name].mean()


def test_with_wrong_labels_squared_error_peaks_in_every_seed(table):
    found = double_descent.peaks(table)
    noisy = found[found["labels"] == NOISY]
    assert noisy["twice"].sum() >= 4
    assert (noisy["peak"] >= 2 * noisy["end"]).all()
    assert noisy["width"].between(4, 48).all()
    assert noisy["filling"].between(0.1, 2.0).all()


def test_the_mean_peaks_where_labels_are_just_fitted(table):
    loss, missed = (mean(table, NOISY, name) for name in ("test_loss", "train_error"))
    top = loss.idxmax()
    assert 0.0 < missed[top] < 0.1
    assert loss[top] > 2 * loss[:4].min()
    assert loss[top] > 2.5 * loss[WIDTHS[-1]]
    assert mean(table, NOISY, "train_loss")[WIDTHS[-1]] < 0.01


def test_with_right_labels_no_peak_stands_out(table):
    found = double_descent.peaks(table)
    assert not found.loc[found["labels"] == CLEAN, "twice"].any()
    loss = mean(table, CLEAN, "test_loss")
    assert loss[WIDTHS[-1]] < 0.5 * loss[WIDTHS[0]]


def test_the_share_of_errors_is_lowest_for_the_widest(table):
    for labels in ARMS:
        error = mean(table, labels, "test_error")
        assert error.idxmin() == WIDTHS[-1]


def test_a_table_has_a_row_for_each_seed_arm_and_width(table):
    assert len(table) == 5 * len(ARMS) * len(WIDTHS)
    assert not table.duplicated(["seed", "labels", "width"]).any()
    assert (table["params"] == 75 * table["width"] + 10).all()
    assert set(table["outputs"]) == {2000}


def test_seeds_trained_together_are_those_trained_alone(monkeypatch):
    monkeypatch.setattr(double_descent, "STEPS", 40)
    monkeypatch.setattr(double_descent, "WIDTHS", (8,))
    together = double_descent.run(Ask(seeds=range(3)))
    alone = double_descent.run(Ask(seeds=[2]))
    names = ["train_loss", "test_loss", "test_error"]
    both = together.loc[together["seed"] == 2, names].to_numpy(), alone[names].to_numpy()
    assert both[0] == pytest.approx(both[1], rel=1e-3)


def test_what_is_said_is_what_the_table_holds(table, tmp_path):
    table.to_parquet(tmp_path / "table.parquet")
    again = pd.read_parquet(tmp_path / "table.parquet")
    finding = double_descent.find(again)
    assert finding == double_descent.find(table)
    assert finding.showed
    assert f"{finding.numbers['peak']:.3f} there" in finding.text[0]
    assert f"bump of {finding.numbers['bump']:.3f}" in finding.text[2]
    assert len(double_descent.draw(again).axes) == 2


def test_errors_that_only_fall_show_nothing(table):
    falling = table.assign(test_loss=1.0 / table["width"], test_error=0.5 / table["width"])
    finding = double_descent.find(falling)
    assert not finding.showed
    assert "peak in 0 of 5 seeds" in finding.text[0]
    assert finding.numbers["bump"] == 0.0
    double_descent.draw(falling)


def test_one_seed_is_enough_for_a_finding_and_a_figure(table):
    one = table[table["seed"] == 0]
    assert "1 seeds" in double_descent.find(one).text[0]
    double_descent.draw(one)


def test_the_full_form_trains_the_papers_widths_on_the_users_images(tmp_path, monkeypatch):
    np.savez(tmp_path / "mnist.npz", **arrays(train=60, test=20))
    tiny = Paper(examples=40, widths=(1, 2, 5), epochs=2, batch=16)
    monkeypatch.setattr(double_descent, "PAPER", tiny)
    heard = []
    ask = Ask(seeds=range(2), full=True, data=tmp_path / "mnist.npz", tell=heard.append)
    table = double_descent.run(ask)
    assert heard == ["width 1 of 5", "width 2 of 5", "width 5 of 5"]
    assert len(table) == 2 * 2 * 3
    assert (table["params"] == 795 * table["width"] + 10).all()
    assert set(table["outputs"]) == {400}
    assert table[["train_loss", "test_loss"]].notna().all(axis=None)
    double_descent.find(table)
    double_descent.draw(table)
    with pytest.raises(StudyError, match=r"give mnist\.npz with --data"):
        double_descent.run(Ask(seeds=[0], full=True))


def test_wrong_labels_and_right_ones_stand_at_the_same_images():
    clean, noisy = (double_descent._part(3, share) for share in ARMS.values())
    assert (clean[0] == noisy[0]).all()
    assert (clean[1] != noisy[1]).sum() == 40
