"""Grokking in a quadratic network."""

import pytest

from trainers.studies import grokking
from trainers.study import Ask

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table():
    return grokking.run(Ask(seeds=range(5)))


def test_the_rest_is_understood_long_after_the_shown_is_fitted(table):
    found = grokking.delays(table)
    main = found[found["arm"] == grokking.ARMS[0].name]
    late = main["understood"] >= 5 * main["fitted"]
    assert (late & (main["before"] <= 0.1)).sum() >= 4
    assert (main["last"] > 0.95).sum() >= 4


def test_more_decay_is_sooner_and_none_is_never(table):
    found = grokking.delays(table).set_index(["arm", "seed"])["understood"].unstack("arm")
    half, whole, none, few = (found[arm.name] for arm in grokking.ARMS)
    assert (whole < half).sum() >= 4
    assert none.isna().all()
    assert few.isna().all()
    last = grokking.delays(table).groupby("arm")["last"].max()
    assert last[grokking.ARMS[2].name] < 0.3
    assert last[grokking.ARMS[3].name] < 0.1


def test_modulo_113_the_delay_is_there_too(table):
    found = grokking.delays(table)
    large = found[found["arm"] == grokking.LARGE.name]
    assert len(large) == grokking.COSTLY
    assert (large["understood"] >= 4 * large["fitted"]).all()
    assert (large["before"] <= 0.1).all()


def test_seeds_trained_together_are_those_trained_alone(table, monkeypatch):
    monkeypatch.setattr(grokking, "STEPS", 200)
    alone = grokking._trained(grokking.ARMS[0], [3])
    together = table[(table["arm"] == grokking.ARMS[0].name) & (table["seed"] == 3)]
    both = together["train"].to_numpy()[: len(alone)], alone["train"].to_numpy()
    assert both[0] == pytest.approx(both[1], abs=0.02)


def test_what_is_said_is_what_the_table_holds(table):
    finding = grokking.find(table)
    assert finding.showed
    assert f"{finding.numbers['ratio']:.1f} times" in finding.text[0]
    assert f"{finding.numbers['ratio modulo 113']:.1f} times" in finding.text[3]
    assert len(grokking.draw(table).axes) == len(grokking.ARMS) + 1


@pytest.mark.parametrize(
    ("column", "said"), [("test", "are not understood"), ("train", "are not fitted")]
)
def test_what_never_comes_is_said_not_to(table, column, said):
    doctored = table.assign(**{column: 0.0})
    finding = grokking.find(doctored[doctored["seed"] == 0])
    assert not finding.showed
    assert said in finding.text[0]
    assert "nan" not in finding.text[0]
