"""How long SGD, Adam and gradient descent stay in a sharp minimum."""

import warnings

import numpy as np
import pandas as pd
import pytest

from trainers.studies import escape
from trainers.study import Ask

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table():
    return escape.run(Ask(seeds=range(5)))


def test_gradient_descent_never_leaves_so_that_the_starts_are_minima(table):
    still = table[table["optimiser"] == "GD"]
    assert (still["away"] <= escape.OTHER).all()
    assert not escape.exits(still)["left"].any()


def test_sharp_minima_are_left_before_flat_ones(table):
    left = escape.exits(table).groupby(["optimiser", "start"])["left"].mean()
    assert (table["first"][table["start"] == "sharp"].mean()) > 2 * (
        table["first"][table["start"] == "flat"].mean()
    )
    for name in ("SGD", "Adam"):
        assert left[name, "sharp"] > left[name, "flat"] + 0.2


def test_more_noise_lifts_the_loss_and_leaves_sooner(table):
    means = escape.means(escape.exits(table))
    sharp = means[(means["start"] == "sharp") & (means["optimiser"] != "GD")]
    for _, rows in sharp.groupby(["seed", "optimiser"]):
        assert rows["lift"].is_monotonic_increasing
        assert rows["step"].iloc[-1] < rows["step"].iloc[0]


def test_sgd_is_not_the_faster_one_at_equal_lift(table):
    ratios = escape.compared(escape.means(escape.exits(table)))
    assert len(ratios) == 5
    assert (ratios > 0.5).all()
    assert np.log(ratios).mean() > np.log(1.3)


def test_walks_of_a_seed_among_others_are_those_of_the_seed_alone(monkeypatch):
    for name, value in {
        "CHECKS": (20, 60),
        "STARTS": 4,
        "SEARCH": 200,
        "SETTLE": 20,
        "WARM": 9,
    }.items():
        monkeypatch.setattr(escape, name, value)
    together = escape.run(Ask(seeds=[0, 2]))
    alone = escape.run(Ask(seeds=[2]))
    same = together[together["seed"] == 2].reset_index(drop=True)
    keys = ["seed", "start", "optimiser", "lr", "trial", "step"]
    assert same[keys].equals(alone[keys])
    for name in ("level", "away", "trace"):
        assert same[name].to_numpy() == pytest.approx(alone[name].to_numpy(), rel=1e-3, abs=1e-4)


def _rows(away, *, optimiser="SGD", lr=0.1, level=0.5, seed=0):
    steps = [10, 100, 1000][: len(away)]
    fixed = {"seed": seed, "start": "sharp", "optimiser": optimiser, "lr": lr, "trial": 0}
    fixed |= {"floor": 0.25, "first": 40.0, "trace": 10.0, "level": level}
    return pd.DataFrame({"step": steps, "away": away}).assign(**fixed)


@pytest.mark.parametrize(
    ("away", "first", "for_good"),
    [
        ([0.0, 0.0, 0.0], (False, 1000), (False, 1000)),
        ([0.0, 0.2, 0.3], (True, 100), (True, 100)),
        ([0.0, 0.2, 0.0], (True, 100), (False, 1000)),
        ([0.3, 0.0, 0.3], (True, 10), (True, 1000)),
        ([0.3, 0.3, 0.3], (True, 10), (True, 10)),
    ],
)
def test_a_walk_has_left_where_it_was_first_outside_or_for_good(away, first, for_good):
    rows = _rows(away)
    for wanted, option in ((first, False), (for_good, True)):
        found = escape.exits(rows, for_good=option).iloc[0]
        assert (found["left"], found["step"]) == wanted
    assert found["after"] == 0.25


def test_the_lift_is_that_of_the_time_inside():
    rows = _rows([0.0, 0.0, 0.3]).assign(level=[0.35, 0.45, 9.0])
    assert escape.exits(rows)["lift"].iloc[0] == pytest.approx(0.1 * 0.1 + 0.9 * 0.2)
    assert escape.exits(_rows([0.3, 0.3]))["lift"].isna().all()


def _averages(steps):
    """Two optimisers at the same lifts, with these steps."""
    return pd.DataFrame([
        {"seed": 0, "start": "sharp", "optimiser": name, "lift": lift, "step": step}
        for name, those in steps.items()
        for lift, step in zip((0.01, 0.02, 0.04), those, strict=True)
    ]).assign(diverged=False)  # fmt: skip


def test_stays_are_compared_at_equal_lift(monkeypatch):
    averages = _averages({"SGD": (9000, 600, 60), "Adam": (3000, 200, 20)})
    assert escape.compared(averages)[0] == pytest.approx(3.0)
    shifted = averages.assign(lift=averages["lift"].where(averages["optimiser"] == "SGD", 5.0))
    assert escape.compared(shifted).empty
    longest = escape.CHECKS[-1]
    assert escape.compared(_averages({"SGD": [longest] * 3, "Adam": [longest] * 3})).empty


def test_what_is_said_is_what_the_table_holds(table):
    finding = escape.find(table)
    assert not finding.showed
    assert f"{finding.numbers['stays']:.1f} times" in finding.text[0]
    assert f"{finding.numbers['SGD_sharp']:.0%} of walks of SGD" in finding.text[1]
    assert len(escape.draw(table).axes) == 6


def test_the_claim_is_found_where_it_holds(table):
    swapped = table.replace({"optimiser": {"SGD": "Adam", "Adam": "SGD"}})
    ratios = escape.compared(escape.means(escape.exits(swapped)))
    truth = escape.compared(escape.means(escape.exits(table)))
    assert ratios.to_numpy() == pytest.approx(1 / truth.to_numpy())
    kept = swapped[swapped["seed"].isin(truth.index[truth > 1.0])]
    assert escape.find(kept).showed


def test_one_seed_and_walks_that_never_leave_are_told_as_such(table):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one = table[table["seed"] == 3]
        assert "in 0 of 1 seeds" in escape.find(one).text[0]
        assert len(escape.draw(one).axes) == 2
        finding = escape.find(table.assign(away=0.0))
    assert not finding.showed
    assert "nothing to compare" in finding.text[0]


def test_a_walk_that_diverged_is_not_compared(table):
    lost = table.copy()
    lost.loc[lost["optimiser"] == "SGD", ["away", "trace"]] = np.nan
    assert escape.compared(escape.means(escape.exits(lost))).empty
    assert not escape.find(lost).showed
